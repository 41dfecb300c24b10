//! A namespace's tail policies as policies of the Collector's tail sampler.
//!
//! The sampler keeps a trace if one of its policies wants it. So each of ours says first whose
//! traces it is about (those whose root span is at its places), and one keeps all the others:
//! other services', other namespaces', and traces without a root.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use spoor_policy::{
    Condition, Namespace, OperationName, Place, PolicyName, Probability, ServiceName, TailPolicy,
    TailTable,
};

use super::ottl::{all, has, text};

/// The sampler's policies, in the order in which they are asked; the first that matches decides.
pub(super) fn policies(tail: &TailTable, namespace: &Namespace) -> Vec<Value> {
    let governed = Governed::of(tail, namespace);
    if governed.policies.is_empty() {
        return vec![json!({"name": "all", "type": "always_sample"})];
    }
    let roots = governed.policies.values().flat_map(|(_, roots)| roots);
    let mut policies = vec![json!({
        "name": "others",
        "type": "not",
        "not": {"not_sub_policy": any_span("governed", roots.cloned().collect())},
    })];
    for (name, (policy, roots)) in governed.policies {
        policies.extend(of_policy(name, policy, any_span("root", roots)));
    }
    policies
}

/// How many policies a namespace's traces are kept by.
pub(super) fn count(tail: &TailTable, namespace: &Namespace) -> usize {
    Governed::of(tail, namespace).policies.len()
}

/// Each policy with the conditions for a root span at its places.
#[derive(Default)]
struct Governed<'t> {
    policies: BTreeMap<&'t PolicyName, (&'t TailPolicy, Vec<String>)>,
}

impl<'t> Governed<'t> {
    fn of(tail: &'t TailTable, namespace: &Namespace) -> Self {
        let mut governed = Self::default();
        let mut above = Above::default();
        // The most specific places come first, so all that a place has to leave out is known.
        for (place, name, policy) in tail.places(namespace) {
            let root = all(["IsRootSpan()".to_owned(), is_of(namespace)]
                .into_iter()
                .chain(above.within(place)));
            let (_, roots) = governed.policies.entry(name).or_insert((policy, vec![]));
            roots.push(root);
            above.add(place);
        }
        governed
    }
}

/// The places that are decided before a less specific one.
#[derive(Default)]
struct Above<'t> {
    operations: BTreeMap<&'t ServiceName, Vec<&'t OperationName>>,
    services: Vec<&'t ServiceName>,
}

impl<'t> Above<'t> {
    fn add(&mut self, place: Place<'t>) {
        match place {
            Place::Operation(service, name) => {
                self.operations.entry(service).or_default().push(name);
            }
            Place::Service(service) => self.services.push(service),
            Place::Namespace => {}
        }
    }

    /// The conditions for a span at a place and at none of these.
    fn within(&self, place: Place<'_>) -> Vec<String> {
        match place {
            Place::Operation(service, name) => {
                vec![is_service(service), format!("span.name == {}", text(name.as_str()))]
            }
            Place::Service(service) => {
                let taken = self.operations.get(service).into_iter().flatten();
                let others = taken.map(|name| format!("span.name != {}", text(name.as_str())));
                std::iter::once(is_service(service)).chain(others).collect()
            }
            Place::Namespace => {
                let services = self.services.iter();
                let services = services.map(|service| format!("not ({})", is_service(service)));
                let operations = self.operations.iter().flat_map(|(service, names)| {
                    let is_service = is_service(service);
                    names.iter().map(move |name| {
                        let name = text(name.as_str());
                        format!("not ({is_service} and span.name == {name})")
                    })
                });
                services.chain(operations).collect()
            }
        }
    }
}

fn is_service(service: &ServiceName) -> String {
    let service = text(service.as_str());
    format!("resource.attributes[\"service.name\"] == {service}")
}

/// A stack serves its own namespace: who says nothing of one is there.
fn is_of(namespace: &Namespace) -> String {
    const KEY: &str = "resource.attributes[\"k8s.namespace.name\"]";
    let namespace = text(namespace.as_str());
    format!("({KEY} == nil or {KEY} == \"\" or {KEY} == {namespace})")
}

fn of_policy(name: &PolicyName, policy: &TailPolicy, root: Value) -> Vec<Value> {
    if policy.otherwise() == Probability::ALWAYS {
        let mut all = root;
        all["name"] = json!(format!("{name}/otherwise"));
        return vec![all];
    }
    let rules = policy.keep().iter().flat_map(|rule| {
        let conditions = matching(&rule.condition).into_iter();
        let name = format!("{name}/keep/{}", rule.name);
        conditions.map(move |(suffix, condition)| (format!("{name}{suffix}"), condition))
    });
    let otherwise = (policy.otherwise() != Probability::NEVER).then(|| {
        let percentage = f64::from(policy.otherwise().millionths()) / 1e4;
        let share = json!({
            "name": "share",
            "type": "probabilistic",
            "probabilistic": {"sampling_percentage": percentage},
        });
        (format!("{name}/otherwise"), share)
    });
    let both = |(name, condition): (String, Value)| {
        json!({"name": name, "type": "and", "and": {"and_sub_policy": [root, condition]}})
    };
    rules.chain(otherwise).map(both).collect()
}

/// What asks whether a trace meets a condition, one of several; each with an end for its name.
fn matching(condition: &Condition) -> Vec<(&'static str, Value)> {
    match condition {
        Condition::Error => vec![(
            "",
            json!({"name": "error", "type": "status_code", "status_code": {"status_codes": ["ERROR"]}}),
        )],
        Condition::SlowerThan(limit) => slower_than(*limit),
        Condition::Attribute { key, values } => {
            let conditions = values.iter().flat_map(|value| has(key, value)).collect();
            vec![("", any_span("attribute", conditions))]
        }
    }
}

/// The sampler measures whole traces, but in whole milliseconds rounded down: 500.9 ms are not
/// more than 500. Nearly always one span is as long as the trace, and those are measured exactly.
fn slower_than(limit: Duration) -> Vec<(&'static str, Value)> {
    let span = format!(
        "span.end_time_unix_nano - span.start_time_unix_nano > {}",
        limit.as_nanos()
    );
    let trace = json!({
        "name": "slow",
        "type": "latency",
        "latency": {"threshold_ms": u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)},
    });
    vec![("", trace), ("/span", any_span("slow-span", vec![span]))]
}

/// Asks whether some span meets one of the conditions.
fn any_span(name: &str, conditions: Vec<String>) -> Value {
    json!({
        "name": name,
        "type": "ottl_condition",
        "ottl_condition": {"error_mode": "ignore", "span": conditions},
    })
}
