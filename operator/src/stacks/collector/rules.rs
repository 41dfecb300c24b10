//! A namespace's tail policies as policies of the Collector's tail sampler.
//!
//! The sampler keeps a trace if one of its policies matches. Each tail policy therefore first
//! selects the traces that it governs (those whose root span is at one of its places). A further
//! policy of the sampler keeps all other traces: those of other services and namespaces, and those
//! without a root.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};
use spoor_policy::{
    Namespace, OperationName, PolicyName, Probability, Rule, RuleCondition, ServiceName, TailPlace,
    TailPolicy, TailTable,
};

use super::ottl::{all_of, any_of, equals, text};

/// The sampler's policies in the order in which it evaluates them. The first that matches decides.
pub(super) fn policies(tail: &TailTable, namespace: &Namespace) -> Vec<Value> {
    let governed = governed(tail, namespace);
    if governed.is_empty() {
        return vec![json!({"name": "all", "type": "always_sample"})];
    }
    let places = governed.values().flat_map(|(_, places)| places).cloned();
    let root = root_condition(places.collect());
    let ours = format!("{} and {root}", namespace_condition(namespace));
    let others = json!({
        "name": "others",
        "type": "not",
        "not": {"not_sub_policy": any_span("governed", &[ours])},
    });
    let each = governed.into_iter().flat_map(|(name, (policy, places))| {
        sampler_policies(name, policy, root_condition(places))
    });
    std::iter::once(others).chain(each).collect()
}

/// The number of policies that govern the traces of a namespace.
pub(super) fn count(tail: &TailTable, namespace: &Namespace) -> usize {
    governed(tail, namespace).len()
}

/// Each policy with the conditions for a span at its places.
fn governed<'t>(
    tail: &'t TailTable,
    namespace: &Namespace,
) -> BTreeMap<&'t PolicyName, (&'t TailPolicy, Vec<String>)> {
    let mut governed = BTreeMap::new();
    let mut earlier = EarlierPlaces::default();
    // The most specific places come first, so all that a place has to exclude is already added.
    for (place, name, policy) in tail.places(namespace) {
        let (_, places) = governed.entry(name).or_insert((policy, vec![]));
        places.push(earlier.condition(place));
        earlier.add(place);
    }
    governed
}

/// The places that are more specific than the next one.
#[derive(Default)]
struct EarlierPlaces<'t> {
    operations: BTreeMap<&'t ServiceName, Vec<&'t OperationName>>,
    services: BTreeSet<&'t ServiceName>,
}

impl<'t> EarlierPlaces<'t> {
    fn add(&mut self, place: TailPlace<'t>) {
        match place {
            TailPlace::Operation(service, name) => {
                self.operations.entry(service).or_default().push(name);
            }
            TailPlace::Service(service) => drop(self.services.insert(service)),
            TailPlace::Namespace => {}
        }
    }

    /// The condition for a span at a place and at none of the earlier ones.
    fn condition(&self, place: TailPlace<'_>) -> String {
        match place {
            TailPlace::Operation(service, name) => all_of([
                service_condition(service),
                format!("span.name == {}", text(name.as_str())),
            ]),
            TailPlace::Service(service) => {
                let taken = self.operations.get(service).into_iter().flatten();
                let others = taken.map(|name| format!("span.name != {}", text(name.as_str())));
                all_of(std::iter::once(service_condition(service)).chain(others))
            }
            TailPlace::Namespace => {
                let services = self.services.iter();
                let services =
                    services.map(|service| format!("not ({})", service_condition(service)));
                let operations = self.operations.iter();
                let others = operations.filter(|(service, _)| !self.services.contains(*service));
                let others = others.map(|(service, names)| {
                    let names = names.iter();
                    let names = names.map(|name| format!("span.name == {}", text(name.as_str())));
                    format!("not ({} and {})", service_condition(service), any_of(names))
                });
                all_of(services.chain(others))
            }
        }
    }
}

fn service_condition(service: &ServiceName) -> String {
    let service = text(service.as_str());
    format!("resource.attributes[\"service.name\"] == {service}")
}

/// A stack serves its own namespace, so a resource that names no namespace belongs to it.
fn namespace_condition(namespace: &Namespace) -> String {
    const KEY: &str = "resource.attributes[\"k8s.namespace.name\"]";
    let namespace = text(namespace.as_str());
    any_of(["nil", "\"\"", &namespace].map(|value| format!("{KEY} == {value}")))
}

/// The condition for the root of a trace at one of these places.
fn root_condition(places: Vec<String>) -> String {
    format!("IsRootSpan() and {}", any_of(places))
}

/// The sampler's policies for one tail policy. Roots in other namespaces may match its places, too;
/// the policy for all other traces keeps those anyway.
fn sampler_policies(name: &PolicyName, policy: &TailPolicy, root: String) -> Vec<Value> {
    // All traces are kept anyway, so no rule has to be evaluated.
    if policy.otherwise() == Probability::ALWAYS {
        return vec![any_span(&format!("{name}/otherwise"), &[root])];
    }
    let root = any_span("root", &[root]);
    let with_root = |suffix: &str, condition: Value| {
        let name = format!("{name}/{suffix}");
        json!({"name": name, "type": "and", "and": {"and_sub_policy": [root, condition]}})
    };
    let (spans, limit) = conditions(policy.keep());
    let spans = (!spans.is_empty()).then(|| with_root("keep", any_span("span", &spans)));
    let slow = limit.map(|limit| with_root("keep/slow", trace_duration_policy(limit)));
    let share = (policy.otherwise() != Probability::NEVER)
        .then(|| with_root("otherwise", share(policy.otherwise())));
    [spans, slow, share].into_iter().flatten().collect()
}

/// The conditions of rules for a single span, any one of which suffices, and their limit for the
/// duration of a whole trace.
fn conditions(rules: &[Rule]) -> (Vec<String>, Option<Duration>) {
    let (mut spans, mut limits) = (vec![], vec![]);
    for rule in rules {
        match &rule.condition {
            RuleCondition::Error => spans.push("span.status.code == STATUS_CODE_ERROR".to_owned()),
            RuleCondition::SlowerThan(limit) => {
                spans.push(format!(
                    "span.end_time_unix_nano - span.start_time_unix_nano > {}",
                    limit.as_nanos()
                ));
                limits.push(*limit);
            }
            RuleCondition::Attribute { key, values } => {
                spans.extend(values.iter().flat_map(|value| equals(key, value)));
            }
        }
    }
    // A trace that exceeds any of the limits exceeds the shortest one.
    (spans, limits.into_iter().min())
}

/// The sampler measures whole traces, but in whole milliseconds rounded down: 500.9 ms does not
/// exceed 500. In most traces one span is as long as the trace, and spans are measured exactly.
fn trace_duration_policy(limit: Duration) -> Value {
    let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    json!({"name": "slow", "type": "latency", "latency": {"threshold_ms": limit}})
}

fn share(probability: Probability) -> Value {
    // Both numbers are exact in a double, so the quotient is the double closest to the percentage.
    let percentage = f64::from(probability.millionths()) / 1e4;
    json!({
        "name": "share",
        "type": "probabilistic",
        "probabilistic": {"sampling_percentage": percentage},
    })
}

/// A policy that matches if some span meets one of the conditions.
fn any_span(name: &str, conditions: &[String]) -> Value {
    json!({
        "name": name,
        "type": "ottl_condition",
        // Otherwise one span on which a condition cannot be evaluated would abort the decision on
        // its whole trace.
        "ottl_condition": {"error_mode": "ignore", "span": conditions},
    })
}
