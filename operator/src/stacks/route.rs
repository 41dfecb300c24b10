//! Turns the entrance from the Collector to Jaeger and back, so that no span is lost: the new way
//! is ready before traffic is sent there, and the old one stays until the last connection to it
//! has ended and what came over it has been handed on.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use spoor_api::stack::{Collector, Route, Stack};

use super::{
    build::entrance::{Leads, existing},
    collector::{self, MAX_CONNECTION_AGE, MAX_CONNECTION_AGE_GRACE},
};

/// Until every node's proxy knows that a Service leads elsewhere.
const SERVICE_LAG: Duration = Duration::from_secs(3);

/// What there is now.
#[derive(Clone, Copy, Debug)]
pub struct Observed {
    /// Where the entrance leads; none: there is no entrance yet.
    pub leads: Option<Leads>,
    /// Whether Jaeger takes spans.
    pub jaeger_is_ready: bool,
    /// Whether the Collector takes spans.
    pub collector_is_ready: bool,
    /// Whether there is any of the Collector.
    pub collector_exists: bool,
}

/// What there should be now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Where the entrance is to lead.
    pub leads: Leads,
    /// What becomes of the Collector.
    pub collector: Fate,
    /// How far traffic is.
    pub traffic: Traffic,
}

/// What becomes of the Collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is needed.
    Run,
    /// It stays as it is until traffic has left it.
    Stay,
    /// It goes.
    Go,
}

/// How far traffic is on its way to where it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// It is there.
    Settled,
    /// It stays where it is until the other way is ready.
    Waiting,
    /// It is moving, until all that went the old way is through.
    Moving {
        /// How long that is from now.
        left: Duration,
    },
    /// It has moved, and the old way stays since it can't hand on what it may still hold.
    Held,
}

impl Progress {
    /// The way that traffic takes: the new one once all of it does.
    #[must_use]
    pub fn route(&self) -> Route {
        match self.traffic {
            Traffic::Moving { .. } => other(self.leads.to),
            Traffic::Settled | Traffic::Waiting | Traffic::Held => self.leads.to,
        }
    }
}

/// What is to be done now.
#[must_use]
pub fn next(stack: &Stack, observed: &Observed, now: Timestamp) -> Progress {
    let leads = entrance(stack, observed, now);
    let traffic = traffic(stack, leads, observed, now);
    let collector = match (stack.route, leads.to, traffic) {
        (Route::Collector, ..) => Fate::Run,
        (Route::Direct, Route::Direct, Traffic::Settled) => Fate::Go,
        (Route::Direct, ..) => Fate::Stay,
    };
    Progress {
        leads,
        collector,
        traffic,
    }
}

fn entrance(stack: &Stack, observed: &Observed, now: Timestamp) -> Leads {
    match observed.leads {
        Some(leads) if leads.to == stack.route => leads,
        Some(leads) if !is_ready(stack, stack.route, observed) => leads,
        Some(_) => Leads {
            to: stack.route,
            since: Some(in_whole_seconds(now)),
        },
        // Nobody has an address yet: services wait for the one that there will be.
        None => Leads {
            to: stack.route,
            since: None,
        },
    }
}

fn traffic(stack: &Stack, leads: Leads, observed: &Observed, now: Timestamp) -> Traffic {
    if leads.to != stack.route {
        return Traffic::Waiting;
    }
    let Some(since) = leads.since else {
        return Traffic::Settled;
    };
    let end = SignedDuration::try_from(leaving(stack, other(leads.to)))
        .ok()
        .and_then(|leaving| since.checked_add(leaving).ok());
    let left = end.map_or(SignedDuration::ZERO, |end| end.duration_since(now));
    if left.is_positive() {
        return Traffic::Moving {
            left: left.unsigned_abs(),
        };
    }
    let holds_on = leads.to == Route::Direct && observed.collector_exists;
    if holds_on && !observed.jaeger_is_ready {
        Traffic::Held
    } else {
        Traffic::Settled
    }
}

/// How long it takes until nothing goes the old way any more.
fn leaving(stack: &Stack, old: Route) -> Duration {
    // Connections end at their age give or take a tenth.
    let connections = SERVICE_LAG + MAX_CONNECTION_AGE.mul_f64(1.1) + MAX_CONNECTION_AGE_GRACE;
    match (&stack.collector, old) {
        (Collector::Managed(managed), Route::Collector) => connections + collector::drain(managed),
        _ => connections,
    }
}

fn is_ready(stack: &Stack, route: Route, observed: &Observed) -> bool {
    // What somebody else runs is taken to be there.
    existing(stack, route).is_some()
        || match route {
            Route::Collector => observed.collector_is_ready,
            Route::Direct => observed.jaeger_is_ready,
        }
}

/// The other way.
#[must_use]
pub fn other(route: Route) -> Route {
    match route {
        Route::Collector => Route::Direct,
        Route::Direct => Route::Collector,
    }
}

fn in_whole_seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

#[cfg(test)]
mod tests;
