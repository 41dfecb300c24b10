//! Lends what some processes of a service leave of its rate limit to those that need more.
//!
//! As in Doorman's algorithms (<https://github.com/youtube/doorman>), what each process *wants* and
//! *has* says what it *gets*, and nothing is given out that another one may still use: a share
//! shrinks first, and grows elsewhere once its process has confirmed that. A share is a multiple
//! of the equal one, which the plan has, so that it is no new version of the plan.

mod demand;
mod divide;
mod loan;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use spoor_policy::{OperationName, Plan, Strategies, Strategy, TracesPerSecond};

pub(crate) use self::{demand::Demands, loan::Loan};
use crate::{
    Control,
    record::Record,
    service::{Service, State},
};

/// The least time between two looks at the shares of one service.
const MIN_INTERVAL: Duration = Duration::from_millis(200);

/// An entry of a plan: an operation, or all that it does not name.
type Operation = Option<OperationName>;

impl Control {
    /// Adjusts the shares of a service's rate limits to what its processes report, if it has any
    /// and they may have changed.
    pub(crate) fn lend(&self, service: &Service) {
        let now = Instant::now();
        let mut state = service.state();
        let is_shared = state.served.as_ref().is_some_and(|it| it.shares.is_some());
        let is_recent = |last| now.saturating_duration_since(last) < MIN_INTERVAL;
        if !is_shared || state.lent.is_some_and(is_recent) {
            return;
        }
        state.lent = Some(now);
        let has_changed = adjust(&mut state, || self.next_share_number());
        drop(state);
        if has_changed {
            service.outgoing.send_modify(|outgoing| {
                outgoing.shares = outgoing.shares.wrapping_add(1);
            });
        }
    }
}

/// Divides and hands out shares; true if there are new ones to send.
fn adjust(state: &mut State, next_number: impl Fn() -> u64) -> bool {
    let Some(served) = state.served.clone() else {
        return false;
    };
    let (Some(plan), Some(sharers)) = (state.history.plan(served.version), served.shares) else {
        return false;
    };
    let limits = limits(plan);
    let processes = state.instances.values_mut().flat_map(|it| it.all_mut());
    let mut members: Vec<&mut Record> = processes.filter(|it| it.is_connected).collect();
    // While the plan is on its way, what the processes have is not known.
    if !members.iter().all(|it| it.held == Some(served.version)) {
        return false;
    }
    for (operation, limit) in &limits {
        divide_anew(&mut members, operation, limit.share(sharers));
    }
    let mut has_changed = false;
    for operation in limits.keys() {
        has_changed |= hand_out(&mut members, operation);
    }
    if has_changed {
        for member in members {
            member.loan.send(served.version, &next_number);
        }
    }
    has_changed
}

/// The rate limits that are in force.
fn limits(plan: &Plan) -> BTreeMap<Operation, TracesPerSecond> {
    let Some(strategies) = plan.at(Timestamp::now()) else {
        return BTreeMap::new();
    };
    let Strategies {
        default,
        operations,
    } = strategies;
    let default = default.iter().map(|assigned| (None, assigned));
    let operations = operations.iter();
    let operations = operations.map(|(name, assigned)| (Some(name.clone()), assigned));
    let limit =
        |(operation, assigned): (Operation, &spoor_policy::Assigned)| match assigned.strategy {
            Strategy::RateLimit(limit) => Some((operation, limit)),
            Strategy::Probability(_) => None,
        };
    default.chain(operations).filter_map(limit).collect()
}

/// Sets new goals if they are worth the change.
fn divide_anew(members: &mut [&mut Record], operation: &Operation, equal: f64) {
    let wants: Vec<divide::Want> = members
        .iter()
        .map(|member| divide::Want {
            goal: member.loan.goal(operation),
            ..member.demands.of(operation, equal)
        })
        .collect();
    let goals = divide::divide(&wants);
    if divide::is_worth_it(&wants, &goals) {
        for (member, goal) in members.iter_mut().zip(goals) {
            member.loan.set_goal(operation, goal);
        }
    }
}

/// Brings shares nearer to their goals, as far as nothing is lent twice; whether any changed.
fn hand_out(members: &mut [&mut Record], operation: &Operation) -> bool {
    let has: Vec<f64> = members.iter().map(|it| it.loan.has(operation)).collect();
    let goals: Vec<f64> = members.iter().map(|it| it.loan.goal(operation)).collect();
    let gets = divide::hand_out(&has, &goals);
    let mut has_changed = false;
    for (member, share) in members.iter_mut().zip(gets) {
        has_changed |= member.loan.set(operation, share);
    }
    has_changed
}
