//! The traces that were sent, compared by ID with those in Jaeger.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use spoor_policy::Probability;

use super::{
    jaeger::{Trace, Traces},
    load::{self, Generated},
};

/// The rule that keeps traces with an error.
pub const ERRORS: &str = "errors";
/// The rates of `otherwise` between which tests change.
pub const RATES: [&str; 2] = ["10%", "20%"];

/// The result of a comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, derive_more::AddAssign)]
pub struct Comparison {
    /// The traces sent.
    pub sent: usize,
    /// The traces in Jaeger.
    pub found: usize,
    /// The traces that are kept at both rates: those with an error, and those whose randomness is
    /// in the lower one.
    pub expected: usize,
    /// The expected traces of which nothing is in Jaeger.
    pub lost: usize,
    /// The traces of which only a part is in Jaeger.
    pub split: usize,
    /// The spans that are in Jaeger again.
    pub repeated: usize,
    /// The traces in Jaeger that are dropped at both rates, or were never sent.
    pub unexpected: usize,
    /// The traces in Jaeger whose root does not name the rule that keeps them.
    pub unnamed: usize,
}

impl Comparison {
    /// Compares traces, which the policy decided on by [`ERRORS`] and [`RATES`].
    pub fn new(sent: &[Generated], found: &Traces, policy: &str) -> Self {
        let with_error: BTreeSet<&str> = ids(sent, |sent| &sent.ids.with_error).collect();
        let without_error: BTreeSet<&str> = ids(sent, |sent| &sent.ids.without_error).collect();
        let is_kept = |id: &str, rate: &str| with_error.contains(id) || is_in_share(id, rate);
        let [low, high] = RATES;
        let expected: Vec<&str> = with_error
            .union(&without_error)
            .copied()
            .filter(|id| is_kept(id, low))
            .collect();
        let is_unexpected = |id: &str| {
            let was_sent = with_error.contains(id) || without_error.contains(id);
            !was_sent || !is_kept(id, high)
        };
        let is_unnamed = |(id, trace): &(&String, &Trace)| {
            let rule = match with_error.contains(id.as_str()) {
                true => ERRORS,
                false => "otherwise",
            };
            let expected = format!("{policy}/{rule}");
            trace.rule.as_ref() != Some(&expected)
        };
        let repeated = found.values().map(|trace| trace.spans - trace.distinct);
        Self {
            sent: with_error.len() + without_error.len(),
            found: found.len(),
            expected: expected.len(),
            lost: expected
                .iter()
                .filter(|id| !found.contains_key(**id))
                .count(),
            split: found.values().filter(|trace| is_split(trace)).count(),
            repeated: repeated.sum(),
            unexpected: found.keys().filter(|id| is_unexpected(id)).count(),
            unnamed: found.iter().filter(is_unnamed).count(),
        }
    }

    /// Asserts that there are traces that are certainly kept, and no difference.
    pub fn assert_clean(&self) {
        let clean = Self {
            sent: self.sent,
            found: self.found,
            expected: self.expected,
            ..Self::default()
        };
        assert_eq!(*self, clean);
        assert!(self.expected > 0, "no trace is certainly kept");
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} traces sent, {} expected, {} in Jaeger: {} lost, {} split, {} spans repeated, {} unexpected, {} without their rule",
            self.sent,
            self.expected,
            self.found,
            self.lost,
            self.split,
            self.repeated,
            self.unexpected,
            self.unnamed
        )
    }
}

/// The number of traces that each rule kept, as their roots name it.
pub fn by_rule(found: &Traces) -> BTreeMap<&str, u64> {
    let mut by_rule: BTreeMap<&str, u64> = BTreeMap::new();
    for rule in found.values().filter_map(|trace| trace.rule.as_deref()) {
        *by_rule.entry(rule).or_default() += 1;
    }
    by_rule
}

fn ids(sent: &[Generated], which: fn(&Generated) -> &[String]) -> impl Iterator<Item = &str> {
    sent.iter().flat_map(which).map(String::as_str)
}

/// Returns true if only a part of the trace is in Jaeger.
pub fn is_split(trace: &Trace) -> bool {
    trace.distinct < load::SPANS || trace.root.is_none()
}

/// Returns true if the trace is in a share of all traces. The randomness is in the low 56 bits of
/// its ID, as the generator's `tracestate` and flags say.
fn is_in_share(id: &str, rate: &str) -> bool {
    let id = u128::from_str_radix(id, 16).unwrap();
    let randomness = u64::try_from(id & ((1 << 56) - 1)).unwrap();
    let rate: Probability = rate.parse().unwrap();
    rate.threshold().keeps(randomness)
}

#[test]
fn each_kind_of_difference_is_found() {
    let id = |number: u128| format!("{number:032x}");
    // In no share; only in the higher one; in both.
    let (none, one, both) = (1, (1 << 56) * 85 / 100, (1 << 56) - 1);
    let sent = Generated {
        traces: 0,
        spans: 0,
        exported: 0,
        dropped: BTreeMap::new(),
        services: BTreeMap::new(),
        ids: load::TraceIds {
            with_error: vec![id(none), id(none + 1)],
            without_error: vec![id(none + 2), id(one), id(one + 1), id(both)],
        },
    };
    let complete = |rule: &str| Trace {
        root: Some("shop".to_owned()),
        spans: load::SPANS,
        distinct: load::SPANS,
        has_error: false,
        rule: Some(format!("policy/{rule}")),
        ..Trace::default()
    };
    let mut found = Traces::from([
        (id(none), complete(ERRORS)),
        (id(none + 1), complete(ERRORS)),
        (id(one), complete("otherwise")),
        (id(both), complete("otherwise")),
    ]);
    let compare = |found: &Traces| Comparison::new(std::slice::from_ref(&sent), found, "policy");
    let clean = Comparison {
        sent: 6,
        found: 4,
        expected: 3,
        ..Comparison::default()
    };
    assert_eq!(compare(&found), clean);
    assert_eq!(by_rule(&found)["policy/errors"], 2);

    found.remove(&id(none));
    found.insert(id(none + 2), complete("otherwise"));
    found.insert(id(none + 3), complete(ERRORS));
    let split = Trace {
        spans: load::SPANS,
        distinct: load::SPANS - 1,
        ..complete(ERRORS)
    };
    found.insert(id(one), split);
    let faulty = Comparison {
        found: 5,
        lost: 1,
        split: 1,
        repeated: 1,
        unexpected: 2,
        unnamed: 2,
        ..clean
    };
    assert_eq!(compare(&found), faulty);
}
