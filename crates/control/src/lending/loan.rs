//! A process's shares of the rate limits of its plan.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use spoor_policy::Version;
use spoor_proto::spoor::control::v1 as proto;

use super::Operation;
use crate::served;

/// The most messages whose confirmation is awaited.
const MAX_PENDING: usize = 4;

/// Entries that are not there have the plan's share.
type Shares = BTreeMap<Operation, f64>;

/// The shares that a process may use, since the plan that it was last sent.
#[derive(Debug, Default)]
pub(crate) struct Loan {
    goals: Shares,
    /// The shares to send next.
    next: Shares,
    /// The shares that it confirmed.
    confirmed: Shares,
    /// The shares that it was sent since then, by number.
    pending: Vec<(u64, Shares)>,
    newest: Option<(u64, Bytes)>,
}

impl Loan {
    /// Notes what a process has in force by its own word.
    pub(crate) fn confirm(&mut self, number: u64) {
        if let Some(place) = self.pending.iter().position(|(sent, _)| *sent == number) {
            let (_, shares) = self.pending.remove(place);
            self.pending.drain(..place);
            self.confirmed = shares;
        }
    }

    /// The newest message, if its number is not this one.
    pub(crate) fn newest(&self, sent: Option<u64>) -> Option<(u64, Bytes)> {
        let newest = self.newest.as_ref();
        newest.filter(|(number, _)| Some(*number) != sent).cloned()
    }

    pub(super) fn goal(&self, operation: &Operation) -> f64 {
        share(&self.goals, operation)
    }

    pub(super) fn set_goal(&mut self, operation: &Operation, goal: f64) {
        self.goals.insert(operation.clone(), goal);
    }

    /// The most that it may use at this moment.
    pub(super) fn has(&self, operation: &Operation) -> f64 {
        let pending = self
            .pending
            .iter()
            .map(|(_, shares)| share(shares, operation));
        pending.fold(share(&self.confirmed, operation), f64::max)
    }

    /// Sets what it is to be sent; whether that differs from what it was.
    pub(super) fn set(&mut self, operation: &Operation, new: f64) -> bool {
        let is_full = self.pending.len() >= MAX_PENDING;
        if is_full || share(&self.next, operation) == new {
            return false;
        }
        self.next.insert(operation.clone(), new);
        true
    }

    /// Makes a message of what was set, unless it has been sent.
    pub(super) fn send(&mut self, version: Version, next_number: impl Fn() -> u64) {
        let last = self
            .pending
            .last()
            .map_or(&self.confirmed, |(_, last)| last);
        if *last == self.next {
            return;
        }
        let number = next_number();
        let shares = self.next.iter().map(|(operation, factor)| proto::Share {
            operation: operation
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            factor: *factor,
        });
        let message = proto::server_message::Message::Shares(proto::Shares {
            version: Some(served::to_proto(version)),
            number,
            shares: shares.collect(),
        });
        let message = proto::ServerMessage {
            message: Some(message),
        };
        self.newest = Some((number, message.encode_to_vec().into()));
        self.pending.push((number, self.next.clone()));
    }
}

fn share(shares: &Shares, operation: &Operation) -> f64 {
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
        loan.send(version(), || number);
    }

    #[test]
    fn a_share_is_had_until_a_smaller_one_is_confirmed() {
        let mut loan = Loan::default();
        sent(&mut loan, 7, 0.5);
        sent(&mut loan, 8, 0.2);
        assert_eq!(loan.has(&None), 1.0);
        loan.confirm(3);
        loan.confirm(7);
        assert_eq!(loan.has(&None), 0.5);
        loan.confirm(8);
        assert_eq!(loan.has(&None), 0.2);
        loan.confirm(7);
        assert_eq!(loan.has(&None), 0.2);
    }

    #[test]
    fn a_larger_share_is_had_as_soon_as_it_is_sent() {
        let mut loan = Loan::default();
        sent(&mut loan, 7, 3.0);
        assert_eq!(loan.has(&None), 3.0);
        sent(&mut loan, 8, 0.1);
        loan.confirm(8);
        assert_eq!(loan.has(&None), 0.1);
    }

    #[test]
    fn who_confirms_nothing_is_sent_no_more() {
        let mut loan = Loan::default();
        for number in 1..=4_u32 {
            sent(&mut loan, number.into(), 1.0 + f64::from(number));
        }
        assert!(!loan.set(&None, 9.0));
        assert_eq!(loan.newest(Some(4)), None);
        assert_eq!(loan.newest(Some(3)).unwrap().0, 4);
    }
}
