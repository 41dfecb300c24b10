//! Moves a stack's traffic from the Collector to Jaeger and back without losing a span: the new
//! route is ready before traffic takes it, and the old one stays until its last connection has
//! ended and its spans have been forwarded. A change of the sampler's engine moves traffic in the
//! same way, from one Collector to the other.

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
/// them. Its waits are no longer in the spec, so this is the longest `gatherWait` and `decisionWait`
/// together, and half a minute for the connections. A sampler of Spoor reports itself whether it has
/// traces after that.
const FORMER_ENGINE_DRAIN: Duration = Duration::from_secs(60 + 300 + 30);

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
    let keeps_former_engine = state.former_engine_exists
        && (traffic != Traffic::Settled || former_engine_drain.is_some());
    let replan_in = match traffic {
        Traffic::Moving { left } => Some(left),
        Traffic::Settled => former_engine_drain,
        Traffic::Waiting | Traffic::Held => None,
    };
    RoutePlan {
        target,
        collector,
        traffic,
        keeps_former_engine,
        replan_in,
        from: left_route(target, state),
    }
}

/// The route that traffic leaves for this target.
fn left_route(target: OtlpTarget, state: &RouteState) -> Route {
    match target.route {
        // From one Collector to the other.
        Route::Collector if state.former_engine_exists => Route::Collector,
        route => opposite(route),
    }
}

/// The time until the former engine has sent everything, if it exists and that is not the case yet.
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
    // Only a Collector that the operator runs is another one with another engine.
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
    let drain = old_route_drain_time(stack, target, left_route(target, state));
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
    // gRPC adds a jitter of 10 % to the maximum connection age.
    let connections = SERVICE_LAG + MAX_CONNECTION_AGE.mul_f64(1.1) + MAX_CONNECTION_AGE_GRACE;
    // The former engine stays for longer than its connections anyway.
    if old == target.route {
        return connections;
    }
    let held = match (old, &stack.sampler, &stack.collector) {
        (Route::Collector, Sampler::Spoor(sampler), _) => sampler::drain_time(sampler),
        (Route::Collector, Sampler::OpenTelemetry, Collector::Managed(own)) => {
            collector::drain_time(own)
        }
        _ => Duration::ZERO,
    };
    connections + held
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
