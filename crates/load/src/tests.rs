//! Load on a server with a known latency.
#![allow(clippy::unwrap_used)]

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

use super::{
    DriveError, Load, LoadOperation, draw_picture, drive,
    schedule::{LoadPhase, Schedule},
    summary::{LoadSummary, Punctuality},
};

const STALL: Duration = Duration::from_millis(500);
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const CREATED: &str = "HTTP/1.1 201 Created\r\nlocation: /things/7\r\ncontent-length: 0\r\n\r\n";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";

/// Responds to all requests, to the first after a stall.
async fn server(response: &'static str, stall: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicU64::new(0));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, response, stall, Arc::clone(&requests)));
        }
    });
    format!("http://{address}")
}

async fn serve(
    mut stream: TcpStream,
    response: &'static str,
    stall: Duration,
    requests: Arc<AtomicU64>,
) {
    let mut request = vec![];
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        request.extend_from_slice(buffer.get(..read).unwrap());
        if !request.ends_with(b"\r\n\r\n") {
            continue;
        }
        if requests.fetch_add(1, Ordering::Relaxed) == 0 {
            tokio::time::sleep(stall).await;
        }
        let is_post = request.starts_with(b"POST");
        request.clear();
        let response = if response == CREATED && !is_post {
            OK
        } else {
            response
        };
        if stream.write_all(response.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn load(url: &str, schedule: Option<Schedule>, requests: Option<u64>) -> Load {
    Load {
        operations: vec![LoadOperation::get("GET /", url.parse().unwrap(), "/")],
        schedule,
        requests,
        duration: None,
        connections: NonZeroUsize::MIN,
        timeout: Duration::from_secs(5),
    }
}

fn open(rate: f64, lasts: Duration) -> Option<Schedule> {
    Some(Schedule(vec![LoadPhase::even("even", lasts, rate)]))
}

async fn sent(load: &Load) -> LoadSummary {
    drive(load, |_| {}, CancellationToken::new()).await.unwrap()
}

#[tokio::test]
async fn stall_counts_for_every_request_due() {
    let url = server(OK, STALL).await;
    let summary = sent(&load(&url, open(100.0, Duration::from_secs(1)), None)).await;
    assert_eq!((summary.all.requests, summary.all.failed), (100, 0));
    assert!(summary.corrected);
    // Half of them were due in the stall, and waited half of it on average.
    let slow = summary.all.latency_milliseconds["p90"];
    assert!(slow > STALL.as_secs_f64() * 1e3 / 2.0, "{summary:?}");
}

#[tokio::test]
async fn closed_loop_counts_a_stall_once() {
    let url = server(OK, STALL).await;
    let summary = sent(&load(&url, None, Some(100))).await;
    assert_eq!((summary.all.requests, summary.corrected), (100, false));
    let latency = &summary.all.latency_milliseconds;
    assert!(latency["max"] > STALL.as_secs_f64() * 1e3, "{latency:?}");
    assert!(
        latency["p90"] < STALL.as_secs_f64() * 1e3 / 2.0,
        "{latency:?}"
    );
}

#[tokio::test]
async fn each_phase_and_operation_has_its_own_figures() {
    let url = server(CREATED, Duration::ZERO).await;
    let half_second = Duration::from_millis(500);
    let phases = vec![
        LoadPhase::even("calm", half_second, 20.0),
        LoadPhase::even("spike", half_second, 80.0),
    ];
    let load = Load {
        operations: with_follow_up(&url),
        ..load(&url, Some(Schedule(phases)), None)
    };
    let summary = sent(&load).await;
    let phases: Vec<_> = summary
        .phases
        .iter()
        .map(|it| (it.phase.as_str(), it.row.requests))
        .collect();
    assert_eq!(phases, [("calm", 10), ("spike", 40)]);
    // A DELETE takes the turn after its POST.
    assert_eq!(
        requests_by_operation(&summary),
        [("DELETE /{id}", 17), ("GET /", 16), ("POST /", 17)]
    );
    let due: u64 = summary.timeline.points.iter().map(|it| it.requests).sum();
    assert_eq!(due, 50);
}

#[rstest::rstest]
#[case::follow_up_fits(Duration::ZERO, 2, [1, 0, 1])]
#[case::no_turn_for_a_follow_up(Duration::ZERO, 4, [1, 2, 1])]
#[case::response_after_the_last_turn(STALL, 2, [1, 1, 1])]
#[tokio::test]
async fn created_resources_are_followed_up(
    #[case] stall: Duration,
    #[case] requests: u64,
    #[case] expected: [u64; 3],
) {
    let url = server(CREATED, stall).await;
    let slow = !stall.is_zero();
    let load = Load {
        operations: with_follow_up(&url),
        connections: NonZeroUsize::MIN.saturating_add(slow.into()),
        ..load(&url, None, Some(requests))
    };
    let summary = sent(&load).await;
    let names = ["DELETE /{id}", "GET /", "POST /"];
    let expected: Vec<_> = names.into_iter().zip(expected).collect();
    assert_eq!(requests_by_operation(&summary), expected);
}

#[tokio::test]
async fn follow_ups_wait_for_a_turn() {
    let url = server(CREATED, Duration::ZERO).await;
    // Most connections have no turn left when the first response arrives.
    let load = Load {
        operations: with_follow_up(&url),
        connections: NonZeroUsize::MIN.saturating_add(63),
        ..load(&url, open(40.0, Duration::from_millis(500)), None)
    };
    let summary = sent(&load).await;
    assert_eq!(summary.all.requests, 20);
    assert_eq!(
        requests_by_operation(&summary),
        [("DELETE /{id}", 7), ("GET /", 6), ("POST /", 7)]
    );
}

/// A `POST` with a `DELETE` of the resource that it created, and a `GET`.
fn with_follow_up(url: &str) -> Vec<LoadOperation> {
    let post = LoadOperation {
        method: http::Method::POST,
        ..LoadOperation::get("POST /", url.parse().unwrap(), "/")
    };
    let delete = post.followed_by("DELETE /{id}", http::Method::DELETE, "");
    vec![
        delete,
        LoadOperation::get("GET /", url.parse().unwrap(), "/"),
    ]
}

fn requests_by_operation(summary: &LoadSummary) -> Vec<(&str, u64)> {
    let operations = summary.operations.iter();
    operations
        .map(|it| (it.operation.as_str(), it.row.requests))
        .collect()
}

#[tokio::test]
async fn failures_are_counted_by_kind() {
    let url = server(BUSY, STALL).await;
    let short_timeout = Load {
        timeout: STALL / 4,
        ..load(&url, None, Some(10))
    };
    let row = sent(&short_timeout).await.all;
    let kinds: Vec<_> = row
        .failures
        .iter()
        .map(|(kind, n)| (kind.as_str(), *n))
        .collect();
    assert_eq!(kinds, [("503", 9), ("timed out", 1)]);
    assert_eq!(row.failed, 10);
}

#[tokio::test]
async fn unsent_requests_are_reported() {
    let url = server(OK, STALL).await;
    let lasts = STALL / 2;
    let late = Load {
        duration: Some(lasts),
        ..load(&url, open(100.0, lasts), None)
    };
    let summary = sent(&late).await;
    assert_eq!((summary.all.requests, summary.punctuality.unsent), (1, 24));
    assert!(!summary.punctuality.is_rate_reached(summary.all.requests));
}

#[rstest::rstest]
#[case(0, 0, 100, true)]
#[case(0, 5, 100, true)]
#[case(0, 6, 100, false)]
#[case(5, 0, 95, true)]
#[case(6, 0, 94, false)]
#[case(1, 0, 0, false)]
fn rate_may_fall_short_by_a_twentieth(
    #[case] unsent: u64,
    #[case] late: u64,
    #[case] requests: u64,
    #[case] reached: bool,
) {
    assert_eq!(
        Punctuality { unsent, late }.is_rate_reached(requests),
        reached
    );
}

/// The one connection is busy at first, so that most requests are sent, but late.
#[tokio::test]
async fn late_requests_miss_the_rate() {
    let url = server(OK, STALL).await;
    let summary = sent(&load(&url, open(40.0, STALL), None)).await;
    assert_eq!(summary.punctuality.unsent, 0);
    assert!(summary.punctuality.late > 10, "{:?}", summary.punctuality);
    assert!(!summary.punctuality.is_rate_reached(summary.all.requests));
}

#[tokio::test]
async fn unreachable_address_fails_before_sending() {
    let unreachable = load("http://127.0.0.1:9", None, Some(1));
    let error = drive(&unreachable, |_| {}, CancellationToken::new()).await;
    assert!(
        matches!(error, Err(DriveError::Connect { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn picture_has_a_title_and_axes() {
    let url = server(OK, STALL).await;
    let summary = sent(&load(&url, open(50.0, Duration::from_secs(3)), None)).await;
    let svg = draw_picture("spoor load <steady>", &summary).unwrap();
    for text in [
        "spoor load &lt;steady&gt;",
        "latency (milliseconds)",
        "requests per second",
    ] {
        assert!(svg.contains(text), "{text} in {svg}");
    }
}
