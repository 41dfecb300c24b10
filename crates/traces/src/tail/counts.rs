//! Counts of decisions, by the version of the rules, the policy and the rule.

use std::collections::VecDeque;

use hashbrown::{Equivalent, HashMap};
use spoor_policy::{Namespace, PolicyKey, PolicyName, RuleName, Version};

use crate::KeepReason;

/// The most versions whose counts are kept apart. The control plane remembers as many.
const MAX_VERSIONS: usize = 32;

/// Decisions by the rules of one version on traces at the places of one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailCount {
    /// The version of the rules.
    pub version: Version,
    /// The policy.
    pub policy: PolicyKey,
    /// The decisions.
    pub decisions: PolicyDecisions,
}

/// Decisions on traces at the places of one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyDecisions {
    /// The traces decided.
    pub decided: u64,
    /// Their spans that had arrived.
    pub spans: u64,
    /// The traces kept because of each rule that kept any.
    pub rules: Vec<(RuleName, u64)>,
    /// The traces that no rule matched.
    pub unmatched: u64,
    /// The traces that no rule matched and that were kept nevertheless.
    pub unmatched_kept: u64,
}

impl PolicyDecisions {
    fn count(&mut self, kept: Option<&KeepReason>, spans: usize) {
        self.decided += 1;
        self.spans += spans as u64;
        match kept {
            Some(KeepReason::Rule { rule, .. }) => self.add(rule, 1),
            _ => {
                self.unmatched += 1;
                self.unmatched_kept += u64::from(kept.is_some());
            }
        }
    }

    fn add(&mut self, rule: &RuleName, traces: u64) {
        // A policy has few rules, so a search takes less time than a hash.
        match self.rules.iter_mut().find(|(name, _)| name == rule) {
            Some((_, kept)) => *kept += traces,
            None => self.rules.push((rule.clone(), traces)),
        }
    }

    fn merge(&mut self, other: &Self) {
        self.decided += other.decided;
        self.spans += other.spans;
        self.unmatched += other.unmatched;
        self.unmatched_kept += other.unmatched_kept;
        for (rule, kept) in &other.rules {
            self.add(rule, *kept);
        }
    }
}

/// The key of a policy, as a table of rules has it.
// Its hash is that of `PolicyKey`, whose fields have the same order.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct PolicyRef<'t> {
    pub(super) namespace: &'t Namespace,
    pub(super) name: &'t PolicyName,
}

impl PolicyRef<'_> {
    fn key(self) -> PolicyKey {
        PolicyKey {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}

impl Equivalent<PolicyKey> for PolicyRef<'_> {
    fn equivalent(&self, key: &PolicyKey) -> bool {
        *self.name == key.name && *self.namespace == key.namespace
    }
}

type ByPolicy = HashMap<PolicyKey, PolicyDecisions>;

/// Decisions under the latest versions. Without a version nothing is counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// The latest version comes last.
    versions: VecDeque<(Version, ByPolicy)>,
    /// The decisions under older versions, of policies that the latest versions have, too.
    older: ByPolicy,
}

impl Counts {
    /// Counts under this version from now on.
    pub(super) fn begin(&mut self, version: Version) {
        // The same rules may arrive again after a connection was lost, and earlier ones from a control
        // plane that was replaced meanwhile. A version is reported once.
        let known = self
            .versions
            .iter()
            .position(|(known, _)| *known == version);
        if let Some(known) = known.and_then(|known| self.versions.remove(known)) {
            self.versions.push_back(known);
            return;
        }
        self.versions.push_back((version, ByPolicy::new()));
        if self.versions.len() > MAX_VERSIONS
            && let Some((_, oldest)) = self.versions.pop_front()
        {
            self.forget(&oldest);
        }
    }

    /// Counts a decision by a policy on a trace with this number of spans. `kept` is the reason if
    /// the trace was kept.
    #[inline]
    pub(super) fn count(&mut self, policy: PolicyRef<'_>, kept: Option<&KeepReason>, spans: usize) {
        let Some((_, policies)) = self.versions.back_mut() else {
            return;
        };
        match policies.get_mut(&policy) {
            Some(decisions) => decisions.count(kept, spans),
            None => policies.entry(policy.key()).or_default().count(kept, spans),
        }
    }

    /// The decisions under the latest versions.
    pub(super) fn by_version(&self) -> Vec<TailCount> {
        let counts = self.versions.iter().flat_map(|(version, policies)| {
            policies.iter().map(|(policy, decisions)| TailCount {
                version: *version,
                policy: policy.clone(),
                decisions: decisions.clone(),
            })
        });
        counts.collect()
    }

