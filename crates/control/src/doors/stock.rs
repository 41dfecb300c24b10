//! What stock clients are told, in either of Jaeger's forms.

use std::time::Instant;

use jiff::Timestamp;
use serde::Serialize;
use spoor_policy::{
    Assigned, Namespace, PolicyName, Probability, ServiceName, Strategies, Strategy,
};
use spoor_proto::jaeger::api_v2 as proto;

use crate::{Control, pollers::Asker};

/// The answer to a stock client.
///
/// Field names and nesting: jaeger-idl, `api_v2/sampling.proto` in its JSON form.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "strategyType")]
pub(crate) enum Answer {
    #[serde(rename = "PROBABILISTIC", rename_all = "camelCase")]
    Probabilistic {
        probabilistic_sampling: Probabilistic,
        operation_sampling: PerOperation,
    },
    /// Alone: clients prefer the other members and would never read it beside them.
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

/// With every number present: clients differ in which they tolerate to miss. A lower bound over
/// zero would sample more than the policy says.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PerOperation {
    default_sampling_probability: f64,
    default_lower_bound_traces_per_second: f64,
    per_operation_strategies: Vec<Operation>,
    default_upper_bound_traces_per_second: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Operation {
    operation: String,
    probabilistic_sampling: Probabilistic,
}

impl Control {
    /// Answers a stock client and remembers it; none before the first publication.
    pub(crate) fn answer(
        &self,
        namespace: Namespace,
        service: ServiceName,
        asker: Option<&Asker>,
    ) -> Option<Answer> {
        let now = Instant::now();
        let key = (namespace, service);
        let published = self.0.published.load_full()?;
        let entered = self.0.services.get(&key);
        if let Some(asker) = asker {
            self.0.pollers.asked(&key, asker, now);
            if let Some(service) = &entered {
                self.settle(service);
            }
            self.0.tick();
        }
        let plan = published.table.plan(key.0.as_str(), key.1.as_str());
        let strategies = plan.at(Timestamp::now()).cloned().unwrap_or_default();
        let instances = || {
            let live = entered.map_or(0, |service| service.state().live);
            live + self.0.pollers.sharers(&key, asker, now)
        };
        let default = self.0.settings.stock_default;
        Some(Answer::of(&strategies, default, instances))
    }
}

impl Answer {
    fn of(
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
                Strategy::Probability(probability) => Some(Operation {
                    operation: operation.to_string(),
                    probabilistic_sampling: Probabilistic {
                        sampling_rate: probability.as_f64(),
                    },
                }),
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

/// Whether stock clients can be told all that a policy says: they know no limit for an operation,
/// and no operation beside a limit.
pub(crate) fn is_expressible(strategies: &Strategies, policy: &PolicyName) -> bool {
    let is_limit = |assigned: &Assigned| matches!(assigned.strategy, Strategy::RateLimit(_));
    let beside_a_limit = strategies.default.as_ref().is_some_and(is_limit);
    strategies
        .operations
        .values()
        .filter(|assigned| assigned.policy == *policy)
        .all(|assigned| !beside_a_limit && !is_limit(assigned))
}
