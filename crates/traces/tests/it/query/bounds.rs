//! Responses are bounded, and report what they omit.

use std::{collections::HashMap, time::Duration};

use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, span::Event};
use prost::Message;
use reqwest::StatusCode;
use rstest::rstest;
use spoor_proto::jaeger::{
    api_v2::query_service_client::QueryServiceClient,
    api_v3::{FindTraceSummariesRequest, FindTracesRequest, GetOperationsRequest, GetTraceRequest},
};
use spoor_traces::{
    Search, TraceStore,
    query::{MAX_RESPONSE_BYTES, MAX_TRACE_BYTES, Queries},
};
use tokio::task::JoinSet;
use tonic::{Code, Status, Streaming};

use super::grpc::{channel, client, window};
use crate::{
    serve::Server,
    spans::{batch, insert, span, text, trace_id},
};

const START: u64 = 1_700_000_000_000;
const V1: &str = "/api/traces?service=s&start=1700000000000000&end=1700003600000000&limit=1000";
const V3: &str = "/api/v3/traces?query.searchDepth=1000\
                  &query.startTimeMin=2023-11-14T22:13:20Z&query.startTimeMax=2023-11-14T23:13:20Z";
const ONE: &str = "5b8efff7980381030000000000000001";

/// Traces that share a resource of 60 KB, which is stored once and returned for each.
fn shared_resource(traces: u64) -> TraceStore {
    let store = TraceStore::new(64 << 20);
    let spans = (1..=traces).map(|id| span(id, id, 0, "work", START, START + 1));
    let mut all = batch("s", spans.collect());
    let big = text("big", &"x".repeat(60_000));
    all.resource.as_mut().unwrap().attributes.push(big);
    insert(&store, vec![all]);
    store
}

/// One trace that is too large to be shown, and a small one.
fn large_and_small() -> TraceStore {
    let store = TraceStore::new(64 << 20);
    let big = "x".repeat(MAX_TRACE_BYTES / 8);
    for id in 1..=9 {
        let mut one = span(1, id, 0, "big", START, START + 1);
        one.attributes = vec![text("blob", &big)];
        insert(&store, vec![batch("s", vec![one])]);
    }
    insert(
        &store,
        vec![batch("s", vec![span(2, 1, 0, "small", START, START + 1)])],
    );
    store
}

/// A trace in which each of 150 services with long names calls all of them.
fn many_pairs() -> TraceStore {
    const SERVICES: u64 = 150;
    let store = TraceStore::new(64 << 20);
    let at = |callee: u64, caller: u64| 1 + callee * (SERVICES + 1) + caller;
    let batches = (0..SERVICES).map(|callee| {
        // Its own root, then a span for each caller.
        let called = (0..SERVICES).map(|caller| (at(callee, caller + 1), at(caller, 0)));
        let spans = std::iter::once((at(callee, 0), 0)).chain(called);
        let spans = spans.map(|(id, parent)| span(1, id, parent, "work", START, START + 1));
        batch(&format!("{callee:01000}"), spans.collect())
    });
    insert(&store, batches.collect());
    store
}

/// A trace that is small until it is decoded.
fn small_until_decoded() -> TraceStore {
    let store = TraceStore::new(64 << 20);
    let mut one = span(1, 1, 0, "events", START, START + 1);
    one.events = vec![Event::default(); 1_000_000];
    insert(&store, vec![batch("s", vec![one])]);
    store
}

#[tokio::test]
async fn repeated_ids_are_returned_once() {
    let store = shared_resource(2);
    let ids = vec![("traceID", ONE); 500];
    let (status, response) = Server::start(&store).await.query("/api/traces", &ids).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(response["data"].as_array().unwrap().len(), 1);
}

