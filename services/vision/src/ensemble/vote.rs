//! The weighted vote.

use std::collections::{BTreeSet, HashMap};

use spoor_proto::spoor::vision::v1::Score;

/// The most labels in a decision.
const MAX_TOP_LABELS: usize = 5;

/// The vote of one model.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ballot {
    pub(super) model: &'static str,
    /// The weight relative to other models.
    pub(super) weight: f64,
    /// Every class, best first.
    pub(super) scores: Vec<Score>,
}

/// The result of a vote.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decision {
    /// The labels with the best scores, best first.
    pub(super) top: Vec<Score>,
    /// The weight of each ballot; their sum is 1.
    pub(super) weights: Vec<f64>,
    /// The only model that counted, if the models' labels differ.
    pub(super) alone: Option<&'static str>,
}

/// Computes the weighted mean of the scores for each label. If the models' labels differ, only the
/// model with the largest weight counts.
pub(super) fn decide(ballots: &[Ballot]) -> Option<Decision> {
    let heaviest = ballots
        .iter()
        .max_by(|one, other| one.weight.total_cmp(&other.weight))?;
    // A model's scores are shares among its own classes, so those of models with different classes are
    // not comparable.
    if !have_same_labels(ballots) {
        let counted = |ballot: &Ballot| f64::from(u8::from(ballot.model == heaviest.model));
        return Some(Decision {
            top: top(&heaviest.scores),
            weights: ballots.iter().map(counted).collect(),
            alone: Some(heaviest.model),
        });
    }
    let all: f64 = ballots.iter().map(|ballot| ballot.weight).sum();
    let weights: Vec<f64> = ballots.iter().map(|ballot| ballot.weight / all).collect();
    Some(Decision {
        top: top(&mean(ballots, &weights)),
        weights,
        alone: None,
    })
}

/// The best scores in descending order, and equal ones by label.
pub(super) fn top(scores: &[Score]) -> Vec<Score> {
    let mut scores: Vec<&Score> = scores.iter().collect();
    // By label as well, since the order of a hash map changes from one vote to the next.
    scores.sort_by(|one, other| {
        let by_score = other.score.total_cmp(&one.score);
        by_score.then_with(|| one.label.cmp(&other.label))
    });
    scores.into_iter().take(MAX_TOP_LABELS).cloned().collect()
}

fn have_same_labels(ballots: &[Ballot]) -> bool {
    let labels = |ballot: &Ballot| -> BTreeSet<String> {
        let scores = ballot.scores.iter();
        scores.map(|score| score.label.clone()).collect()
    };
    ballots
        .windows(2)
        .all(|pair| labels(&pair[0]) == labels(&pair[1]))
}

fn mean(ballots: &[Ballot], weights: &[f64]) -> Vec<Score> {
    let mut sums: HashMap<&str, f64> = HashMap::new();
    for (ballot, weight) in ballots.iter().zip(weights) {
        for Score { label, score } in &ballot.scores {
            *sums.entry(label).or_default() += weight * score;
        }
    }
    let score = |(label, score): (&str, f64)| Score {
        label: label.to_owned(),
        score,
    };
    sums.into_iter().map(score).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ballot(model: &'static str, weight: f64, scores: &[(&str, f64)]) -> Ballot {
        let score = |(label, score): &(&str, f64)| Score {
            label: (*label).to_owned(),
            score: *score,
        };
        Ballot {
            model,
            weight,
            scores: scores.iter().map(score).collect(),
        }
    }

    fn labels(scores: &[Score]) -> Vec<&str> {
        scores.iter().map(|score| score.label.as_str()).collect()
    }

    #[test]
    fn scores_are_weighted() {
        let one = ballot("one", 0.9, &[("cat", 0.6), ("dog", 0.4)]);
        let other = ballot("other", 0.3, &[("dog", 0.7), ("cat", 0.3)]);
        let decision = decide(&[one, other]).unwrap();
        assert_eq!(decision.weights, [0.75, 0.25]);
        assert_eq!(labels(&decision.top), ["cat", "dog"]);
        // 0.75 × 0.6 + 0.25 × 0.3
        assert!((decision.top[0].score - 0.525).abs() < 1e-9, "{decision:?}");
        assert_eq!(decision.alone, None);
    }

    #[test]
    fn a_certain_model_outvotes_an_uncertain_one() {
        let unsure = ballot("unsure", 0.9, &[("cat", 0.51), ("dog", 0.49)]);
        let sure = ballot("sure", 0.8, &[("dog", 0.99), ("cat", 0.01)]);
        assert_eq!(
            labels(&decide(&[unsure, sure]).unwrap().top),
            ["dog", "cat"]
        );
    }

    #[test]
    fn a_single_ballot_decides() {
        let one = ballot("one", 0.9, &[("cat", 1.0)]);
        let decision = decide(&[one]).unwrap();
        assert_eq!((decision.weights, decision.alone), (vec![1.0], None));
    }

    #[test]
    fn different_labels_are_not_mixed() {
        let one = ballot("one", 0.8, &[("cat", 0.9), ("dog", 0.1)]);
        let other = ballot("other", 0.9, &[("red circle", 1.0)]);
        let decision = decide(&[one, other]).unwrap();
        assert_eq!(labels(&decision.top), ["red circle"]);
        assert_eq!(decision.weights, [0.0, 1.0]);
        assert_eq!(decision.alone, Some("other"));
    }

    #[test]
    fn decision_lists_five_labels_in_stable_order() {
        let scores: Vec<_> = ["f", "b", "c", "a", "e", "d"]
            .map(|it| (it, 1.0 / 6.0))
            .to_vec();
        let decision = decide(&[ballot("one", 1.0, &scores)]).unwrap();
        assert_eq!(labels(&decision.top), ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn no_ballots_yield_no_decision() {
        assert_eq!(decide(&[]), None);
    }
}
