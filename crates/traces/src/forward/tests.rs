//! Forwarders that are full, killed and started again.

mod custody;
mod handover;
mod limits;
mod memory;
mod peers;
mod postpone;
pub(super) mod process;
mod property;
mod restart;
mod shutdown;
mod slow_disk;
