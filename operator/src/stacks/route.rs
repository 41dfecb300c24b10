//! Moves a stack's traffic from the Collector to Jaeger and back without losing a span: the new
//! route is ready before traffic takes it, and the old one stays until its last connection has
//! ended and its spans have been forwarded. A change of the sampler's engine moves traffic in the
//! same way, from one Collector to the other. Each engine would decide on its own part of a trace
//! that has spans in both, so both keep every trace while there may be such traces
//! ([`EngineChange`]).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use spoor_api::stack::{Collector, Route, Sampler, Stack};

use super::{
    build::otlp_service::{OtlpTarget, existing_address, opposite},
    collector,
    objects::otlp::{MAX_CONNECTION_AGE, MAX_CONNECTION_AGE_GRACE},
    sampler,
};

/// The time until kube-proxy on every node has applied a change of a Service's endpoints.
const SERVICE_LAG: Duration = Duration::from_secs(3);
/// The time for which the parts of the former engine stay at least after traffic has begun to leave
/// them. Its waits are no longer in the spec, so this is the longest `gatherWait` and
/// `decisionWait` together, and half a minute for the connections. Spoor's sampler reports whether
/// it has traces after that.
const FORMER_ENGINE_DRAIN: Duration = Duration::from_secs(60 + 300 + 30);
/// The interval at which to check whether the former engine keeps every trace.
const PREPARATION_INTERVAL: Duration = Duration::from_secs(2);

/// The present state of a stack, as far as its route depends on it.
#[derive(Clone, Copy, Debug)]
pub struct RouteState {
    /// The route of the OTLP Service; none before the Service exists.
    pub target: Option<OtlpTarget>,
    /// True if Jaeger accepts spans.
    pub jaeger_is_ready: bool,
    /// True if the Collector accepts spans, with the engine in the spec. Of an existing Collector,
    /// only the sampler behind it is known.
    pub collector_is_ready: bool,
    /// True if any part of the Collector or its sampler exists, with either engine.
    pub collector_exists: bool,
    /// True if any part of the engine that is not in the spec exists.
    pub former_engine_exists: bool,
    /// True if that engine keeps every trace, or cannot drop any.
    pub former_engine_keeps_all: bool,
}

/// The next step of a change of route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutePlan {
    /// The route that the OTLP Service should have.
    pub target: OtlpTarget,
    /// The action on the Collector.
    pub collector: CollectorAction,
    /// The progress of traffic.
    pub traffic: Traffic,
    /// True while the parts of the engine that is not in the spec stay.
    pub keeps_former_engine: bool,
    /// The progress of a change of engine.
    pub engine_change: EngineChange,
    /// The delay after which to plan again even if nothing has changed.
    pub replan_in: Option<Duration>,
    /// The route that traffic leaves while it is moving.
    from: Route,
}

/// The action on the Collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CollectorAction {
    /// Run it, since it is needed.
    Run,
    /// Keep it as it is until traffic has left it.
    Keep,
    /// Remove it.
    Remove,
}

/// The progress of traffic towards the route in the spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// All traffic takes the route.
    Settled,
    /// Traffic stays on the other route until this one is ready.
    Waiting,
    /// New connections take the route; those on the old one are ending.
    Moving {
        /// The time until the last of them has ended.
        left: Duration,
    },
    /// All traffic takes the route, but the old one stays, since it cannot forward the spans that
    /// it may still hold.
    Held,
}

/// The progress of a change of engine, until no trace can have spans in both engines.
///
/// The new engine applies no rules, and keeps every trace, from its start until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineChange {
    /// No trace has spans in both engines.
    None,
    /// The new engine is not ready yet.
    Starting,
    /// The new engine is ready. Traffic waits until the former one keeps every trace, too.
    Preparing,
    /// Traffic takes the new engine. A trace may have spans in both.
    Overlapping {
        /// The time until no trace can have spans in both any more.
        left: Duration,
    },
}

