//! The numbers of a status about the decisions of a policy's tail.

use spoor_api::status as api;
use spoor_control::{TailCounts, TailDecisions};
use spoor_policy::{Outcome, Policy, TailPolicy};

use crate::{
    conditions,
    figures::{UNKNOWN, percentage},
};

/// The decisions of the policy's tail, or `None` if it decides no tail.
pub(crate) fn tail(
    policy: &Policy,
    outcome: &Outcome,
    counts: &TailCounts,
) -> Option<api::ObservedTail> {
    let tail = policy.tail.as_ref()?;
    conditions::decides_tail(outcome).then(|| api::ObservedTail {
        decided: counts.total.decided(),
        kept: counts.total.kept(),
        by_rule: by_rule(tail, &counts.total),
        otherwise: otherwise(counts),
    })
}

/// The share kept, and the rate of `otherwise`: `14.3% of 12600, otherwise 10% Consistent`.
pub(crate) fn summary(tail: &api::ObservedTail) -> String {
    if tail.decided == 0 {
        return "no traces yet".to_owned();
    }
    let kept = percentage(tail.kept as f64 / tail.decided as f64);
    let mut summary = format!("{kept} of {}", tail.decided);
    if let Some(rate) = &tail.otherwise.rate {
        summary.push_str(", otherwise ");
        summary.push_str(rate);
        if tail.otherwise.verdict != UNKNOWN {
            summary.push(' ');
            summary.push_str(&tail.otherwise.verdict);
        }
    }
    summary
}

/// The traces kept by each rule, in the order of the policy.
fn by_rule(tail: &TailPolicy, decisions: &TailDecisions) -> Vec<api::RuleKept> {
    let kept = tail.keep().iter().map(|rule| api::RuleKept {
        name: rule.name.to_string(),
        kept: decisions.by_rule.get(&rule.name).copied().unwrap_or(0),
    });
    kept.collect()
}

fn otherwise(counts: &TailCounts) -> api::ObservedOtherwise {
    match &counts.otherwise {
        Some(otherwise) => api::ObservedOtherwise {
            rate: Some(percentage(otherwise.rate)),
            lower: Some(percentage(otherwise.interval.lower)),
            upper: Some(percentage(otherwise.interval.upper)),
            verdict: otherwise.verdict.to_string(),
        },
        None => api::ObservedOtherwise {
            verdict: UNKNOWN.to_owned(),
            ..api::ObservedOtherwise::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, 0, None, UNKNOWN, "no traces yet")]
    #[case(3, 3, None, UNKNOWN, "100% of 3")]
    #[case(12_600, 1_800, Some("10%"), UNKNOWN, "14.3% of 12600, otherwise 10%")]
    #[case(
        12_600,
        1_800,
        Some("10%"),
        "Consistent",
        "14.3% of 12600, otherwise 10% Consistent"
    )]
    fn summary_has_share_and_rate(
        #[case] decided: u64,
        #[case] kept: u64,
        #[case] rate: Option<&str>,
        #[case] verdict: &str,
        #[case] expected: &str,
    ) {
        let tail = api::ObservedTail {
            decided,
            kept,
            by_rule: vec![],
            otherwise: api::ObservedOtherwise {
                rate: rate.map(str::to_owned),
                verdict: verdict.to_owned(),
                ..api::ObservedOtherwise::default()
            },
        };
        assert_eq!(summary(&tail), expected);
    }
}
