//! A process's shares of the rate limits of its plan.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use spoor_policy::Version;
use spoor_proto::spoor::control::v1 as proto;

use crate::{counts::PlanEntry, served_plan};

/// The most messages that await confirmation. A process that confirms none receives no more.
const MAX_PENDING_MESSAGES: usize = 4;

/// Shares by plan entry, as multiples of the equal share in the plan. Missing entries are 1.
type Shares = BTreeMap<PlanEntry, f64>;

/// The shares of one process since its last plan.
///
/// Until a process confirms a message, it may use the shares of any message not yet confirmed, or
/// the ones confirmed last. The largest of these counts as used.
#[derive(Debug, Default)]
pub(crate) struct Loan {
    goals: Shares,
    /// The shares to send next. In an `Arc`, as in the other fields, which usually have the same
    /// shares: there may be hundreds of entries for each of thousands of processes.
    next: Arc<Shares>,
    confirmed: Arc<Shares>,
    /// The shares sent since then, by message number.
    pending: Vec<(u64, Arc<Shares>)>,
}

impl Loan {
    /// Records the message that the process reports to be in force.
    pub(crate) fn confirm(&mut self, number: u64) {
        if let Some(index) = self.pending.iter().position(|(sent, _)| *sent == number) {
            let (_, shares) = self.pending.remove(index);
            // Messages arrive in order, so this one has replaced those before it.
            self.pending.drain(..index);
            self.confirmed = shares;
        }
    }

    /// The newest message with its number, unless that is `sent` or confirmed. It is encoded only
    /// when it is sent, since it may be large.
    pub(crate) fn newest(&self, version: Version, sent: Option<u64>) -> Option<(u64, Bytes)> {
        let newest = self.pending.last();
        let (number, shares) = newest.filter(|(number, _)| Some(*number) != sent)?;
        let shares = shares.iter().map(|(operation, factor)| proto::Share {
            operation: served_plan::operation_to_proto(operation.as_ref()),
            factor: *factor,
        });
        let message = served_plan::encode(proto::server_message::Message::Shares(proto::Shares {
            version: Some(served_plan::version_to_proto(version)),
            number: *number,
            shares: shares.collect(),
        }));
        Some((*number, message))
    }

    pub(crate) fn goal(&self, operation: &PlanEntry) -> f64 {
        share(&self.goals, operation)
    }

    pub(crate) fn set_goal(&mut self, operation: &PlanEntry, goal: f64) {
        self.goals.insert(operation.clone(), goal);
    }

    /// The largest share that the process may be using now.
    pub(crate) fn usable(&self, operation: &PlanEntry) -> f64 {
        let pending = self.pending.iter();
        let pending = pending.map(|(_, shares)| share(shares, operation));
        pending.fold(share(&self.confirmed, operation), f64::max)
    }

    /// Sets the share to send next. Returns true if that is a change.
    pub(crate) fn set(&mut self, operation: &PlanEntry, new: f64) -> bool {
        // Otherwise the list would grow without limit for a client that never confirms.
        let is_full = self.pending.len() >= MAX_PENDING_MESSAGES;
        if is_full || share(&self.next, operation) == new {
            return false;
        }
        Arc::make_mut(&mut self.next).insert(operation.clone(), new);
        true
    }

    /// Adds a message with the shares to send next, unless the last message has the same ones.
    pub(crate) fn add_message(&mut self, next_number: impl Fn() -> u64) {
        let last = self.pending.last();
        let last = last.map_or(&self.confirmed, |(_, last)| last);
        if *last != self.next {
            self.pending.push((next_number(), Arc::clone(&self.next)));
        }
    }
}

fn share(shares: &Shares, operation: &PlanEntry) -> f64 {
    shares.get(operation).copied().unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn version() -> Version {
        Version {
            epoch: 1,
            sequence: 1,
        }
    }

    fn sent(loan: &mut Loan, number: u64, share: f64) {
        assert!(loan.set(&None, share));
        loan.add_message(|| number);
    }

    #[test]
    fn share_counts_until_smaller_one_is_confirmed() {
        let mut loan = Loan::default();
        sent(&mut loan, 7, 0.5);
        sent(&mut loan, 8, 0.2);
        assert_eq!(loan.usable(&None), 1.0);
        loan.confirm(3);
        loan.confirm(7);
        assert_eq!(loan.usable(&None), 0.5);
        loan.confirm(8);
        assert_eq!(loan.usable(&None), 0.2);
        loan.confirm(7);
        assert_eq!(loan.usable(&None), 0.2);
    }

    #[test]
    fn larger_share_counts_once_sent() {
        let mut loan = Loan::default();
        sent(&mut loan, 7, 3.0);
        assert_eq!(loan.usable(&None), 3.0);
        sent(&mut loan, 8, 0.1);
        loan.confirm(8);
        assert_eq!(loan.usable(&None), 0.1);
    }

    #[test]
    fn unconfirmed_messages_are_bounded() {
        let mut loan = Loan::default();
        for number in 1..=4_u32 {
            sent(&mut loan, number.into(), 1.0 + f64::from(number));
        }
        assert!(!loan.set(&None, 9.0));
        assert_eq!(loan.newest(version(), Some(4)), None);
        assert_eq!(loan.newest(version(), Some(3)).unwrap().0, 4);
        loan.confirm(4);
        assert_eq!(loan.newest(version(), Some(3)), None);
    }
}
