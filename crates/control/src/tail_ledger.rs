//! The cumulative counts of one sampler's process: checks what it reports, and turns it into
//! increases.

use std::{collections::BTreeMap, sync::Arc};

use spoor_policy::PolicyName;
use spoor_proto::spoor::control::v1 as proto;

use crate::{
    rejection::Rejection,
    served_plan,
    tail_counts::TailDecisions,
    tail_rules::{PolicyRules, RulesHistory},
};

/// A policy under the rules of one sequence.
type TailCountKey = (u64, PolicyName);

/// The counts that one process of a sampler has reported since it started.
#[derive(Debug, Default)]
pub(crate) struct TailLedger {
    counts: BTreeMap<TailCountKey, TailDecisions>,
    /// The newest sequence that the sampler may have been sent before its record was removed.
    forgotten: Option<u64>,
    /// The sequence that the sampler held when it reconnected after its record had been removed.
    /// The tallies may already include its counts up to this sequence.
    resumed: Option<u64>,
}

/// The increase of one count from one report of a process to the next.
#[derive(Clone, Debug)]
pub(crate) struct TailDelta {
    pub(crate) policy: PolicyName,
    pub(crate) rules: Arc<PolicyRules>,
    pub(crate) decisions: TailDecisions,
}

/// The context that a report is checked against.
pub(crate) struct TailReportContext<'a> {
    pub(crate) epoch: u64,
    pub(crate) history: &'a RulesHistory,
    /// The sequences sent to this sampler.
    pub(crate) sent: &'a [u64],
    /// The most decisions that the process can have made by now.
    pub(crate) max_decided: u64,
}

/// A count with its key and the rules of its policy.
struct ReadCount<'a> {
    key: TailCountKey,
    rules: &'a Arc<PolicyRules>,
    decisions: TailDecisions,
}

impl TailLedger {
    /// A ledger for a sampler whose record has been removed, and that holds the rules of this
    /// sequence.
    pub(crate) fn resume_at(sequence: u64) -> Self {
        Self {
            forgotten: Some(sequence),
            resumed: Some(sequence),
            ..Self::default()
        }
    }

    /// A ledger for a sampler without a record that holds rules of another control plane. If it had
    /// a record, it may have been sent rules up to this sequence.
    pub(crate) fn forgotten_until(sequence: u64) -> Self {
        Self {
            forgotten: Some(sequence),
            ..Self::default()
        }
    }

    /// Applies a report, either entirely or not at all, and returns the increases.
    ///
    /// As with heads, counts under versions of another epoch, or older than the history, are
    /// ignored rather than rejected: they are valid, but the rules are no longer known.
    pub(crate) fn apply(
        &mut self,
        counts: &[proto::TailCount],
        context: &TailReportContext<'_>,
    ) -> Result<Vec<TailDelta>, Rejection> {
        let mut reported = BTreeMap::new();
        let mut deltas = vec![];
        for count in counts {
            let Some(count) = self.read(count, context)? else {
                continue;
            };
            deltas.extend(self.delta(&count, context.max_decided)?);
            if reported.insert(count.key, count.decisions).is_some() {
                return Err(Rejection::CountedTwice);
            }
        }
        // Nothing is stored before all counts are checked.
        self.counts.extend(reported);
        let oldest = context.history.oldest();
        // Bounded by the history: counts under older rules are never read again.
        self.counts.retain(|(sequence, _), _| *sequence >= oldest);
        Ok(deltas)
    }

    fn read<'a>(
        &self,
        count: &proto::TailCount,
        context: &TailReportContext<'a>,
    ) -> Result<Option<ReadCount<'a>>, Rejection> {
        let version =
            served_plan::version_from_proto(count.version.as_ref()).ok_or(Rejection::NoVersion)?;
        check_sums(count)?;
        let sequence = version.sequence;
        if version.epoch != context.epoch || sequence < context.history.oldest() {
            return Ok(None);
        }
        if !context.sent.contains(&sequence) {
            // A sampler that was forgotten also reports counts under old versions, although no
            // record shows that these were sent.
            return match self.forgotten {
                Some(forgotten) if sequence <= forgotten => Ok(None),
                _ => Err(Rejection::NeverSent),
            };
        }
        let Some(policies) = context.history.get(sequence) else {
            return Ok(None);
        };
        let (policy, rules) = policies
            .get_key_value(count.policy.as_str())
            .ok_or(Rejection::UnknownPolicy)?;
        Ok(Some(ReadCount {
            key: (sequence, policy.clone()),
            rules,
            decisions: decisions(count, rules)?,
        }))
    }

    fn delta(
        &self,
        count: &ReadCount<'_>,
        max_decided: u64,
    ) -> Result<Option<TailDelta>, Rejection> {
        let ReadCount {
            key,
            rules,
            decisions,
        } = count;
        if decisions.decided() > max_decided {
            return Err(Rejection::Implausible);
        }
        let increase = match self.counts.get(key) {
            Some(before) => decisions
                .checked_since(before)
                .ok_or(Rejection::Decreased)?,
            // It may include decisions that were added before the sampler was forgotten.
            None if self.resumed == Some(key.0) => return Ok(None),
            None => decisions.clone(),
        };
        let is_increase = increase.decided() > 0 || increase.unmatched_kept > 0;
        Ok(is_increase.then(|| TailDelta {
            policy: key.1.clone(),
            rules: Arc::clone(*rules),
            decisions: increase,
        }))
    }
}

/// Checks that the numbers of a count agree with each other.
fn check_sums(count: &proto::TailCount) -> Result<(), Rejection> {
    if count.unmatched_kept > count.unmatched {
        return Err(Rejection::KeptOverDecided);
    }
    let mut kept = count.rules.iter().map(|rule| rule.kept);
    let decided = kept.try_fold(count.unmatched, u64::checked_add);
    match decided {
        Some(decided) if decided == count.decided => Ok(()),
        _ => Err(Rejection::SumMismatch),
    }
}

/// The decisions in a count, with the rule names of the policy.
fn decisions(count: &proto::TailCount, rules: &PolicyRules) -> Result<TailDecisions, Rejection> {
    let mut by_rule = BTreeMap::new();
    for proto::RuleCount { rule, kept } in &count.rules {
        let mut known = rules.tail.keep().iter().map(|known| &known.name);
        let name = known
            .find(|name| name.as_str() == rule)
            .ok_or(Rejection::UnknownRule)?;
        if by_rule.insert(name.clone(), *kept).is_some() {
            return Err(Rejection::CountedTwice);
        }
    }
    Ok(TailDecisions {
        by_rule,
        unmatched: count.unmatched,
        unmatched_kept: count.unmatched_kept,
    })
}

#[cfg(test)]
mod tests;
