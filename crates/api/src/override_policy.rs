//! Overrides: policies with an expiry and a high priority.

use std::time::Duration;

use jiff::Timestamp;
use spoor_policy::{InvalidName, Namespace, OperationName, PolicyName, Probability, ServiceName};

use crate::{EXPIRY_LIMIT, Head, Metadata, SamplingPolicy, SamplingPolicySpec, TargetSpec};

/// The priority of overrides, above those that people normally give their policies.
const PRIORITY: i32 = 1000;

/// A temporary rate for a service.
#[derive(Clone, Debug)]
pub struct OverrideFields {
    /// The namespace of the service.
    pub namespace: Namespace,
    /// The service where the traces start.
    pub service: ServiceName,
    /// The operations to affect. If empty, all.
    pub operations: Vec<OperationName>,
    /// The share of traces to keep.
    pub probability: Probability,
    /// The time until the override expires.
    pub lifetime: Duration,
}

/// The error for an override that is not a valid policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOverride {
    /// The end is later than policies may expire.
    #[error("must end before the year 3000, such as 15m")]
    Lifetime,
    /// No policy can be named after the service.
    #[error(
        "{name:?} is not a valid policy name: {error}; write a policy with another name and apply it"
    )]
    Name {
        /// The name.
        name: String,
        /// The rule that it violates.
        error: InvalidName,
    },
}

/// The policy of an override that begins now.
///
/// Its name depends on the service only, so that another override of the same service replaces this
/// one.
///
/// # Errors
/// [`InvalidOverride`].
pub fn override_policy(
    fields: &OverrideFields,
    now: Timestamp,
) -> Result<SamplingPolicy, InvalidOverride> {
    let until = now.checked_add(fields.lifetime).ok();
    let until = until
        .filter(|until| *until < EXPIRY_LIMIT)
        .ok_or(InvalidOverride::Lifetime)?;
    let name = format!("override-{}", fields.service);
    let name = match PolicyName::new(&name) {
        Ok(name) => name.to_string(),
        Err(error) => return Err(InvalidOverride::Name { name, error }),
    };
    let metadata = Metadata {
        namespace: Some(fields.namespace.to_string()),
        ..Metadata::named(name)
    };
    let operations = fields.operations.iter();
    let spec = SamplingPolicySpec {
        priority: PRIORITY,
        targets: vec![TargetSpec {
            service: fields.service.to_string(),
            operations: operations.map(ToString::to_string).collect(),
        }],
        head: Some(Head {
            probability: Some(fields.probability.to_string()),
            ..Head::default()
        }),
        // Milliseconds are precise enough, and easier to read than nanoseconds.
        expires_at: Some(format!("{until:.3}")),
        ..SamplingPolicySpec::default()
    };
    Ok(SamplingPolicy::new(metadata, spec))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn fields(service: &str, lifetime: Duration) -> OverrideFields {
        OverrideFields {
            namespace: Namespace::default(),
            service: ServiceName::new(service).unwrap(),
            operations: vec![],
            probability: Probability::ALWAYS,
            lifetime,
        }
    }

    #[test]
    fn override_is_a_valid_policy_that_expires() {
        let fields = fields("service-a", Duration::from_secs(900));
        let policy = override_policy(&fields, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(policy.metadata.name, "override-service-a");
        let expires_at = policy.spec.expires_at.as_deref();
        assert_eq!(expires_at, Some("1970-01-01T00:15:00.000Z"));
        assert!(policy.validate(Timestamp::UNIX_EPOCH).is_ok());
    }

    #[test]
    fn service_whose_name_no_policy_can_have_is_refused() {
        let fields = fields("Shop Service", Duration::from_secs(900));
        let refused = override_policy(&fields, Timestamp::UNIX_EPOCH);
        assert!(matches!(refused, Err(InvalidOverride::Name { .. })));
    }

    #[test]
    fn end_after_the_limit_is_refused() {
        let now = EXPIRY_LIMIT - Duration::from_secs(900);
        let refused = override_policy(&fields("a", Duration::from_secs(900)), now);
        assert_eq!(refused.err(), Some(InvalidOverride::Lifetime));
    }
}
