//! The bound on the memory of the traces that wait.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use spoor_policy::Version;
use tokio_util::sync::CancellationToken;

use super::process::{ROOT, request, table};
use crate::{
    Forwarder, ForwarderSettings, OutOfMemory, ScanError, TailSettings, receiver::AcceptError,
};

#[tokio::test]
async fn request_is_refused_until_there_is_room() {
    let settings = ForwarderSettings {
        tail: TailSettings {
            decision_wait: Duration::from_secs(3600),
            max_trace_duration: Duration::from_secs(3600),
            max_bytes: 1 << 20,
            ..TailSettings::default()
        },
        ..ForwarderSettings::default()
    };
    let forwarder = Forwarder::start(settings, CancellationToken::new()).unwrap();
    let version = Version {
        epoch: 1,
        sequence: 1,
    };
    forwarder.set_tail(version, table(true, "0%"));
    // A request of another sender was refused, so requests do not cause early decisions.
    forwarder.shared.state.lock().sampler.record_refusal(0);
    let accept = |trace: u64| {
        let mut reservation = forwarder.receiver.memory().reservation();
        let request = request(&[(trace, ROOT)], 0);
        forwarder.receiver.accept(&request, &mut reservation)
    };
    let error = (1..).find_map(|trace| accept(trace).err()).unwrap();
    let expected = ScanError::OutOfMemory(OutOfMemory::TooManyWaiting);
    assert_eq!(error, AcceptError::Scan(expected));
    assert_eq!(forwarder.totals().traces_decided_early, 0);
    // The decision task makes room.
    let deadline = Instant::now() + Duration::from_secs(30);
    while accept(0).is_err() {
        assert!(Instant::now() < deadline, "{forwarder:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(forwarder.totals().traces_decided_early > 0);
}
