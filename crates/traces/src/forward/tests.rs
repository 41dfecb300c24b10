//! Forwarders that are full, killed and started again.

mod limits;
mod memory;
pub(super) mod process;
mod property;
mod restart;
mod shutdown;
mod slow_disk;
