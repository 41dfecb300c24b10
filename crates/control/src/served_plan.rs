//! A service's plan as sent: encoded once, shared by all streams of the service.

use std::time::Instant;

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message;
use spoor_policy::{
    Assigned, Digest, OperationName, Plan, PolicyKey, Strategies, Strategy, Version,
};
use spoor_proto::spoor::control::v1 as proto;

/// A plan at a version, with the encoded message.
#[derive(Debug)]
pub(crate) struct ServedPlan {
    pub(crate) version: Version,
    pub(crate) digest: Digest,
    pub(crate) published: Instant,
    /// The number of instances that share its rate limits, if it has any.
    pub(crate) sharers: Option<usize>,
    pub(crate) message: Bytes,
}

impl ServedPlan {
    /// Encodes a plan with each rate limit divided by the number of instances.
    pub(crate) fn new(plan: &Plan, version: Version, published: Instant, instances: usize) -> Self {
        let digest = digest(plan, instances);
        let phases = plan.phases().iter().map(|phase| {
            let default = phase.strategies.default.as_ref();
            let operations = phase.strategies.operations.iter();
            let operations = operations.map(|(operation, assigned)| proto::OperationStrategy {
                operation: operation.to_string(),
                strategy: Some(strategy(assigned, instances)),
            });
            proto::Phase {
                until_unix_millis: phase.until.map(Timestamp::as_millisecond),
                default: default.map(|assigned| strategy(assigned, instances)),
                operations: operations.collect(),
            }
        });
        let message = encode(proto::server_message::Message::Plan(proto::Plan {
            version: Some(version_to_proto(version)),
            digest: Bytes::copy_from_slice(&digest.0.to_be_bytes()).into(),
            phases: phases.collect(),
        }));
        Self {
            version,
            digest,
            published,
            sharers: is_shared(plan).then_some(instances),
            message,
        }
    }
}

/// Encodes a message. All streams that it goes to share the bytes.
pub(crate) fn encode(message: proto::server_message::Message) -> Bytes {
    let message = Some(message);
    proto::ServerMessage { message }.encode_to_vec().into()
}

/// The digest of a plan as one of several instances receives it.
///
/// Equal digests mean equal behaviour. The number of instances is part of it only where the plan
/// has a rate limit, so that other services are sent nothing when an instance comes or goes.
pub(crate) fn digest(plan: &Plan, instances: usize) -> Digest {
    // Odd, so that multiplication maps different numbers of instances to different values.
    const MIX: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    let Digest(digest) = plan.digest();
    if is_shared(plan) {
        Digest(digest ^ (instances.max(1) as u128).wrapping_mul(MIX))
    } else {
        Digest(digest)
    }
}

/// True if the plan has a rate limit, which instances share.
fn is_shared(plan: &Plan) -> bool {
    plan.phases().iter().any(|phase| {
        assigned(&phase.strategies).any(|it| matches!(it.strategy, Strategy::RateLimit(_)))
    })
}

/// The strategy of a policy, if it is among these.
pub(crate) fn strategy_of(strategies: &Strategies, policy: &PolicyKey) -> Option<Strategy> {
    let mut assigned = assigned(strategies);
    let decided = assigned.find(|assigned| assigned.policy == policy.name);
    decided.map(|assigned| assigned.strategy)
}

/// All strategies, of the default and of operations.
pub(crate) fn assigned(strategies: &Strategies) -> impl Iterator<Item = &Assigned> {
    strategies
        .default
        .iter()
        .chain(strategies.operations.values())
}

pub(crate) fn version_to_proto(version: Version) -> proto::Version {
    proto::Version {
        epoch: version.epoch,
        sequence: version.sequence,
    }
}

pub(crate) fn version_from_proto(version: Option<&proto::Version>) -> Option<Version> {
    version.map(|version| Version {
        epoch: version.epoch,
        sequence: version.sequence,
    })
}

/// The name of an entry's operation in a message. It is empty for the default entry, which is for
/// all other operations.
pub(crate) fn operation_to_proto(operation: Option<&OperationName>) -> String {
    operation.map(ToString::to_string).unwrap_or_default()
}

fn strategy(assigned: &Assigned, instances: usize) -> proto::Strategy {
    use proto::strategy::Strategy as Wire;
    let strategy = match assigned.strategy {
        Strategy::Probability(probability) => Wire::ProbabilityMillionths(probability.millionths()),
        Strategy::RateLimit(limit) => Wire::TracesPerSecond(limit.share(instances)),
    };
    proto::Strategy {
        strategy: Some(strategy),
    }
}
