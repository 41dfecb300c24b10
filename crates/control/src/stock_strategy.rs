//! Strategies for unmodified SDKs, as Jaeger's remote sampling expresses them.

use serde::Serialize;
use spoor_policy::{Assigned, PolicyName, Probability, Strategies, Strategy};
use spoor_proto::jaeger::api_v2 as proto;

/// A strategy in Jaeger's form.
///
/// Field names and nesting are those of jaeger-idl's `api_v2/sampling.proto` in JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "strategyType")]
pub(crate) enum StockStrategy {
    #[serde(rename = "PROBABILISTIC", rename_all = "camelCase")]
    Probabilistic {
        probabilistic_sampling: Probabilistic,
        operation_sampling: PerOperation,
    },
    /// Without operations: clients that find both forms ignore the rate limit.
    #[serde(rename = "RATE_LIMITING", rename_all = "camelCase")]
    RateLimiting {
        rate_limiting_sampling: RateLimiting,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Probabilistic {
    sampling_rate: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RateLimiting {
    max_traces_per_second: i32,
}

/// Strategies by operation.
///
/// Every number is present, since clients differ in which ones they require. The lower bound is
/// zero, since a higher one would sample more than the policy asks for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PerOperation {
    default_sampling_probability: f64,
    default_lower_bound_traces_per_second: f64,
    per_operation_strategies: Vec<OperationProbability>,
    default_upper_bound_traces_per_second: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OperationProbability {
    operation: String,
    probabilistic_sampling: Probabilistic,
}

impl StockStrategy {
    /// Converts strategies, with rate limits divided by the number of instances.
    pub(crate) fn new(
        strategies: &Strategies,
        default: Probability,
        instances: impl FnOnce() -> usize,
    ) -> Self {
        let default = match strategies
            .default
            .as_ref()
            .map(|assigned| assigned.strategy)
        {
            Some(Strategy::RateLimit(limit)) => {
                // Jaeger's protocol has whole numbers only.
                let share = limit.whole_share(instances());
                return Self::RateLimiting {
                    rate_limiting_sampling: RateLimiting {
                        max_traces_per_second: i32::try_from(share).unwrap_or(i32::MAX),
                    },
                };
            }
            Some(Strategy::Probability(probability)) => probability.as_f64(),
            None => default.as_f64(),
        };
        let operations = strategies.operations.iter();
        let per_operation_strategies = operations
            .filter_map(|(operation, assigned)| match assigned.strategy {
                Strategy::Probability(probability) => Some(OperationProbability {
                    operation: operation.to_string(),
                    probabilistic_sampling: Probabilistic {
                        sampling_rate: probability.as_f64(),
                    },
                }),
                // Jaeger's protocol has no limit for an operation, so its default applies, and
                // status reports that.
                Strategy::RateLimit(_) => None,
            })
            .collect();
        Self::Probabilistic {
            probabilistic_sampling: Probabilistic {
                sampling_rate: default,
            },
            operation_sampling: PerOperation {
                default_sampling_probability: default,
                default_lower_bound_traces_per_second: 0.0,
                per_operation_strategies,
                default_upper_bound_traces_per_second: 0.0,
            },
        }
    }

    pub(crate) fn into_proto(self) -> proto::SamplingStrategyResponse {
        match self {
            Self::RateLimiting {
                rate_limiting_sampling: it,
            } => proto::SamplingStrategyResponse {
                strategy_type: proto::SamplingStrategyType::RateLimiting.into(),
                rate_limiting_sampling: Some(proto::RateLimitingSamplingStrategy {
                    max_traces_per_second: it.max_traces_per_second,
                }),
                ..Default::default()
            },
            Self::Probabilistic {
                probabilistic_sampling,
                operation_sampling,
            } => proto::SamplingStrategyResponse {
                strategy_type: proto::SamplingStrategyType::Probabilistic.into(),
                probabilistic_sampling: Some(probabilistic_sampling.into()),
                operation_sampling: Some(operation_sampling.into()),
                ..Default::default()
            },
        }
    }
}

impl From<Probabilistic> for proto::ProbabilisticSamplingStrategy {
    fn from(it: Probabilistic) -> Self {
        Self {
            sampling_rate: it.sampling_rate,
        }
    }
}

impl From<PerOperation> for proto::PerOperationSamplingStrategies {
    fn from(it: PerOperation) -> Self {
        let operations = it.per_operation_strategies.into_iter();
        Self {
            default_sampling_probability: it.default_sampling_probability,
            default_lower_bound_traces_per_second: it.default_lower_bound_traces_per_second,
            default_upper_bound_traces_per_second: it.default_upper_bound_traces_per_second,
            per_operation_strategies: operations
                .map(|it| proto::OperationSamplingStrategy {
                    operation: it.operation,
                    probabilistic_sampling: Some(it.probabilistic_sampling.into()),
                })
                .collect(),
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
