//! Tests of the status of policies from YAML, with a control plane in the same process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod status;
