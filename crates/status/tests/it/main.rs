//! Statuses of policies as people write them, against a control plane in the process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod status;
