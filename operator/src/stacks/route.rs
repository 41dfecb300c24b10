//! Moves a stack's traffic from the Collector to Jaeger and back without losing a span: the new
//! route is ready before traffic takes it, and the old one stays until its last connection has
//! ended and its spans have been forwarded.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use spoor_api::stack::{Collector, Route, Stack};

use super::{
    build::otlp_service::{OtlpTarget, existing_address, opposite},
    collector,
    objects::otlp::{MAX_CONNECTION_AGE, MAX_CONNECTION_AGE_GRACE},
};

/// The time until kube-proxy on every node has applied a change of a Service's endpoints.
const SERVICE_LAG: Duration = Duration::from_secs(3);

/// The present state of a stack, as far as its route depends on it.
#[derive(Clone, Copy, Debug)]
pub struct RouteState {
    /// The route of the OTLP Service; none before the Service exists.
    pub target: Option<OtlpTarget>,
    /// True if Jaeger accepts spans.
    pub jaeger_is_ready: bool,
    /// True if the Collector accepts spans.
    pub collector_is_ready: bool,
    /// True if any part of the Collector exists.
    pub collector_exists: bool,
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
            Traffic::Moving { .. } => opposite(self.target.route),
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
    RoutePlan {
        target,
        collector,
        traffic,
    }
}

fn next_target(stack: &Stack, state: &RouteState, now: Timestamp) -> OtlpTarget {
    match state.target {
        Some(target) if target.route == stack.route => target,
        // Traffic stays on a route that works rather than move to one that does not.
        Some(target) if !is_ready(stack, stack.route, state) => target,
        Some(_) => OtlpTarget {
            route: stack.route,
            // In whole seconds: the time becomes an annotation, which people read.
            since: Timestamp::from_second(now.as_second()).ok(),
        },
        // No service has resolved the address yet, so there is nothing to move.
        None => OtlpTarget {
            route: stack.route,
            since: None,
        },
    }
}

fn traffic(stack: &Stack, target: OtlpTarget, state: &RouteState, now: Timestamp) -> Traffic {
    if target.route != stack.route {
        return Traffic::Waiting;
    }
    let Some(since) = target.since else {
        return Traffic::Settled;
    };
    let end = SignedDuration::try_from(old_route_drain_time(stack, opposite(target.route)))
        .ok()
        .and_then(|drain| since.checked_add(drain).ok());
    let left = end.map_or(SignedDuration::ZERO, |end| end.duration_since(now));
    if left.is_positive() {
        return Traffic::Moving {
            left: left.unsigned_abs(),
        };
    }
    // A Collector that cannot send keeps its spans. Deleting it would lose them.
    let may_hold_spans = target.route == Route::Direct && state.collector_exists;
    if may_hold_spans && !state.jaeger_is_ready {
        Traffic::Held
    } else {
        Traffic::Settled
    }
}

/// The time until no traffic takes the old route any more.
fn old_route_drain_time(stack: &Stack, old: Route) -> Duration {
    // gRPC adds a jitter of 10 % to the maximum connection age.
    let connections = SERVICE_LAG + MAX_CONNECTION_AGE.mul_f64(1.1) + MAX_CONNECTION_AGE_GRACE;
    match (&stack.collector, old) {
        (Collector::Managed(own), Route::Collector) => connections + collector::drain_time(own),
        _ => connections,
    }
}

fn is_ready(stack: &Stack, route: Route, state: &RouteState) -> bool {
    // The operator cannot observe an existing Collector or Jaeger, and assumes that it is ready.
    existing_address(stack, route).is_some()
        || match route {
            Route::Collector => state.collector_is_ready,
            Route::Direct => state.jaeger_is_ready,
        }
}

#[cfg(test)]
mod tests;