impl EngineChange {
    /// Returns true if neither engine should apply rules.
    #[must_use]
    pub fn is_without_rules(self) -> bool {
        matches!(self, Self::Preparing | Self::Overlapping { .. })
    }
}

impl RoutePlan {
    /// The route that traffic takes: the new one once all traffic does.
    #[must_use]
    pub fn route(&self) -> Route {
        match self.traffic {
            Traffic::Moving { .. } => self.from,
            Traffic::Settled | Traffic::Waiting | Traffic::Held => self.target.route,
        }
    }
}

/// Plans the next step.
#[must_use]
pub fn plan(stack: &Stack, state: &RouteState, now: Timestamp) -> RoutePlan {
    let target = next_target(stack, state, now);
    let traffic = traffic(stack, target, state, now);
    let collector = match (stack.route, target.route, traffic) {
        (Route::Collector, ..) => CollectorAction::Run,
        // Only then has all traffic left the Collector, and all that it held been sent.
        (Route::Direct, Route::Direct, Traffic::Settled) => CollectorAction::Remove,
        (Route::Direct, ..) => CollectorAction::Keep,
    };
    let former_engine_drain = former_engine_drain(target, state, now);
    let engine_change = engine_change(stack, target, state, now);
    let keeps_former_engine = state.former_engine_exists
        && (traffic != Traffic::Settled
            || former_engine_drain.is_some()
            || engine_change != EngineChange::None);
    let replan_in = match (traffic, engine_change) {
        (Traffic::Moving { left }, _) => Some(left),
        (Traffic::Settled, EngineChange::Overlapping { left }) => Some(left),
        (Traffic::Settled, _) => former_engine_drain,
        (Traffic::Waiting, EngineChange::Preparing) => Some(PREPARATION_INTERVAL),
        (Traffic::Waiting | Traffic::Held, _) => None,
    };
    RoutePlan {
        target,
        collector,
        traffic,
        keeps_former_engine,
        engine_change,
        replan_in,
        from: former_route(target, state),
    }
}

/// The route that traffic leaves when it moves to this target.
fn former_route(target: OtlpTarget, state: &RouteState) -> Route {
    match target.route {
        // From one Collector to the other.
        Route::Collector if state.former_engine_exists => Route::Collector,
        route => opposite(route),
    }
}

fn engine_change(
    stack: &Stack,
    target: OtlpTarget,
    state: &RouteState,
    now: Timestamp,
) -> EngineChange {
    if leaves_engine(stack, target, state) {
        return match is_ready(stack, stack.route, state) {
            true => EngineChange::Preparing,
            false => EngineChange::Starting,
        };
    }
    let has_both = state.former_engine_exists && target.route == Route::Collector;
    let since = target.since.filter(|_| has_both);
    // The last connection to the former engine may bring the first span of a trace.
    let overlap = connections_drain_time() + engine_drain_time(stack);
    let left = since.and_then(|since| time_left(since, overlap, now));
    left.map_or(EngineChange::None, |left| EngineChange::Overlapping {
        left,
    })
}

/// Returns true if traffic should leave the engine of this target for the one in the spec.
pub(super) fn leaves_engine(stack: &Stack, target: OtlpTarget, state: &RouteState) -> bool {
    state.former_engine_exists
        && (stack.route, target.route) == (Route::Collector, Route::Collector)
        && target.engine != stack.sampler.engine()
}

/// The time until the former engine has sent everything, if it exists and may not have done so yet.
fn former_engine_drain(target: OtlpTarget, state: &RouteState, now: Timestamp) -> Option<Duration> {
    let since = target.since.filter(|_| state.former_engine_exists)?;
    time_left(since, FORMER_ENGINE_DRAIN, now)
}

/// The time until a period that began in the past ends, if it has not ended yet.
fn time_left(since: Timestamp, period: Duration, now: Timestamp) -> Option<Duration> {
    let end = SignedDuration::try_from(period)
        .ok()
        .and_then(|period| since.checked_add(period).ok())?;
    let left = end.duration_since(now);
    left.is_positive().then(|| left.unsigned_abs())
}

