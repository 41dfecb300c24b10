use std::net::SocketAddr;

use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;
use spoor_proto::jaeger::api_v3::{
    FindTracesRequest, GetDependenciesRequest, GetOperationsRequest, GetServicesRequest,
    GetTraceRequest, TraceQueryParameters, TracesData, query_service_client::QueryServiceClient,
};
use spoor_traces::{TraceStore, query, tree::Tree};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code, Streaming,
    transport::{Channel, Server},
};

use crate::spans::{a_to_b, batch, insert, span, text};

const START: u64 = 1_700_000_000_000;

pub async fn client(store: &TraceStore) -> QueryServiceClient<Channel> {
    QueryServiceClient::new(channel(store).await)
}

/// A connection to a server of the query APIs.
pub async fn channel(store: &TraceStore) -> Channel {
    spoor_testing::infrastructure::channel(serve(store).await).await
}

/// A server of the query APIs over gRPC.
pub async fn serve(store: &TraceStore) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = query::grpc(&query::Queries::new(store.clone()))
        .await
        .unwrap();
    let incoming = TcpListenerStream::new(listener);
    tokio::spawn(
        Server::builder()
            .add_routes(routes)
            .serve_with_incoming(incoming),
    );
    address
}

pub async fn batches(mut stream: Streaming<TracesData>) -> Vec<ResourceSpans> {
    let mut batches = Vec::new();
    while let Some(data) = stream.message().await.unwrap() {
        let decoded = data.resource_spans.iter();
        batches.extend(decoded.map(|bytes| ResourceSpans::decode(bytes.as_ref()).unwrap()));
    }
    batches
}

pub fn window() -> TraceQueryParameters {
    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    TraceQueryParameters {
        start_time_min: at(1_700_000_000),
        start_time_max: at(1_700_003_600),
        ..TraceQueryParameters::default()
    }
}

#[tokio::test]
async fn a_trace_arrives_as_it_was_sent() {
    let store = TraceStore::new(16 << 20);
    insert(&store, a_to_b(3, START, 100, true));
    let request = GetTraceRequest {
        trace_id: "5b8efff7980381030000000000000003".to_owned(),
        ..GetTraceRequest::default()
    };
    let stream = client(&store).await.get_trace(request).await.unwrap();
    let received = Tree::new(batches(stream.into_inner()).await);
    assert_eq!(received, Tree::new(a_to_b(3, START, 100, true)));
}

#[tokio::test]
async fn a_trace_larger_than_a_message_takes_several() {
    let store = TraceStore::new(64 << 20);
    let big = "x".repeat(600_000);
    for id in 1..=10 {
        let mut one = span(1, id, 0, "big", START, START + 1);
        one.attributes = vec![text("blob", &big)];
        insert(&store, vec![batch(&format!("service-{id}"), vec![one])]);
    }
    let request = GetTraceRequest {
        trace_id: "5b8efff7980381030000000000000001".to_owned(),
        ..GetTraceRequest::default()
    };
    let stream = client(&store).await.get_trace(request).await.unwrap();
    assert_eq!(batches(stream.into_inner()).await.len(), 10);
}

#[tokio::test]
async fn search_requires_a_window() {
    let store = TraceStore::new(16 << 20);
    insert(&store, a_to_b(1, START, 0, false));
    insert(&store, a_to_b(2, START + 1_000, 9, true));
    let mut client = client(&store).await;
    let request = |query| FindTracesRequest { query };

    let refused = client.find_traces(request(None)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let no_window = request(Some(TraceQueryParameters::default()));
    let refused = client.find_traces(no_window).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    // Ignoring the filter would return traces that do not match.
    let filter = TraceQueryParameters {
        filter: Some(b"\x0a\x06exists".to_vec()),
        ..window()
    };
    let refused = client.find_traces(request(Some(filter))).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("query.filter"));

    let errors = TraceQueryParameters {
        service_name: "service-a".to_owned(),
        attributes: [("error".to_owned(), "true".to_owned())].into(),
        ..window()
    };
    let stream = client.find_traces(request(Some(errors))).await.unwrap();
    let found = Tree::new(batches(stream.into_inner()).await);
    assert_eq!(found, Tree::new(a_to_b(2, START + 1_000, 9, true)));
}

#[tokio::test]
async fn names_are_listed_and_unknown_ids_refused() {
    let store = TraceStore::new(16 << 20);
    insert(&store, a_to_b(1, START, 0, false));
    let mut client = client(&store).await;
    let services = client.get_services(GetServicesRequest {}).await.unwrap();
    assert_eq!(services.into_inner().services, ["service-a", "service-b"]);

    let request = GetOperationsRequest {
        service: "service-a".to_owned(),
        span_kind: "server".to_owned(),
    };
    let operations = client.get_operations(request).await.unwrap().into_inner();
    assert_eq!(operations.operations[0].name, "GET /");

    for (trace_id, code) in [("abc", Code::NotFound), ("xyz", Code::InvalidArgument)] {
        let request = GetTraceRequest {
            trace_id: trace_id.to_owned(),
            ..GetTraceRequest::default()
        };
        let refused = client.get_trace(request).await.unwrap_err();
        assert_eq!(refused.code(), code);
    }
}

#[tokio::test]
async fn dependencies_require_a_window() {
    let store = TraceStore::new(16 << 20);
    insert(&store, a_to_b(1, START, 0, false));
    let mut client = client(&store).await;
    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let request = |start_time, end_time| GetDependenciesRequest {
        start_time,
        end_time,
    };
    for wrong in [
        request(None, at(1_700_003_600)),
        request(at(1_700_003_600), at(1_700_000_000)),
    ] {
        let refused = client.get_dependencies(wrong).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    let request = request(at(1_700_000_000), at(1_700_003_600));
    let found = client.get_dependencies(request).await.unwrap().into_inner();
    let calls = found.dependencies.iter();
    let between = calls.filter(|call| call.parent == "service-a" && call.child == "service-b");
    assert_eq!(between.map(|call| call.call_count).sum::<u64>(), 1);
}
