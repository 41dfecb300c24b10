#![allow(clippy::unwrap_used)]

use std::{sync::mpsc, time::Duration};

use axum::{Router, body::Body};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use prost_types::Timestamp;
use rstest::rstest;
use spoor_proto::jaeger::api_v3::TraceQueryParameters;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tower::ServiceExt;

use super::{
    MAX_CONCURRENT_BUILDS, MAX_CONCURRENT_SEARCHES, MAX_CONCURRENT_STREAMED_TRACES,
    MAX_CONCURRENT_STREAMS, MAX_UNSENT_BYTES, Queries, Reader, TraceQueryError,
};
use crate::{Search, TraceId, TraceStore, query, store::Limit};

fn queries() -> Queries {
    Queries::new(TraceStore::new(1 << 20))
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnect_cancels_the_work() {
    let (started, mut has_started) = tokio::sync::mpsc::channel(1);
    let (ended, has_ended) = mpsc::channel();
    let queries = queries();
    let work = queries.run(move |reader| {
        started.blocking_send(()).unwrap();
        while !reader.cancelled.is_cancelled() {
            std::thread::sleep(Duration::from_millis(1));
        }
        ended.send(()).unwrap();
    });
    tokio::select! {
        _ = work => panic!("the work ended without a cancellation"),
        _ = has_started.recv() => {}
    }
    // `select!` has dropped the future by now.
    let has_ended =
        tokio::task::spawn_blocking(move || has_ended.recv_timeout(Duration::from_secs(30)));
    assert_eq!(has_ended.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn searches_leave_turns_for_others() {
    let queries = queries();
    let searches = queries.searches();
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut turns = Vec::new();
    for _ in 0..MAX_CONCURRENT_SEARCHES {
        turns.push(searches.searches.next(deadline).await.unwrap());
    }
    let mut search = std::pin::pin!(searches.run(|_| "searched"));
    tokio::select! {
        biased;
        _ = &mut search => panic!("too many searches at the same time"),
        listed = queries.run(|_| "listed") => assert_eq!(listed, Ok("listed")),
    }
    drop(turns);
    assert_eq!(search.await, Ok("searched"));
}

#[tokio::test]
async fn streams_leave_turns_for_others() {
    let queries = queries();
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut turns = Vec::new();
    for _ in 0..MAX_CONCURRENT_STREAMED_TRACES {
        turns.push(queries.streamed.next(deadline).await.unwrap());
    }
    let streamed = queries.streamed();
    let mut next = std::pin::pin!(streamed.run(|_| "streamed"));
    tokio::select! {
        biased;
        _ = &mut next => panic!("too many traces at the same time"),
        listed = queries.run(|_| "listed") => assert_eq!(listed, Ok("listed")),
    }
    drop(turns);
    assert_eq!(next.await, Ok("streamed"));
}

#[tokio::test]
async fn stream_waits_for_a_slot() {
    let queries = queries();
    let mut open = Vec::new();
    for _ in 0..MAX_CONCURRENT_STREAMS {
        open.push(queries.reserve_stream().await.unwrap());
    }
    let mut next = std::pin::pin!(queries.reserve_stream());
    tokio::select! {
        biased;
        _ = &mut next => panic!("too many streams"),
        () = std::future::ready(()) => {}
    }
    open.pop();
    assert!(next.await.is_ok());
}

#[tokio::test]
async fn cancelled_listing_stops() {
    let reader = Reader {
        store: TraceStore::new(1 << 20),
        cancelled: CancellationToken::new(),
        deadline: Instant::now() + Duration::from_secs(3600),
    };
    let list = |_: &TraceStore, limit: Limit<'_>| Vec::from_iter((0..3).take_while(|_| limit(1)));
    assert_eq!(reader.names(list), Ok(vec![0, 1, 2]));
    reader.cancelled.cancel();
    assert_eq!(reader.names(list), Err(TraceQueryError::TooSlow));
}

/// Queries whose read time is over when they begin.
fn out_of_time() -> Queries {
    Queries {
        max_read_time: Duration::ZERO,
        ..queries()
    }
}

#[rstest]
#[case("/api/services")]
#[case("/api/services/s/operations")]
#[case("/api/operations?service=s")]
#[case("/api/traces?service=s")]
#[case("/api/traces?traceID=5b8efff7980381030000000000000001")]
#[case("/api/traces/5b8efff7980381030000000000000001")]
#[case("/api/dependencies")]
#[case("/api/v3/services")]
#[case("/api/v3/operations?service=s")]
#[case(
    "/api/v3/traces?query.startTimeMin=2023-11-14T22:13:20Z&query.startTimeMax=2023-11-14T23:13:20Z"
)]
#[case("/api/v3/traces/5b8efff7980381030000000000000001")]
#[case(
    "/api/v3/trace-summaries?query.startTimeMin=2023-11-14T22:13:20Z\
     &query.startTimeMax=2023-11-14T23:13:20Z"
)]
#[case("/api/v3/dependencies?startTime=2023-11-14T22:13:20Z&endTime=2023-11-14T23:13:20Z")]
#[tokio::test]
async fn slow_query_is_refused(#[case] path: &str) {
    let (status, body) = respond(query::http(&out_of_time()), path).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    assert!(body.contains("fewer tags"), "{body}");
    let in_time = get(queries(), path).await;
    assert_ne!(in_time, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn slow_query_over_grpc_is_refused() {
    let queries = out_of_time();
    let too_slow = TraceQueryError::TooSlow;
    assert_eq!(queries.services().await, Err(too_slow.clone()));
    let operations = queries.operations("s".to_owned(), String::new());
    assert_eq!(operations.await, Err(too_slow.clone()));
    assert_eq!(queries.calls(0, u64::MAX).await, Err(too_slow));
    let time = |seconds| Some(Timestamp { seconds, nanos: 0 });
    let found = queries.find(Some(TraceQueryParameters {
        start_time_min: time(1),
        start_time_max: time(2),
        ..TraceQueryParameters::default()
    }));
    let status = found.await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let one = TraceId::from_bytes([1; 16]);
    let status = queries.check_stored(one).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn slow_query_of_a_page_is_refused() {
    let queries = out_of_time();
    let found = queries.find_each(Search::default(), |trace| trace.id);
    assert_eq!(found.await.unwrap_err(), TraceQueryError::TooSlow);
    let one = TraceId::from_bytes([1; 16]);
    let trace = queries.decoded_trace(one).await;
    assert_eq!(trace, Err(TraceQueryError::TooSlow));
}

async fn respond(router: Router, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

async fn get(queries: Queries, path: &str) -> StatusCode {
    respond(query::http(&queries), path).await.0
}

#[tokio::test]
async fn dependencies_leave_turns_for_searches() {
    const DEPENDENCIES: [&str; 2] = [
        "/api/dependencies",
        "/api/v3/dependencies?startTime=2023-11-14T22:13:20Z&endTime=2023-11-14T23:13:20Z",
    ];
    let queries = queries();
    let now = Instant::now();
    // One aggregate runs, and one turn is left.
    let running = queries.aggregates.next(now).await.unwrap();
    let mut taken = Vec::new();
    for _ in 1..MAX_CONCURRENT_BUILDS {
        taken.push(queries.builds.next(now).await.unwrap());
    }
    let mut waiting = JoinSet::new();
    for path in DEPENDENCIES {
        waiting.spawn(get(queries.clone(), path));
    }
    let calls = queries.clone();
    waiting.spawn(async move {
        let calls = calls.calls(0, u64::MAX).await;
        assert_eq!(calls, Ok(Vec::new()));
        StatusCode::OK
    });
    // On the one thread of this test, each request waits for a turn after this.
    tokio::task::yield_now().await;
    let found = get(queries.clone(), "/api/traces?service=s").await;
    assert_eq!(found, StatusCode::OK);
    assert_eq!(waiting.try_join_next().map(Result::unwrap), None);
    drop((running, taken));
    assert_eq!(waiting.join_all().await, [StatusCode::OK; 3]);
}

#[tokio::test]
async fn unsent_bodies_are_bounded() {
    let queries = queries();
    let half = queries.reserve_unsent(MAX_UNSENT_BYTES / 2).unwrap();
    let other = queries.reserve_unsent(MAX_UNSENT_BYTES / 2).unwrap();
    assert_eq!(
        queries.reserve_unsent(1).map(drop),
        Err(TraceQueryError::Busy)
    );
    drop((half, other));
    assert_eq!(queries.reserve_unsent(1).map(drop), Ok(()));
}
