//! Strategies for unmodified SDKs, as Jaeger's remote sampling expresses them.

use spoor_policy::{
    Assigned, OperationName, PolicyName, Probability, Strategies, Strategy, TracesPerSecond,
};
use spoor_proto::jaeger::api_v2::{
    OperationSamplingStrategy, PerOperationSamplingStrategies, ProbabilisticSamplingStrategy,
    RateLimitingSamplingStrategy, SamplingStrategyResponse, SamplingStrategyType,
};

/// Converts strategies, with a rate limit divided by the number of instances.
pub(crate) fn response(
    strategies: &Strategies,
    default: Probability,
    instances: impl FnOnce() -> usize,
) -> SamplingStrategyResponse {
    match strategies.default.as_ref().map(|it| it.strategy) {
        // Without operations: clients that receive both ignore the rate limit.
        Some(Strategy::RateLimit(limit)) => rate_limiting(limit, instances()),
        Some(Strategy::Probability(default)) => probabilistic(strategies, default),
        None => probabilistic(strategies, default),
    }
}

fn rate_limiting(limit: TracesPerSecond, instances: usize) -> SamplingStrategyResponse {
    // Jaeger's protocol has whole numbers only.
    let share = limit.whole_share(instances);
    SamplingStrategyResponse {
        strategy_type: SamplingStrategyType::RateLimiting.into(),
        rate_limiting_sampling: Some(RateLimitingSamplingStrategy {
            max_traces_per_second: i32::try_from(share).unwrap_or(i32::MAX),
        }),
        ..SamplingStrategyResponse::default()
    }
}

/// A probability, and those of individual operations.
fn probabilistic(strategies: &Strategies, default: Probability) -> SamplingStrategyResponse {
    let probability = |probability: Probability| ProbabilisticSamplingStrategy {
        sampling_rate: probability.as_f64(),
    };
    let operation = |(operation, assigned): (&OperationName, &Assigned)| match assigned.strategy {
        Strategy::Probability(it) => Some(OperationSamplingStrategy {
            operation: operation.to_string(),
            probabilistic_sampling: Some(probability(it)),
        }),
        // Jaeger's protocol has no limit for an operation, so its default applies, and status
        // reports that.
        Strategy::RateLimit(_) => None,
    };
    let operations = strategies.operations.iter().filter_map(operation);
    SamplingStrategyResponse {
        strategy_type: SamplingStrategyType::Probabilistic.into(),
        probabilistic_sampling: Some(probability(default)),
        operation_sampling: Some(PerOperationSamplingStrategies {
            default_sampling_probability: default.as_f64(),
            per_operation_strategies: operations.collect(),
            // The bounds stay 0: a lower bound would sample more than the policy allows.
            ..PerOperationSamplingStrategies::default()
        }),
        ..SamplingStrategyResponse::default()
    }
}

/// True if Jaeger's remote sampling can express all of a policy.
///
/// It has no rate limit for an operation, and no strategy for an operation of a service with a rate
/// limit.
pub(crate) fn is_expressible(strategies: &Strategies, policy: &PolicyName) -> bool {
    let is_limit = |assigned: &Assigned| matches!(assigned.strategy, Strategy::RateLimit(_));
    let has_service_limit = strategies.default.as_ref().is_some_and(is_limit);
    strategies
        .operations
        .values()
        .filter(|assigned| assigned.policy == *policy)
        .all(|assigned| !has_service_limit && !is_limit(assigned))
}
