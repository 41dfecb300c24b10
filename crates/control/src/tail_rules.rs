//! A namespace's tail rules as sent: encoded once, shared by the streams of all its samplers.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use prost::Message;
use spoor_policy::{
    Digest, Namespace, OperationName, PolicyName, Rule, RuleCondition, ServiceName, TailPlace,
    TailPolicy, TailTable, Version,
};
use spoor_proto::spoor::control::v1 as proto;

use crate::served_plan::version_to_proto;

/// The most tail rules of one namespace that are remembered, as many as plans of a service.
///
/// Counts under older ones are ignored.
const MAX_REMEMBERED: usize = 32;

/// The tail rules of a namespace at a version, with the encoded message.
#[derive(Debug)]
pub(crate) struct ServedRules {
    pub(crate) version: Version,
    pub(crate) digest: Digest,
    pub(crate) policies: Arc<RulesByPolicy>,
    pub(crate) message: Bytes,
}

/// The rules of the policies that decide the tail anywhere.
pub(crate) type RulesByPolicy = BTreeMap<PolicyName, Arc<PolicyRules>>;

/// The rules of one policy, and where they apply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PolicyRules {
    pub(crate) places: Vec<RulesPlace>,
    pub(crate) tail: TailPolicy,
}

/// A place by service and operation. `None` means all services or operations without a place of
/// their own.
pub(crate) type RulesPlace = (Option<ServiceName>, Option<OperationName>);

impl ServedRules {
    /// Encodes the rules of a namespace.
    ///
    /// Policies that are the same in the rules served `before` are shared with them. A policy is
    /// thus the same object for as long as neither its rules nor its places change, and the window of
    /// its counts continues for as long.
    pub(crate) fn new(
        table: &TailTable,
        namespace: &Namespace,
        version: Version,
        before: Option<&Self>,
    ) -> Self {
        let policies = policies(table, namespace);
        let digest = table.digest(namespace);
        let message = proto::TailRules {
            version: Some(version_to_proto(version)),
            digest: digest.0.to_be_bytes().to_vec(),
            namespace: namespace.to_string(),
            policies: policies
                .iter()
                .map(|(name, rules)| policy_to_proto(name, rules))
                .collect(),
        };
        let message = proto::ControlMessage {
            message: Some(proto::control_message::Message::Rules(message)),
        };
        let shared = policies.into_iter().map(|(name, rules)| {
            let known = before.and_then(|before| before.policies.get(&name));
            let rules = match known {
                Some(known) if **known == rules => known.clone(),
                _ => Arc::new(rules),
            };
            (name, rules)
        });
        Self {
            version,
            digest,
            policies: Arc::new(shared.collect()),
            message: message.encode_to_vec().into(),
        }
    }
}

/// The latest tail rules of one namespace by sequence, oldest first. Without their messages, which
/// may be megabytes long and are not sent again.
#[derive(Debug, Default)]
pub(crate) struct RulesHistory(VecDeque<(u64, Arc<RulesByPolicy>)>);

impl RulesHistory {
    pub(crate) fn push(&mut self, served: &ServedRules) {
        if self.0.len() == MAX_REMEMBERED {
            self.0.pop_front();
        }
        let policies = Arc::clone(&served.policies);
        self.0.push_back((served.version.sequence, policies));
    }

    /// The sequence of the oldest rules remembered, or 0.
    pub(crate) fn oldest(&self) -> u64 {
        self.0.front().map_or(0, |(sequence, _)| *sequence)
    }

    pub(crate) fn get(&self, sequence: u64) -> Option<&RulesByPolicy> {
        let mut newest_first = self.0.iter().rev();
        let (_, policies) = newest_first.find(|(past, _)| *past == sequence)?;
        Some(policies)
    }
}

/// All policies of a namespace that decide the tail anywhere.
fn policies(table: &TailTable, namespace: &Namespace) -> BTreeMap<PolicyName, PolicyRules> {
    let mut policies: BTreeMap<PolicyName, PolicyRules> = BTreeMap::new();
    for (place, name, tail) in table.places(namespace) {
        let rules = policies.entry(name.clone()).or_insert_with(|| PolicyRules {
            places: vec![],
            tail: tail.clone(),
        });
        rules.places.push(match place {
            TailPlace::Operation(service, operation) => {
                (Some(service.clone()), Some(operation.clone()))
            }
            TailPlace::Service(service) => (Some(service.clone()), None),
            TailPlace::Namespace => (None, None),
        });
    }
    policies
}

fn policy_to_proto(
    name: &PolicyName,
    PolicyRules { places, tail }: &PolicyRules,
) -> proto::TailPolicy {
    let place = |(service, operation): &RulesPlace| proto::TailPlace {
        service: service
            .as_ref()
            .map_or_else(String::new, ToString::to_string),
        operation: operation
            .as_ref()
            .map_or_else(String::new, ToString::to_string),
    };
    proto::TailPolicy {
        name: name.to_string(),
        places: places.iter().map(place).collect(),
        rules: tail.keep().iter().map(rule_to_proto).collect(),
        otherwise_millionths: tail.otherwise().millionths(),
    }
}

fn rule_to_proto(Rule { name, condition }: &Rule) -> proto::TailRule {
    use proto::tail_rule::{Attribute, Condition, Error};
    let condition = match condition {
        RuleCondition::Error => Condition::Error(Error {}),
        RuleCondition::SlowerThan(duration) => {
            // No overflow: durations are limited to `RuleCondition::MAX_DURATION`.
            let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
            Condition::SlowerThanNanos(nanos)
        }
        RuleCondition::Attribute { key, values } => Condition::Attribute(Attribute {
            key: key.to_string(),
            values: values.clone(),
        }),
    };
    proto::TailRule {
        name: name.to_string(),
        condition: Some(condition),
    }
}

#[cfg(test)]
mod tests {
    use spoor_policy::Resolution;

    use super::*;

    #[test]
    fn former_messages_are_freed() {
        let table = Resolution::default().tail;
        let served = ServedRules::new(&table, &Namespace::default(), Version::default(), None);
        let message = served.message.clone();
        let mut history = RulesHistory::default();
        history.push(&served);
        drop(served);
        assert!(message.is_unique());
        assert!(history.get(Version::default().sequence).is_some());
    }
}
