//! The longest times of the steps of a shutdown, in their order.
//!
//! Kubernetes allows 60 s for all of them, `GRACE_SECONDS` in `operator/src/stacks/sampler.rs`. What
//! they leave is for the disk, and for the end of the program, which waits for blocking work for a
//! second.

use std::time::Duration;

/// The time that requests in flight have to finish once a port closes. They end when their spans are
/// accepted.
pub(crate) const REQUEST_GRACE: Duration = Duration::from_secs(5);
/// The time for the last spans to reach their peers, and for those in progress to be sent before the
/// files are given to a peer.
pub(crate) const FORWARD_GRACE: Duration = Duration::from_secs(5);
/// The time for depositing files with peers. No single deposit may take longer.
pub(crate) const DEPOSIT_GRACE: Duration = Duration::from_secs(20);
/// The time to undo a deposit that has no response.
pub(crate) const UNDO_GRACE: Duration = Duration::from_secs(2);
/// The time to send the last spans. The files of other samplers that no peer takes are read in the
/// same time.
pub(crate) const SEND_GRACE: Duration = Duration::from_secs(15);
/// The time that scrapes in progress have.
pub(crate) const OPS_GRACE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use spoor_telemetry::control_stream::Intervals;

    use super::*;

    #[test]
    fn all_steps_fit_in_the_grace_period() {
        let steps = [
            REQUEST_GRACE,
            FORWARD_GRACE,
            DEPOSIT_GRACE,
            UNDO_GRACE,
            SEND_GRACE,
            Intervals::default().shutdown_notice,
            OPS_GRACE,
        ];
        // The comment on `GRACE_SECONDS` has this sum, and the second for the program.
        let sum: Duration = steps.iter().sum();
        assert_eq!(sum, Duration::from_secs(49));
    }
}
