//! Idle connections, more than the lab has file descriptors for.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::listeners;
use crate::lab::Lab;

/// The longest time for a response, which takes a few milliseconds on an idle machine.
const MAX_RESPONSE_TIME: Duration = Duration::from_secs(5);
/// The descriptors that the lab may open in addition to those already open.
const SPARE_DESCRIPTORS: u64 = 60;
const IDLE_CONNECTIONS: usize = 200;
pub const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_leave_room_for_others() {
    let lab = Lab::start_with(&["--services", "service-b"]).await;
    let open = std::fs::read_dir(format!("/proc/{}/fd", lab.pid())).unwrap();
    let max = Some(open.count() as u64 + SPARE_DESCRIPTORS);
    let limit = Rlimit {
        current: max,
        maximum: max,
    };
    let pid = Pid::from_raw(lab.pid().cast_signed());
    prlimit(pid, Resource::Nofile, limit).unwrap();
    let mut idle = Vec::new();
    for _ in 0..IDLE_CONNECTIONS {
        let to = listeners::address(lab.url("otlp-grpc"));
        let mut connection = TcpStream::connect(to).await.unwrap();
        // The lab may have closed it by now.
        let _ = connection.write_all(H2_PREFACE).await;
        idle.push(connection);
    }
    for name in ["otlp-grpc", "otlp-http", "sampling-grpc", "traces", "admin"] {
        let started = Instant::now();
        reqwest::get(lab.url(name)).await.unwrap();
        let took = started.elapsed();
        assert!(took < MAX_RESPONSE_TIME, "{name} took {took:?}");
    }
}
