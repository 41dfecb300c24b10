//! What a policy does and how far it has come, in words.

use jiff::Timestamp;
use spoor_api::{
    Head, KeepRule, SamplingPolicy, Tail,
    status::{Clients, Condition, ConditionStatus, Observed, ObservedSource},
};
use spoor_traces::tree::value::visible_line;

/// The start of the strategy at a place where the tail decides.
const TAIL: &str = "tail rules";
/// The most values of an attribute that are listed.
const MAX_VALUES: usize = 8;

/// Returns whether the strategy of a place is that of a tail.
pub(super) fn is_tail(strategy: &str) -> bool {
    strategy.starts_with(TAIL)
}

/// A head's strategy, as a sentence.
pub(super) fn head(head: &Head) -> String {
    if let Some(probability) = &head.probability {
        return format!("Keeps {probability} of the traces, decided when they start.");
    }
    match &head.rate_limit {
        Some(limit) => format!(
            "Keeps at most {} traces per second and service, over all instances, decided when they \
             start.",
            limit.traces_per_second
        ),
        None => String::new(),
    }
}

/// The condition of a rule, such as `attribute customer.tier is gold or silver`.
pub(super) fn rule(rule: &KeepRule) -> String {
    if let Some(slower_than) = &rule.slower_than {
        return format!("the trace takes longer than {slower_than}");
    }
    match &rule.attribute {
        Some(attribute) => {
            let values = attribute.values.iter().take(MAX_VALUES);
            let values: Vec<String> = values.map(|it| visible_line(it).into_owned()).collect();
            let more = attribute.values.len().saturating_sub(MAX_VALUES);
            let more = match more {
                0 => String::new(),
                more => format!(" or one of {more} more"),
            };
            let key = visible_line(&attribute.key);
            format!("attribute {key} is {}{more}", values.join(" or "))
        }
        None => "any span has an error".to_owned(),
    }
}

/// The tail's share of the traces that match no rule, as a sentence.
pub(super) fn otherwise(tail: &Tail) -> String {
    match tail.keep.is_empty() {
        true => format!("Keeps {} of all complete traces.", tail.otherwise),
        false => format!("Keeps {} of the other traces.", tail.otherwise),
    }
}

/// The comparison of an observed rate with the policy.
pub(super) fn verdict(observed: &Observed) -> String {
    if observed.source == ObservedSource::Reported {
        return "reported by unmodified SDKs; nobody can verify it".to_owned();
    }
    match (observed.verdict.as_str(), &observed.message) {
        ("Consistent", None) => "consistent with the policy".to_owned(),
        ("TooHigh", None) => "higher than the policy".to_owned(),
        ("TooLow", None) => "lower than the policy".to_owned(),
        (_, Some(message)) => message.clone(),
        (_, None) => "no verdict yet".to_owned(),
    }
}

/// A condition, as the beginning of a sentence: `Accepted`, `Not converged`.
pub(super) fn condition(condition: &Condition) -> String {
    let kind = &condition.kind;
    match condition.status {
        ConditionStatus::True => kind.clone(),
        ConditionStatus::False => format!("Not {}", kind.to_lowercase()),
        ConditionStatus::Unknown => format!("{kind}: not known yet"),
    }
}

/// Returns whether the policy decides somewhere, as far as its status says.
pub(super) fn is_accepted(policy: &SamplingPolicy) -> bool {
    let accepted = policy.condition(Condition::ACCEPTED);
    accepted.is_none_or(|it| it.status != ConditionStatus::False)
}

/// The number of instances that have the policy, as a sentence for its page.
pub(super) fn progress(policy: &SamplingPolicy) -> String {
    let status = policy.status.as_ref();
    let Some(status) = status.filter(|_| is_current(policy)) else {
        return "Waiting for the control plane to see the policy.".to_owned();
    };
    if !is_accepted(policy) {
        return "In force nowhere.".to_owned();
    }
    let Some(clients) = &status.clients else {
        let has_head = policy.spec.head.is_some();
        let text = match has_head {
            true => "Waiting for the instances.",
            false => "No instance needs it: its rules are applied to complete traces.",
        };
        return text.to_owned();
    };
    let confirming = clients.expected.saturating_sub(clients.polling);
    let instances = if confirming == 1 {
        "instance"
    } else {
        "instances"
    };
    let mut text = format!(
        "In force on {} of {confirming} {instances}",
        clients.current
    );
    if let Some(milliseconds) = clients.slowest_milliseconds
        && clients.current == confirming
        && confirming > 0
    {
        text += &format!(", {milliseconds} ms after it was published");
    }
    text + "."
}