#[rstest]
#[case::v1("/api/dependencies?endTs=1700000001000&lookback=3600000")]
#[case::v3("/api/v3/dependencies?startTime=2023-11-14T22:13:20Z&endTime=2023-11-14T23:13:20Z")]
#[tokio::test]
async fn long_lists_of_dependencies_are_refused(#[case] path: &str) {
    let server = Server::start(&many_pairs()).await;
    let (status, response) = server.query(path, &[]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{response}");
}

#[tokio::test]
async fn long_lists_of_operations_are_refused() {
    let store = TraceStore::new(256 << 20);
    for trace in 1..=64 {
        let ids = trace * 1_000..(trace + 1) * 1_000;
        let spans = ids.map(|id| span(trace, id, 0, &format!("{id:0512}"), START, START + 1));
        insert(&store, vec![batch("s", spans.collect())]);
    }
    let server = Server::start(&store).await;
    for path in [
        "/api/operations?service=s",
        "/api/services/s/operations",
        "/api/v3/operations?service=s",
    ] {
        let (status, _) = server.query(path, &[]).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
    }
    let request = GetOperationsRequest {
        service: "s".to_owned(),
        span_kind: String::new(),
    };
    let status = client(&store).await.get_operations(request).await;
    assert_eq!(status.unwrap_err().code(), Code::ResourceExhausted);
    // A page lists as many as it has room for.
    let listed = Queries::new(store).some_operations("s".to_owned()).await;
    assert!((500..64_000).contains(&listed.unwrap().len()));
}

#[tokio::test]
async fn unread_summaries_make_room() {
    let store = TraceStore::new(64 << 20);
    for id in 1..=2_000 {
        let name = "n".repeat(4_000);
        insert(
            &store,
            vec![batch("s", vec![span(id, id, 0, &name, START, START + 1)])],
        );
    }
    let mut client = client(&store).await;
    let mut query = window();
    query.search_depth = 10_000;
    let mut open = Vec::new();
    // Each holds 8 MB, and all together may hold 64 MiB.
    while open.len() < 10 {
        let query = Some(query.clone());
        match client
            .find_trace_summaries(FindTraceSummariesRequest { query })
            .await
        {
            Ok(stream) => open.push(stream.into_inner()),
            Err(refused) => wait_for_room(&refused).await,
        }
    }
    // The other streams would use up the flow-control window of the connection.
    let mut last = open.pop().unwrap();
    drop(open);
    let mut read = 0;
    while let Some(message) = last.message().await.unwrap() {
        read += message.summaries.len();
    }
    assert_eq!(read, 2_000);
}

/// Waits before the next attempt. Attempts are refused until a stream has stalled.
async fn wait_for_room(refused: &Status) {
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn too_many_tags_are_refused() {
    let store = TraceStore::new(1 << 20);
    let server = Server::start(&store).await;
    let tags: HashMap<_, _> = (0..65)
        .map(|tag| (tag.to_string(), String::new()))
        .collect();
    let object = serde_json::to_string(&tags).unwrap();
    for (path, name) in [(V1, "tags"), (V3, "query.attributes")] {
        let (status, response) = server.query(path, &[(name, &object)]).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        assert!(
            response.to_string().contains("at most 64 tags"),
            "{response}"
        );
    }
    let mut query = window();
    query.attributes = tags;
    let request = FindTracesRequest { query: Some(query) };
    let status = client(&store).await.find_traces(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "a search may have at most 64 tags");
}

#[tokio::test]
async fn too_many_ids_are_refused() {
    let ids: Vec<String> = (1..=1_001).map(|id| format!("{id:x}")).collect();
    let ids: Vec<_> = ids.iter().map(|id| ("traceID", id.as_str())).collect();
    let server = Server::start(&TraceStore::new(1 << 20)).await;
    let (status, response) = server.query("/api/traces", &ids).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let message = response["errors"][0]["msg"].as_str().unwrap();
    assert!(message.contains("at most 1000 traces"), "{message}");
}

#[rstest]
#[case::plain("")]
#[case::pretty("&prettyPrint=true")]
#[tokio::test]
async fn long_v1_response_is_truncated(#[case] pretty: &str) {
    let server = Server::start(&shared_resource(900)).await;
    let (status, body) = server.text(&format!("{V1}{pretty}")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.len() <= MAX_RESPONSE_BYTES);
    let response: serde_json::Value = serde_json::from_str(&body).unwrap();
    let returned = response["data"].as_array().unwrap().len();
    assert!((400..900).contains(&returned), "{returned}");
    let message = response["errors"][0]["msg"].as_str().unwrap();
    let expected = format!("only {returned} of 900 traces are returned");
    assert!(message.starts_with(&expected), "{message}");
}

#[tokio::test]
async fn long_v3_response_is_refused() {
    let server = Server::start(&shared_resource(900)).await;
    let (status, response) = server.query(V3, &[]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(response["error"]["httpCode"], 413);
    let message = response["error"]["message"].as_str().unwrap();
    assert!(message.contains("larger than 32 MiB"), "{message}");
}

#[tokio::test]
async fn a_long_grpc_stream_ends_with_a_status() {
    let mut query = window();
    query.search_depth = 1_000;
    let request = FindTracesRequest { query: Some(query) };
    let mut client = client(&shared_resource(900)).await;
    let mut stream = client.find_traces(request).await.unwrap().into_inner();
    let mut bytes = 0;
    let status: Status = loop {
        match stream.message().await {
            Ok(message) => bytes += message.expect("an error ends it").encoded_len(),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!((MAX_RESPONSE_BYTES / 2..=MAX_RESPONSE_BYTES).contains(&bytes));
}

/// In version 2 each span repeats its process. These attributes are not among its tags, but are
/// read for each span.
#[tokio::test]
async fn repeated_service_names_count_for_each_span() {
    let store = TraceStore::new(64 << 20);
    let spans = (1..=1_000).map(|id| span(1, id, 0, "work", START, START + 1));
    let mut all = batch("s", spans.collect());
    let names = vec![text("service.name", "s"); 2_500];
    all.resource.as_mut().unwrap().attributes.extend(names);
    insert(&store, vec![all]);
    let mut client = QueryServiceClient::new(channel(&store).await);
    let request = spoor_proto::jaeger::api_v2::GetTraceRequest {
        trace_id: trace_id(1),
        ..Default::default()
    };
    let mut stream = client.get_trace(request).await.unwrap().into_inner();
    let refused = stream.message().await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn many_traces_have_short_summaries() {
    let request = FindTraceSummariesRequest {
        query: Some(window()),
    };
    let mut client = client(&shared_resource(90)).await;
    let found = client.find_trace_summaries(request).await.unwrap();
    let message = found.into_inner().message().await.unwrap().unwrap();
    assert_eq!(message.summaries.len(), 90);
    assert!(message.encoded_len() < 90 * 200);
}

#[rstest]
#[case::bytes(large_and_small())]
#[case::decoded(small_until_decoded())]
#[tokio::test]
async fn too_large_trace_is_refused(#[case] store: TraceStore) {
    let server = Server::start(&store).await;
    for path in ["/api/traces/", "/api/v3/traces/"] {
        let (status, body) = server.text(&format!("{path}{ONE}")).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        assert!(body.contains("is too large"), "{path}: {body}");
    }
    let request = GetTraceRequest {
        trace_id: ONE.to_owned(),
        ..GetTraceRequest::default()
    };
    let refused = client(&store).await.get_trace(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn search_names_traces_that_are_too_large() {
    let store = large_and_small();
    let (_, response) = Server::start(&store).await.query(V1, &[]).await;
    assert_eq!(response["data"].as_array().unwrap().len(), 1);
    assert_eq!(response["errors"][0]["traceID"], ONE);
    let queries = Queries::new(store);
    let found = queries.find_each(Search::default(), |trace| trace.id);
    let found = found.await.unwrap();
    assert_eq!(found.too_large, [ONE.parse().unwrap()]);
    assert_eq!((found.traces.len(), found.stored), (1, 2));
}

#[tokio::test]
async fn unread_grpc_streams_make_room() {
    // Each response is longer than a stream's flow-control window and its waiting messages
    // together.
    let mut client = client(&shared_resource(100)).await;
    let mut open = Vec::new();
    while open.len() < 17 {
        let query = Some(window());
        match client.find_traces(FindTracesRequest { query }).await {
            Ok(stream) => open.push(stream.into_inner()),
            Err(refused) => wait_for_room(&refused).await,
        }
    }
    let ended = read(open).await;
    assert!(ended.contains(&Some(Code::Unavailable)), "{ended:?}");
    assert!(ended.contains(&None), "{ended:?}");
}

/// Reads streams to their ends, at the same time, since all share the flow-control window of the
/// connection.
async fn read<T: Send + 'static>(open: Vec<Streaming<T>>) -> Vec<Option<Code>> {
    let mut reading = JoinSet::new();
    for mut stream in open {
        reading.spawn(async move {
            loop {
                match stream.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return None,
                    Err(status) => return Some(status.code()),
                }
            }
        });
    }
    reading.join_all().await
}

/// All messages of a trace are built before the first is sent.
#[tokio::test]
async fn unread_traces_over_grpc_are_bounded() {
    let store = TraceStore::new(64 << 20);
    let spans = (1..=15).map(|id| {
        let mut one = span(1, id, 0, "big", START, START + 1);
        one.attributes = vec![text("blob", &"x".repeat(900_000))];
        one
    });
    insert(&store, vec![batch("s", spans.collect())]);
    let mut client = client(&store).await;
    let mut open = Vec::new();
    // Together they would take more than 100 MB.
    for _ in 0..8 {
        let request = GetTraceRequest {
            trace_id: ONE.to_owned(),
            ..GetTraceRequest::default()
        };
        match client.get_trace(request).await {
            Ok(stream) => open.push(stream.into_inner()),
            Err(refused) => wait_for_room(&refused).await,
        }
    }
    let ended = read(open).await;
    assert!(ended.contains(&Some(Code::Unavailable)), "{ended:?}");
    assert!(ended.contains(&None), "{ended:?}");
}

#[tokio::test]
async fn large_batch_is_split_into_messages() {
    let store = TraceStore::new(64 << 20);
    let spans = (1..=6).map(|id| {
        let mut one = span(1, id, 0, "big", START, START + 1);
        one.attributes = vec![text("blob", &"x".repeat(900_000))];
        one
    });
    insert(&store, vec![batch("s", spans.collect())]);
    let request = GetTraceRequest {
        trace_id: ONE.to_owned(),
        ..GetTraceRequest::default()
    };
    let stream = client(&store).await.get_trace(request).await.unwrap();
    let batches: Vec<ResourceSpans> = super::grpc::batches(stream.into_inner()).await;
    let spans = batches.iter().flat_map(|batch| &batch.scope_spans);
    assert_eq!(spans.map(|scope| scope.spans.len()).sum::<usize>(), 6);
}
