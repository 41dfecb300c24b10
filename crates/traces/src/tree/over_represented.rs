//! Features that distinguish some traces from others: the services, operations and attributes that
//! occur in a larger share of them.
//!
//! Each [`Feature`] is tested with Fisher's exact test, which is valid for any number of traces.
//! With many features some are unevenly distributed by chance, so the p-values are also given as
//! adjusted by the Holm–Bonferroni method.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use opentelemetry_proto::tonic::{
    common::v1::{KeyValue, any_value::Value},
    resource::v1::Resource,
};

use super::{build::Tree, fisher::FisherTest, value};

/// The most features of a trace. Later spans add no more.
const MAX_FEATURES: usize = 2_000;

/// The longest name, key or value of a feature, in bytes. Longer ones are left out: they are rarely
/// the same in two traces, and are hard to read.
const MAX_TEXT_BYTES: usize = 256;

/// The most distinct values of an attribute's key. A key with more, such as an ID or a time, is not
/// tested.
const MAX_VALUES: usize = 200;

/// The most features that are tested: those found in the most traces.
const MAX_TESTS: usize = 20_000;

/// The most findings returned.
const MAX_FINDINGS: usize = 200;

/// Something that a trace has or does not have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// A span of this service.
    Service(String),
    /// A span of this service with this name.
    Operation {
        /// The service.
        service: String,
        /// The name of the span.
        operation: String,
    },
    /// A span, or the resource of one, with this attribute.
    Attribute {
        /// The key.
        key: String,
        /// The value, as [`value::text`] shows it.
        value: String,
    },
}

/// A feature that is found in a larger share of the selected traces than of the rest.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The feature.
    pub feature: Feature,
    /// The number of selected traces with it.
    pub selected: usize,
    /// The number of other traces with it.
    pub rest: usize,
    /// Its share of the selected traces minus its share of the rest; above 0.
    pub difference: f64,
    /// The two-sided p-value: the probability of a distribution at least as uneven, if the feature
    /// has nothing to do with the selection.
    pub p: f64,
    /// The p-value adjusted for the number of features tested. If those below 0.05 are reported,
    /// the probability that any of them is due to chance is at most 5 %.
    pub adjusted_p: f64,
}

/// The features of a trace: its services, operations, and attributes whose value is a string, a
/// number or a Boolean.
#[must_use]
pub fn features(tree: &Tree) -> BTreeSet<Feature> {
    let mut features = BTreeSet::new();
    let mut last_resource: Option<&Arc<Resource>> = None;
    for row in tree.rows() {
        let member = &row.member;
        insert(&mut features, service(member.service()));
        insert(
            &mut features,
            operation(member.service(), &member.span.name),
        );
        // Spans of the same resource often follow each other.
        if last_resource.is_none_or(|last| !Arc::ptr_eq(last, &member.resource)) {
            let attributes = member.resource.attributes.iter();
            // It is a feature as the service.
            let attributes = attributes.filter(|it| it.key != "service.name");
            attributes.for_each(|it| insert(&mut features, attribute(it)));
            last_resource = Some(&member.resource);
        }
        let attributes = member.span.attributes.iter();
        attributes.for_each(|it| insert(&mut features, attribute(it)));
        if features.len() >= MAX_FEATURES {
            break;
        }
    }
    features
}

/// The features that are found in a larger share of the selected traces than of the rest: those
/// with the smallest p-value first, and of equal ones those with the largest difference.
///
/// Features of a single trace or of all traces are not tested, since they distinguish nothing. This
/// and the other limits depend only on the number of traces with a feature, not on which, so that
/// they do not distort the p-values.
#[must_use]
pub fn over_represented(
    selected: &[BTreeSet<Feature>],
    rest: &[BTreeSet<Feature>],
) -> Vec<Finding> {
    let (in_selected, in_rest) = (selected.len(), rest.len());
    let test = FisherTest::new(in_selected, in_rest);
    // Many features are found in the same numbers of traces.
    let mut known: HashMap<Counts, f64> = HashMap::new();
    let finding = |(feature, counts): (&Feature, Counts)| {
        let p = known.entry(counts);
        let p = p.or_insert_with(|| test.p(counts.selected, counts.rest));
        Finding {
            feature: feature.clone(),
            selected: counts.selected,
            rest: counts.rest,
            difference: share(counts.selected, in_selected) - share(counts.rest, in_rest),
            p: *p,
            adjusted_p: *p,
        }
    };
    let tested = tested(count(selected, rest), in_selected + in_rest);
    let mut findings: Vec<Finding> = tested.into_iter().map(finding).collect();
    findings.sort_by(by_p);
    adjust(&mut findings);
    findings.retain(|finding| finding.difference > 0.0);
    findings.truncate(MAX_FINDINGS);
    findings
}