/// The instances that do not have the policy, by the reason: `1 refused, 2 polling`.
pub(super) fn exceptions(clients: &Clients) -> String {
    let numbers = [
        (clients.refused, "refused"),
        (clients.polling, "polling"),
        (clients.silent, "silent"),
        (clients.never_asked, "never asked"),
    ];
    let numbers = numbers.iter().filter(|(number, _)| *number > 0);
    let numbers = numbers.map(|(number, name)| format!("{number} {name}"));
    numbers.collect::<Vec<_>>().join(", ")
}

/// Returns whether the status is that of the policy's current generation. In a cluster, it may be
/// older for a moment.
fn is_current(policy: &SamplingPolicy) -> bool {
    let accepted = policy.condition(Condition::ACCEPTED);
    accepted.is_some_and(|it| it.observed_generation == policy.metadata.generation)
}

/// A time as `2026-12-01 09:30:00 UTC`.
pub(super) fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A time in RFC 3339 as [`time`] writes it; any other text as it is.
pub(super) fn written_time(text: &str) -> String {
    text.parse::<Timestamp>()
        .map_or_else(|_| visible_line(text).into_owned(), time)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn policy(status: Value) -> SamplingPolicy {
        let policy = json!({
            "apiVersion": "spoor.dev/v1alpha1",
            "kind": "SamplingPolicy",
            "metadata": {"name": "a", "generation": 2},
            "spec": {"head": {"probability": "1%"}},
            "status": status,
        });
        serde_json::from_value(policy).unwrap()
    }

    fn accepted(generation: i64) -> Value {
        json!([{
            "type": "Accepted", "status": "True", "observedGeneration": generation,
            "lastTransitionTime": "2026-12-01T00:00:00Z", "reason": "Accepted", "message": "",
        }])
    }

    #[rstest::rstest]
    #[case(json!({"error": {}}), "any span has an error")]
    #[case(json!({"slowerThan": "500ms"}), "the trace takes longer than 500ms")]
    #[case(
        json!({"attribute": {"key": "tier", "values": ["gold", "a\u{202e}"]}}),
        "attribute tier is gold or a\\u{202e}"
    )]
    fn rules_are_in_words(#[case] condition: Value, #[case] expected: &str) {
        let mut fields = condition.as_object().unwrap().clone();
        fields.insert("name".to_owned(), json!("a"));
        let parsed: KeepRule = serde_json::from_value(fields.into()).unwrap();
        assert_eq!(rule(&parsed), expected);
    }

    #[rstest::rstest]
    #[case(3, json!(12), "In force on 3 of 3 instances, 12 ms after it was published.")]
    #[case(2, json!(12), "In force on 2 of 3 instances.")]
    #[case(3, Value::Null, "In force on 3 of 3 instances.")]
    fn progress_counts_instances(
        #[case] current: u32,
        #[case] milliseconds: Value,
        #[case] expected: &str,
    ) {
        let clients = json!({
            "expected": 4, "current": current, "refused": 0, "polling": 1, "silent": 0,
            "slowestMilliseconds": milliseconds,
        });
        let status = json!({"conditions": accepted(2), "clients": clients});
        assert_eq!(progress(&policy(status)), expected);
    }

    #[test]
    fn status_of_an_earlier_generation_does_not_count() {
        let status = json!({"conditions": accepted(1)});
        assert!(progress(&policy(status)).starts_with("Waiting"));
    }

    #[test]
    fn exceptions_are_counted_by_reason() {
        let clients = Clients {
            expected: 4,
            refused: 1,
            never_asked: 2,
            ..Clients::default()
        };
        assert_eq!(exceptions(&clients), "1 refused, 2 never asked");
    }
}