    /// The decisions of each policy, over all versions.
    pub(super) fn by_policy(&self) -> Vec<(PolicyKey, PolicyDecisions)> {
        let mut sums = self.older.clone();
        for (_, policies) in &self.versions {
            merge(&mut sums, policies);
        }
        sums.into_iter().collect()
    }

    /// Keeps the sums of a version that is forgotten, for as long as its policies are in use.
    fn forget(&mut self, oldest: &ByPolicy) {
        merge(&mut self.older, oldest);
        let versions = &self.versions;
        self.older.retain(|policy, _| {
            let mut latest = versions.iter();
            latest.any(|(_, policies)| policies.contains_key(policy))
        });
    }
}

fn merge(sums: &mut ByPolicy, policies: &ByPolicy) {
    for (policy, decisions) in policies {
        sums.entry(policy.clone()).or_default().merge(decisions);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn version(sequence: u64) -> Version {
        Version { epoch: 1, sequence }
    }

    fn policy() -> PolicyName {
        PolicyName::new("errors").unwrap()
    }

    fn count(counts: &mut Counts, namespace: &str, kept: Option<&KeepReason>) {
        let policy = PolicyRef {
            namespace: &Namespace::new(namespace).unwrap(),
            name: &policy(),
        };
        counts.count(policy, kept, 2);
    }

    fn by_rule() -> KeepReason {
        KeepReason::Rule {
            policy: policy(),
            rule: RuleName::new("failed").unwrap(),
        }
    }

    #[test]
    fn nothing_is_counted_without_a_version() {
        let mut counts = Counts::default();
        count(&mut counts, "shop", None);
        assert!(counts.by_version().is_empty());
        assert!(counts.by_policy().is_empty());
    }

    #[test]
    fn decisions_are_counted_by_version() {
        let mut counts = Counts::default();
        counts.begin(version(1));
        count(&mut counts, "shop", Some(&by_rule()));
        count(&mut counts, "shop", None);
        counts.begin(version(1));
        let by_head = KeepReason::Head { policy: policy() };
        count(&mut counts, "shop", Some(&by_head));
        counts.begin(version(2));
        count(&mut counts, "shop", Some(&by_rule()));
        let counted = counts.by_version();
        let expected = PolicyDecisions {
            decided: 3,
            spans: 6,
            rules: vec![(RuleName::new("failed").unwrap(), 1)],
            unmatched: 2,
            unmatched_kept: 1,
        };
        assert_eq!(counted.len(), 2);
        assert_eq!(counted[0].decisions, expected);
        assert_eq!(counted[1].version, version(2));
        assert_eq!(counted[1].decisions.decided, 1);
    }

    #[test]
    fn returning_version_is_counted_once() {
        let mut counts = Counts::default();
        for sequence in [1, 2, 1] {
            counts.begin(version(sequence));
            count(&mut counts, "shop", None);
        }
        let counted = counts.by_version().into_iter();
        let counted = counted.map(|it| (it.version.sequence, it.decisions.decided));
        assert_eq!(counted.collect::<Vec<_>>(), [(2, 1), (1, 2)]);
    }

    #[test]
    fn namespaces_are_counted_apart() {
        let mut counts = Counts::default();
        counts.begin(version(1));
        count(&mut counts, "east", None);
        count(&mut counts, "west", None);
        count(&mut counts, "east", None);
        let counted = counts.by_version().into_iter();
        let mut counted: Vec<(String, u64)> = counted
            .map(|it| (it.policy.to_string(), it.decisions.decided))
            .collect();
        counted.sort();
        let expected = [("east/errors", 2), ("west/errors", 1)];
        assert_eq!(
            counted,
            expected.map(|(policy, decided)| (policy.to_owned(), decided))
        );
    }

    #[test]
    fn sums_outlive_versions() {
        let mut counts = Counts::default();
        for sequence in 0..2 * MAX_VERSIONS as u64 {
            counts.begin(version(sequence));
            count(&mut counts, "shop", Some(&by_rule()));
        }
        assert_eq!(counts.by_version().len(), MAX_VERSIONS);
        let sums = counts.by_policy();
        assert_eq!(sums[0].1.decided, 2 * MAX_VERSIONS as u64);
        assert_eq!(sums[0].1.spans, 4 * MAX_VERSIONS as u64);
        assert_eq!(sums[0].1.rules[0].1, 2 * MAX_VERSIONS as u64);
    }
}