/// The numbers of traces with a feature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Counts {
    selected: usize,
    rest: usize,
}

impl Counts {
    fn sum(self) -> usize {
        self.selected + self.rest
    }
}

fn count<'a>(
    selected: &'a [BTreeSet<Feature>],
    rest: &'a [BTreeSet<Feature>],
) -> BTreeMap<&'a Feature, Counts> {
    let mut counts: BTreeMap<&Feature, Counts> = BTreeMap::new();
    for feature in selected.iter().flatten() {
        counts.entry(feature).or_default().selected += 1;
    }
    for feature in rest.iter().flatten() {
        counts.entry(feature).or_default().rest += 1;
    }
    counts
}

/// Selects the features to test.
fn tested(counts: BTreeMap<&Feature, Counts>, traces: usize) -> Vec<(&Feature, Counts)> {
    let mut values: HashMap<&str, usize> = HashMap::new();
    for feature in counts.keys().copied() {
        if let Feature::Attribute { key, .. } = feature {
            *values.entry(key).or_default() += 1;
        }
    }
    let has_few_values = |feature: &Feature| match feature {
        Feature::Attribute { key, .. } => {
            let values = values.get(key.as_str());
            values.is_none_or(|values| *values <= MAX_VALUES)
        }
        Feature::Service(_) | Feature::Operation { .. } => true,
    };
    let mut tested: Vec<(&Feature, Counts)> = counts.into_iter().collect();
    tested
        .retain(|(feature, counts)| (2..traces).contains(&counts.sum()) && has_few_values(feature));
    tested.sort_by_key(|(_, counts)| Reverse(counts.sum()));
    tested.truncate(MAX_TESTS);
    tested
}

fn by_p(a: &Finding, b: &Finding) -> Ordering {
    let by_difference = || b.difference.total_cmp(&a.difference);
    let by_feature = || a.feature.cmp(&b.feature);
    a.p.total_cmp(&b.p)
        .then_with(by_difference)
        .then_with(by_feature)
}

/// Adjusts the p-values of findings, which are sorted, by the Holm–Bonferroni method.
fn adjust(findings: &mut [Finding]) {
    let mut largest: f64 = 0.0;
    let remaining = (1..=findings.len()).rev();
    for (finding, remaining) in findings.iter_mut().zip(remaining) {
        largest = largest.max((finding.p * remaining as f64).min(1.0));
        finding.adjusted_p = largest;
    }
}

fn share(part: usize, whole: usize) -> f64 {
    // Of no traces, none has the feature.
    part as f64 / whole.max(1) as f64
}

fn insert(features: &mut BTreeSet<Feature>, feature: Option<Feature>) {
    if let Some(feature) = feature
        && features.len() < MAX_FEATURES
    {
        features.insert(feature);
    }
}

fn service(name: &str) -> Option<Feature> {
    Some(Feature::Service(short(name)?.to_owned()))
}

fn operation(service: &str, operation: &str) -> Option<Feature> {
    Some(Feature::Operation {
        service: short(service)?.to_owned(),
        operation: short(operation)?.to_owned(),
    })
}

fn attribute(attribute: &KeyValue) -> Option<Feature> {
    let key = short(&attribute.key)?;
    let any = attribute.value.as_ref();
    let value = match any?.value.as_ref()? {
        Value::StringValue(text) => short(text)?.to_owned(),
        Value::BoolValue(_) | Value::IntValue(_) | Value::DoubleValue(_) => value::text(any),
        _ => return None,
    };
    Some(Feature::Attribute {
        key: key.to_owned(),
        value,
    })
}

fn short(text: &str) -> Option<&str> {
    (text.len() <= MAX_TEXT_BYTES).then_some(text)
}
