//! The state of lending: demands of processes, their shares, and the arithmetic between them.
//!
//! As in Doorman's algorithms (<https://github.com/youtube/doorman>), the share that a process
//! *gets* follows from what it *wants* and what it *has*. No part of a limit is given out while
//! another process may still use it: a share shrinks first, and another grows once the process has
//! confirmed that. A share is a multiple of the plan's equal one, so that changing it does not
//! require a new version of the plan.

mod demand;
mod divide;
mod loan;

pub(crate) use self::{
    demand::Demands,
    divide::{ShareDemand, divide, is_worth_sending, next_shares},
    loan::Loan,
};
