//! A service's plan as it goes out: encoded once, shared by all its streams.

use std::time::Instant;

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message;
use spoor_policy::{Assigned, Digest, Plan, Strategies, Strategy, Version};
use spoor_proto::spoor::control::v1 as proto;

/// A plan at a version, with the message that brings it.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) version: Version,
    pub(crate) digest: Digest,
    pub(crate) published: Instant,
    /// Among how many instances its rate limits are shared out, if it has any.
    pub(crate) shares: Option<usize>,
    pub(crate) message: Bytes,
}

impl Served {
    /// Encodes a plan; a rate limit goes out as the share of one of so many instances.
    pub(crate) fn new(plan: &Plan, version: Version, published: Instant, instances: usize) -> Self {
        let digest = digest(plan, instances);
        let phases = plan.phases().iter().map(|phase| proto::Phase {
            until_unix_millis: phase.until.map(Timestamp::as_millisecond),
            default: phase
                .strategies
                .default
                .as_ref()
                .map(|assigned| strategy(assigned, instances)),
            operations: phase
                .strategies
                .operations
                .iter()
                .map(|(operation, assigned)| proto::OperationStrategy {
                    operation: operation.to_string(),
                    strategy: Some(strategy(assigned, instances)),
                })
                .collect(),
        });
        let message = proto::server_message::Message::Plan(proto::Plan {
            version: Some(to_proto(version)),
            digest: Bytes::copy_from_slice(&digest.0.to_be_bytes()).into(),
            phases: phases.collect(),
        });
        let message = proto::ServerMessage {
            message: Some(message),
        };
        Self {
            version,
            digest,
            published,
            shares: is_shared(plan).then_some(instances),
            message: message.encode_to_vec().into(),
        }
    }
}

/// Stands for what one of so many instances does under a plan.
pub(crate) fn digest(plan: &Plan, instances: usize) -> Digest {
    // Odd, so that no two numbers of instances meet.
    const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    let Digest(digest) = plan.digest();
    if is_shared(plan) {
        Digest(digest ^ (instances.max(1) as u128).wrapping_mul(SPREAD))
    } else {
        Digest(digest)
    }
}

/// Whether it depends on the number of instances.
pub(crate) fn is_shared(plan: &Plan) -> bool {
    plan.phases().iter().any(|phase| {
        assigned(&phase.strategies).any(|it| matches!(it.strategy, Strategy::RateLimit(_)))
    })
}

/// Every strategy there.
pub(crate) fn assigned(strategies: &Strategies) -> impl Iterator<Item = &Assigned> {
    strategies
        .default
        .iter()
        .chain(strategies.operations.values())
}

pub(crate) fn to_proto(version: Version) -> proto::Version {
    proto::Version {
        epoch: version.epoch,
        sequence: version.sequence,
    }
}

pub(crate) fn from_proto(version: Option<&proto::Version>) -> Option<Version> {
    version.map(|version| Version {
        epoch: version.epoch,
        sequence: version.sequence,
    })
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