/// Returns true if a target is what the stack specifies.
fn is_as_specified(stack: &Stack, target: OtlpTarget) -> bool {
    // Another engine means another receiver only if the operator runs the Collector.
    let is_same_receiver = target.route == Route::Direct
        || existing_address(stack, target.route).is_some()
        || target.engine == stack.sampler.engine();
    target.route == stack.route && is_same_receiver
}

fn next_target(stack: &Stack, state: &RouteState, now: Timestamp) -> OtlpTarget {
    let specified = |since| OtlpTarget {
        route: stack.route,
        engine: stack.sampler.engine(),
        since,
    };
    match state.target {
        Some(target) if is_as_specified(stack, target) => match target.route {
            // The engine behind an existing Collector changes without a change of route.
            Route::Collector => specified(target.since),
            Route::Direct => target,
        },
        // Traffic stays on a route that works rather than move to one that does not.
        Some(target) if !is_ready(stack, stack.route, state) => target,
        // Nor does it leave an engine that may drop a part of a trace.
        Some(target) if leaves_engine(stack, target, state) && !state.former_engine_keeps_all => {
            target
        }
        // In whole seconds: the time becomes an annotation, which people read.
        Some(_) => specified(Timestamp::from_second(now.as_second()).ok()),
        // No service has resolved the address yet, so there is nothing to move.
        None => specified(None),
    }
}

fn traffic(stack: &Stack, target: OtlpTarget, state: &RouteState, now: Timestamp) -> Traffic {
    if !is_as_specified(stack, target) {
        return Traffic::Waiting;
    }
    let Some(since) = target.since else {
        return Traffic::Settled;
    };
    let drain = old_route_drain_time(stack, target, former_route(target, state));
    if let Some(left) = time_left(since, drain, now) {
        return Traffic::Moving { left };
    }
    // A Collector that cannot send keeps its spans. Deleting it would lose them.
    let may_hold_spans = target.route == Route::Direct && state.collector_exists;
    if may_hold_spans && !is_ready(stack, Route::Direct, state) {
        Traffic::Held
    } else {
        Traffic::Settled
    }
}

/// The time until no traffic takes the old route any more.
fn old_route_drain_time(stack: &Stack, target: OtlpTarget, old: Route) -> Duration {
    // The former engine stays for longer than its connections anyway.
    if old == target.route || old == Route::Direct {
        return connections_drain_time();
    }
    connections_drain_time() + engine_drain_time(stack)
}

/// The time until no connection leads to the former destination of the OTLP Service.
fn connections_drain_time() -> Duration {
    // gRPC adds a jitter of 10 % to the maximum connection age.
    SERVICE_LAG + MAX_CONNECTION_AGE.mul_f64(1.1) + MAX_CONNECTION_AGE_GRACE
}

/// The time for which the engine in the spec holds a trace.
fn engine_drain_time(stack: &Stack) -> Duration {
    match (&stack.sampler, &stack.collector) {
        (Sampler::Spoor(sampler), _) => sampler::drain_time(sampler),
        (Sampler::OpenTelemetry, Collector::Managed(own)) => collector::drain_time(own),
        (Sampler::OpenTelemetry, Collector::Existing(_)) => Duration::ZERO,
    }
}

fn is_ready(stack: &Stack, route: Route, state: &RouteState) -> bool {
    // The operator cannot observe an existing Collector or Jaeger, and assumes that it is ready.
    let is_existing = existing_address(stack, route).is_some();
    match (route, &stack.sampler) {
        // Also behind an existing Collector, which refuses spans until its sampler is ready.
        (Route::Collector, Sampler::Spoor(_)) => state.collector_is_ready,
        (Route::Collector, Sampler::OpenTelemetry) => is_existing || state.collector_is_ready,
        (Route::Direct, _) => is_existing || state.jaeger_is_ready,
    }
}

#[cfg(test)]
mod tests;
