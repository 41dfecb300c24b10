use opentelemetry_proto::tonic::common::v1::KeyValue;
use spoor_proto::jaeger::api_v2::{
    ArchiveTraceRequest, FindTracesRequest, GetDependenciesRequest, GetOperationsRequest,
    GetServicesRequest, GetTraceRequest, Span, SpanRefType, SpansResponseChunk,
    TraceQueryParameters, ValueType, query_service_client::QueryServiceClient,
};
use spoor_testing::infrastructure::{assert_healthy, assert_listed};
use spoor_traces::TraceStore;
use tonic::{Code, Streaming, transport::Channel};

use super::grpc::{channel, serve};
use crate::spans::{a_to_b, batch, insert, span, text, trace_id};

const START: u64 = 1_700_000_000_000;

async fn client(store: &TraceStore) -> QueryServiceClient<Channel> {
    QueryServiceClient::new(channel(store).await)
}

async fn spans(mut stream: Streaming<SpansResponseChunk>) -> Vec<Span> {
    let mut spans = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        spans.extend(message.spans);
    }
    spans
}

/// Kiali's requests.
fn search(service: &str) -> FindTracesRequest {
    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    FindTracesRequest {
        query: Some(TraceQueryParameters {
            service_name: service.to_owned(),
            start_time_min: at(1_700_000_000),
            start_time_max: at(1_700_000_600),
            duration_min: Some(prost_types::Duration::default()),
            search_depth: 10,
            ..TraceQueryParameters::default()
        }),
    }
}

#[tokio::test]
async fn spans_are_in_jaegers_model() {
    let store = TraceStore::new(16 << 20);
    insert(&store, a_to_b(3, START, 100, true));
    let request = GetTraceRequest {
        trace_id: trace_id(3),
        ..GetTraceRequest::default()
    };
    let stream = client(&store).await.get_trace(request).await.unwrap();
    let spans = spans(stream.into_inner()).await;
    assert_eq!(spans.len(), 5);
    let edge = &spans[0];
    assert_eq!(edge.operation_name, "GET /");
    assert_eq!(edge.trace_id, trace_id(3));
    assert_eq!(edge.process.as_ref().unwrap().service_name, "service-a");
    assert_eq!(edge.start_time.unwrap().seconds, 1_700_000_000);
    assert_eq!(edge.duration.unwrap().nanos, 290_000_000);
    assert_eq!(edge.references[0].ref_type(), SpanRefType::FollowsFrom);
    let tag = |key: &str| edge.tags.iter().find(|tag| tag.key == key).unwrap();
    assert_eq!(tag("http.response.status_code").v_int64, 500);
    assert_eq!(tag("error").v_type(), ValueType::Bool);
    assert_eq!(tag("span.kind").v_str, "server");
    let calculation = spans
        .iter()
        .find(|span| span.operation_name == "heavy_calc");
    let calculation = calculation.unwrap();
    let tag = |key: &str| calculation.tags.iter().find(|tag| tag.key == key).unwrap();
    assert_eq!(tag("calc.rounds").v_int64, 9_007_199_254_740_993);
    assert_eq!(calculation.logs[0].fields[0].v_str, "exception");
    assert_eq!(calculation.references[0].ref_type(), SpanRefType::ChildOf);
}

#[tokio::test]
async fn v2_finds_and_lists() {
    let store = TraceStore::new(16 << 20);
    insert(&store, a_to_b(1, START, 0, false));
    insert(&store, a_to_b(2, START + 1_000, 0, false));
    let mut client = client(&store).await;
    let found = client.find_traces(search("service-a")).await.unwrap();
    assert_eq!(spans(found.into_inner()).await.len(), 10);

    let services = client.get_services(GetServicesRequest {}).await.unwrap();
    assert_eq!(services.into_inner().services, ["service-a", "service-b"]);
    let request = GetOperationsRequest {
        service: "service-a".to_owned(),
        span_kind: String::new(),
    };
    let operations = client.get_operations(request).await.unwrap().into_inner();
    assert_eq!(operations.operation_names.len(), 2);
    assert_eq!(operations.operations[0].span_kind, "server");
    let all = GetDependenciesRequest::default();
    let calls = client.get_dependencies(all).await.unwrap().into_inner();
    assert!(calls.dependencies.iter().any(|call| call.call_count == 2));
}

#[tokio::test]
async fn v2_rejects_with_status_codes() {
    let mut client = client(&TraceStore::new(1 << 20)).await;
    for (id, code) in [
        (trace_id(1), Code::NotFound),
        (vec![0; 16], Code::InvalidArgument),
        (vec![1; 8], Code::InvalidArgument),
    ] {
        let request = GetTraceRequest {
            trace_id: id,
            ..GetTraceRequest::default()
        };
        let refused = client.get_trace(request).await.unwrap_err();
        assert_eq!(refused.code(), code);
    }
    let archive = ArchiveTraceRequest::default();
    let refused = client.archive_trace(archive).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
}

/// Each span carries its process: few stored bytes may become many.
#[tokio::test]
async fn repeated_processes_count_as_bytes() {
    let store = TraceStore::new(64 << 20);
    let all = (1..=1_000).map(|id| span(1, id, 0, "work", START, START + 1));
    let mut all = batch("s", all.collect());
    let big = text("big", &"x".repeat(60_000));
    all.resource.as_mut().unwrap().attributes.push(big);
    insert(&store, vec![all]);
    let mut stream = client(&store)
        .await
        .find_traces(search("s"))
        .await
        .unwrap()
        .into_inner();
    let refused = stream.message().await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn health_and_reflection_are_served() {
    let address = serve(&TraceStore::new(1 << 20)).await;
    for service in ["jaeger.api_v2.QueryService", "jaeger.api_v3.QueryService"] {
        assert_healthy(address, service).await;
        assert_listed(address, service).await;
    }
}

#[tokio::test]
async fn repeated_tags_of_a_process_are_bounded() {
    let store = TraceStore::new(16 << 20);
    let spans = (1..=100).map(|id| span(3, id, 0, "work", START, START + 1));
    let mut all = batch("s", spans.collect());
    let attributes = &mut all.resource.as_mut().unwrap().attributes;
    attributes.resize(30_000, KeyValue::default());
    insert(&store, vec![all]);
    let request = GetTraceRequest {
        trace_id: trace_id(3),
        ..GetTraceRequest::default()
    };
    let stream = client(&store).await.get_trace(request).await.unwrap();
    let refused = stream.into_inner().message().await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
}
