//! Forwarders that are killed and started again.

pub(super) mod process;
mod property;
mod restart;
mod shutdown;
