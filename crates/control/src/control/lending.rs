//! Lends the parts of rate limits that some processes leave unused to those that need more.

use std::{
    collections::BTreeMap,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use spoor_policy::{Assigned, Plan, Strategy, TracesPerSecond};

use super::Control;
use crate::{
    counts::PlanEntry,
    lending::{ShareDemand, divide, is_worth_sending, next_shares},
    record::Record,
    service::{Service, ServiceState},
};

/// The shortest time between two adjustments of one service's shares. Every message of every process
/// triggers one.
const MIN_ADJUST_INTERVAL: Duration = Duration::from_millis(200);

/// The shortest time between two adjustments as a multiple of the duration of one, during which all
/// messages of the service wait.
const MIN_ADJUST_INTERVAL_FACTOR: u32 = 20;

/// The most shares of one service that are adjusted: each process has one of each rate limit. An
/// adjustment takes about a microsecond for each. With more, the processes keep equal shares.
const MAX_SHARES: usize = 20_000;

impl Control {
    /// Adjusts the shares of a service's rate limits to the demand that its processes report.
    pub(crate) fn lend(&self, service: &Service) {
        let now = Instant::now();
        let mut state = service.state();
        let is_shared = state.served.as_ref().is_some_and(|it| it.sharers.is_some());
        if !is_shared || state.next_lending.is_some_and(|next| now < next) {
            return;
        }
        let has_changed = adjust(&mut state, || {
            self.0.next_share_number.fetch_add(1, Ordering::Relaxed)
        });
        // Set even if nothing has changed, since it is the computation that is limited.
        let interval = (now.elapsed() * MIN_ADJUST_INTERVAL_FACTOR).max(MIN_ADJUST_INTERVAL);
        state.next_lending = Some(Instant::now() + interval);
        drop(state);
        if has_changed {
            service.notify_shares();
        }
    }
}

/// Sets new goals and shares. Returns true if there are shares to send.
fn adjust(state: &mut ServiceState, next_number: impl Fn() -> u64) -> bool {
    let Some(served) = state.served.clone() else {
        return false;
    };
    let (Some(plan), Some(sharers)) = (state.history.plan(served.version), served.sharers) else {
        return false;
    };
    let limits = limits(plan);
    let processes = state.instances.values_mut().flat_map(|it| it.all_mut());
    let mut members: Vec<&mut Record> = processes.filter(|it| it.is_connected).collect();
    if members.len() * limits.len() > MAX_SHARES {
        return false;
    }
    // A plan ends all loans, but only when it arrives. Until every process has it, some may still
    // use more than their share.
    if !members.iter().all(|it| it.held == Some(served.version)) {
        return false;
    }
    let mut has_changed = false;
    for (operation, limit) in &limits {
        set_goals(&mut members, operation, limit.share(sharers));
        has_changed |= set_shares(&mut members, operation);
    }
    if has_changed {
        for member in members {
            member.loan.add_message(&next_number);
        }
    }
    has_changed
}

/// The rate limits that are in force.
fn limits(plan: &Plan) -> BTreeMap<PlanEntry, TracesPerSecond> {
    let Some(strategies) = plan.at(Timestamp::now()) else {
        return BTreeMap::new();
    };
    let default = strategies.default.iter().map(|assigned| (None, assigned));
    let operations = strategies.operations.iter();
    let operations = operations.map(|(name, assigned)| (Some(name.clone()), assigned));
    let limit = |(operation, assigned): (PlanEntry, &Assigned)| match assigned.strategy {
        Strategy::RateLimit(limit) => Some((operation, limit)),
        Strategy::Probability(_) => None,
    };
    default.chain(operations).filter_map(limit).collect()
}

/// Divides a limit again, if the improvement is worth the messages.
fn set_goals(members: &mut [&mut Record], operation: &PlanEntry, equal: f64) {
    let wants: Vec<ShareDemand> = members
        .iter()
        .map(|member| ShareDemand {
            goal: member.loan.goal(operation),
            ..member.demands.of(operation, equal)
        })
        .collect();
    let goals = divide(&wants);
    if is_worth_sending(&wants, &goals) {
        for (member, goal) in members.iter_mut().zip(goals) {
            member.loan.set_goal(operation, goal);
        }
    }
}

/// Moves shares towards their goals without lending any part twice. Returns true if any changed.
fn set_shares(members: &mut [&mut Record], operation: &PlanEntry) -> bool {
    let usable: Vec<f64> = members.iter().map(|it| it.loan.usable(operation)).collect();
    let goals: Vec<f64> = members.iter().map(|it| it.loan.goal(operation)).collect();
    let shares = next_shares(&usable, &goals);
    let mut has_changed = false;
    for (member, share) in members.iter_mut().zip(shares) {
        has_changed |= member.loan.set(operation, share);
    }
    has_changed
}
