//! Tail rules as the control plane sends them.

use std::time::Duration;

use spoor_policy::{
    AttributeKey, Digest, InvalidName, Namespace, OperationName, OwnedTailPlace, PolicyName,
    Probability, Rule, RuleCondition, RuleName, ServiceName, TailPolicy, TailTable, Version,
};
use spoor_proto::spoor::control::v1::{self as wire, tail_rule::Condition};

/// The tail rules of one publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The publication.
    pub version: Version,
    /// The digest of the rules.
    pub digest: Digest,
    /// The rules, for traces whose root span is in the namespace of their policies.
    pub table: TailTable,
}

/// The reason why rules are refused: the invalid field, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRules(String);

impl Rules {
    /// Checks a message and reads its rules.
    ///
    /// # Errors
    /// [`InvalidRules`] for the first invalid field.
    pub fn read(message: &wire::TailRules) -> Result<Self, InvalidRules> {
        rules(message).map_err(InvalidRules)
    }
}

fn rules(message: &wire::TailRules) -> Result<Rules, String> {
    let Some(wire::Version { epoch, sequence }) = message.version else {
        return Err("version: must be set".to_owned());
    };
    let namespace = valid("namespace", Namespace::new(&message.namespace))?;
    let mut places = Vec::new();
    for (index, policy) in message.policies.iter().enumerate() {
        let read = by_place(policy).map_err(|problem| format!("policies[{index}].{problem}"))?;
        places.extend(read);
    }
    let table = TailTable::new(namespace.clone(), places)
        .map_err(|problem| format!("policies: {problem}"))?;
    let digest = table.digest(&namespace);
    // A message of a newer control plane may contain more than this program knows. Rules that are
    // not those of the policies must not decide.
    if message.digest != digest.0.to_be_bytes() {
        return Err(
            "digest: differs from that of the rules as this sampler reads them; update the sampler"
                .to_owned(),
        );
    }
    Ok(Rules {
        version: Version { epoch, sequence },
        digest,
        table,
    })
}

/// A policy at each of its places.
fn by_place(
    policy: &wire::TailPolicy,
) -> Result<Vec<(OwnedTailPlace, PolicyName, TailPolicy)>, String> {
    let name = valid("name", PolicyName::new(&policy.name))?;
    let mut rules = Vec::new();
    for (index, message) in policy.rules.iter().enumerate() {
        rules.push(rule(message).map_err(|problem| format!("rules[{index}].{problem}"))?);
    }
    let otherwise = Probability::from_millionths(policy.otherwise_millionths)
        .map_err(|problem| format!("otherwise_millionths: {problem}"))?;
    let tail = TailPolicy::new(rules, otherwise).map_err(|problem| format!("rules: {problem}"))?;
    let places = policy.places.iter().enumerate().map(|(index, message)| {
        let place = place(message).map_err(|problem| format!("places[{index}].{problem}"))?;
        Ok((place, name.clone(), tail.clone()))
    });
    places.collect()
}

fn rule(message: &wire::TailRule) -> Result<Rule, String> {
    let condition = match &message.condition {
        Some(Condition::Error(_)) => RuleCondition::Error,
        Some(Condition::SlowerThanNanos(nanos)) => {
            RuleCondition::SlowerThan(Duration::from_nanos(*nanos))
        }
        Some(Condition::Attribute(attribute)) => RuleCondition::Attribute {
            key: valid("attribute.key", AttributeKey::new(&attribute.key))?,
            values: attribute.values.clone(),
        },
        None => {
            return Err(
                "condition: must be one that this sampler supports; update the sampler".to_owned(),
            );
        }
    };
    Ok(Rule {
        name: valid("name", RuleName::new(&message.name))?,
        condition,
    })
}

fn place(message: &wire::TailPlace) -> Result<OwnedTailPlace, String> {
    let wire::TailPlace { service, operation } = message;
    match (service.as_str(), operation.as_str()) {
        ("", "") => Ok(OwnedTailPlace::Namespace),
        ("", _) => Err("operation: must be empty without a service".to_owned()),
        (service, "") => {
            let service = valid("service", ServiceName::new(service))?;
            Ok(OwnedTailPlace::Service(service))
        }
        (service, operation) => {
            let service = valid("service", ServiceName::new(service))?;
            let operation = valid("operation", OperationName::new(operation))?;
            Ok(OwnedTailPlace::Operation(service, operation))
        }
    }
}

/// Names the field of an invalid name.
fn valid<T>(field: &str, name: Result<T, InvalidName>) -> Result<T, String> {
    name.map_err(|problem| format!("{field}: {problem}"))
}

#[cfg(test)]
mod tests;
