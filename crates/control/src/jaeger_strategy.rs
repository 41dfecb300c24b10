//! Strategies for unmodified SDKs, as Jaeger's remote sampling expresses them.

use serde::Serialize;
use spoor_policy::{Assigned, OperationName, PolicyName, Probability, Strategies, Strategy};
use spoor_proto::jaeger::api_v2 as proto;

/// A strategy that Jaeger's remote sampling can express.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum JaegerStrategy {
    /// A probability, and those of single operations.
    Probability {
        default: f64,
        operations: Vec<(OperationName, f64)>,
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
            Strategy::Probability(it) => Some((OperationName::clone(operation), it.as_f64())),
            // Jaeger's protocol has no limit for an operation, so its default applies, and status
            // reports that.
            Strategy::RateLimit(_) => None,
        };
        Self::Probability {
            default: default.as_f64(),
            operations: operations.filter_map(probability).collect(),
        }
    }

    /// The JSON of `GET /sampling`.
    pub(crate) fn to_json(&self) -> StrategyJson<'_> {
        match self {
            Self::RateLimit(limit) => StrategyJson::RateLimiting {
                rate_limiting_sampling: RateLimitJson {
                    max_traces_per_second: *limit,
                },
            },
            Self::Probability {
                default,
                operations,
            } => StrategyJson::Probabilistic {
                probabilistic_sampling: ProbabilityJson {
                    sampling_rate: *default,
                },
                operation_sampling: OperationsJson {
                    default_sampling_probability: *default,
                    per_operation_strategies: operations.iter().map(OperationJson::new).collect(),
                    ..OperationsJson::default()
                },
            },
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
                        operation: operation.to_string(),
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

/// The JSON of a strategy, with the names of jaeger-idl's `api_v2/sampling.proto`. Every number is
/// present, since clients differ in which ones they require.
// Serialized without intermediate values: a strategy may have thousands of operations.
#[derive(Debug, Serialize)]
#[serde(
    tag = "strategyType",
    rename_all = "SCREAMING_SNAKE_CASE",
    rename_all_fields = "camelCase"
)]
pub(crate) enum StrategyJson<'a> {
    RateLimiting {
        rate_limiting_sampling: RateLimitJson,
    },
    Probabilistic {
        probabilistic_sampling: ProbabilityJson,
        operation_sampling: OperationsJson<'a>,
    },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RateLimitJson {
    max_traces_per_second: i32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProbabilityJson {
    sampling_rate: f64,
}

/// The bounds stay 0: a lower bound would sample more than the policy allows.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OperationsJson<'a> {
    default_sampling_probability: f64,
    default_lower_bound_traces_per_second: f64,
    per_operation_strategies: Vec<OperationJson<'a>>,
    default_upper_bound_traces_per_second: f64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OperationJson<'a> {
    operation: &'a str,
    probabilistic_sampling: ProbabilityJson,
}

impl<'a> OperationJson<'a> {
    fn new((operation, sampling_rate): &'a (OperationName, f64)) -> Self {
        Self {
            operation: operation.as_str(),
            probabilistic_sampling: ProbabilityJson {
                sampling_rate: *sampling_rate,
            },
        }
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
