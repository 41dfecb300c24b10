//! Strategies for unmodified SDKs, as Jaeger's remote sampling expresses them.

use serde_json::{Value, json};
use spoor_policy::{Assigned, PolicyName, Probability, Strategies, Strategy};
use spoor_proto::jaeger::api_v2 as proto;

/// A strategy that Jaeger's remote sampling can express.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum JaegerStrategy {
    /// A probability, and those of single operations.
    Probability {
        default: f64,
        operations: Vec<(String, f64)>,
    },
    /// Traces per second, without operations: clients that receive both ignore the rate limit.
    RateLimit(i32),
}

impl JaegerStrategy {
    /// Converts strategies, with rate limits divided by the number of instances.
    pub(crate) fn new(
        strategies: &Strategies,
        default: Probability,
        instances: impl FnOnce() -> usize,
    ) -> Self {
        let default = match strategies.default.as_ref().map(|it| it.strategy) {
            Some(Strategy::RateLimit(limit)) => {
                // Jaeger's protocol has whole numbers only.
                let share = limit.whole_share(instances());
                return Self::RateLimit(i32::try_from(share).unwrap_or(i32::MAX));
            }
            Some(Strategy::Probability(probability)) => probability,
            None => default,
        };
        let operations = strategies.operations.iter();
        let probability = |(operation, assigned): (_, &Assigned)| match assigned.strategy {
            Strategy::Probability(it) => Some((ToString::to_string(operation), it.as_f64())),
            // Jaeger's protocol has no limit for an operation, so its default applies, and status
            // reports that.
            Strategy::RateLimit(_) => None,
        };
        Self::Probability {
            default: default.as_f64(),
            operations: operations.filter_map(probability).collect(),
        }
    }

    /// The JSON of `GET /sampling`, with the names of jaeger-idl's `api_v2/sampling.proto`.
    pub(crate) fn to_json(&self) -> Value {
        let probabilistic = |share: f64| json!({"samplingRate": share});
        match self {
            Self::RateLimit(limit) => json!({
                "strategyType": "RATE_LIMITING",
                "rateLimitingSampling": {"maxTracesPerSecond": limit},
            }),
            // Every number is present, since clients differ in which ones they require. A lower
            // bound above zero would sample more than the policy allows.
            Self::Probability {
                default,
                operations,
            } => json!({
                "strategyType": "PROBABILISTIC",
                "probabilisticSampling": probabilistic(*default),
                "operationSampling": {
                    "defaultSamplingProbability": default,
                    "defaultLowerBoundTracesPerSecond": 0.0,
                    "perOperationStrategies": operations.iter().map(|(operation, share)| json!({
                        "operation": operation,
                        "probabilisticSampling": probabilistic(*share),
                    })).collect::<Vec<_>>(),
                    "defaultUpperBoundTracesPerSecond": 0.0,
                },
            }),
        }
    }

    pub(crate) fn into_proto(self) -> proto::SamplingStrategyResponse {
        let mut response = proto::SamplingStrategyResponse::default();
        let probabilistic =
            |sampling_rate| Some(proto::ProbabilisticSamplingStrategy { sampling_rate });
        match self {
            Self::RateLimit(max_traces_per_second) => {
                response.set_strategy_type(proto::SamplingStrategyType::RateLimiting);
                response.rate_limiting_sampling = Some(proto::RateLimitingSamplingStrategy {
                    max_traces_per_second,
                });
            }
            Self::Probability {
                default,
                operations,
            } => {
                response.set_strategy_type(proto::SamplingStrategyType::Probabilistic);
                response.probabilistic_sampling = probabilistic(default);
                let operations = operations.into_iter();
                let operations =
                    operations.map(|(operation, share)| proto::OperationSamplingStrategy {
                        operation,
                        probabilistic_sampling: probabilistic(share),
                    });
                response.operation_sampling = Some(proto::PerOperationSamplingStrategies {
                    default_sampling_probability: default,
                    per_operation_strategies: operations.collect(),
                    ..Default::default()
                });
            }
        }
        response
    }
}

/// True if Jaeger's remote sampling can express all of a policy.
///
/// It has no rate limit for an operation, and no operations beside a rate limit.
pub(crate) fn is_expressible(strategies: &Strategies, policy: &PolicyName) -> bool {
    let is_limit = |assigned: &Assigned| matches!(assigned.strategy, Strategy::RateLimit(_));
    let beside_a_limit = strategies.default.as_ref().is_some_and(is_limit);
    strategies
        .operations
        .values()
        .filter(|assigned| assigned.policy == *policy)
        .all(|assigned| !beside_a_limit && !is_limit(assigned))
}
