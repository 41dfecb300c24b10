use std::{net::SocketAddr, time::Duration};

use opentelemetry::{
    Context,
    trace::{FutureExt, TraceContextExt, Tracer},
};
use rstest::rstest;
use spoor_proto::spoor::{
    ab::v1::{
        WorkReply, WorkRequest,
        service_b_client::ServiceBClient,
        service_b_server::{ServiceB, ServiceBServer},
    },
    control::v1::{
        ClientMessage, ServerMessage,
        policy_stream_client::PolicyStreamClient,
        policy_stream_server::{PolicyStream, PolicyStreamServer},
    },
};
use spoor_telemetry::{
    Telemetry, grpc,
    serve::{self, Grpc},
};
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming, body::Body, service::Routes};
use tower::ServiceExt;

use crate::{
    fake::{DEADLINE, finish, hex, telemetry, text, until},
    not_grpc,
    serve::listener,
};

/// Responds to `Work` with the code in `wait_millis`, and to `Subscribe` with two messages and then
/// an error.
struct Responder;

#[tonic::async_trait]
impl ServiceB for Responder {
    async fn work(&self, request: Request<WorkRequest>) -> Result<Response<WorkReply>, Status> {
        match request.into_inner().wait_millis {
            None => Ok(Response::new(WorkReply::default())),
            Some(code) => Err(Status::new(
                Code::from(i32::try_from(code).unwrap()),
                "requested",
            )),
        }
    }
}

type Messages = std::pin::Pin<Box<dyn Stream<Item = Result<ServerMessage, Status>> + Send>>;

#[tonic::async_trait]
impl PolicyStream for Responder {
    type SubscribeStream = Messages;

    async fn subscribe(
        &self,
        _: Request<Streaming<ClientMessage>>,
    ) -> Result<Response<Messages>, Status> {
        let messages = tokio_stream::iter([
            Ok(ServerMessage::default()),
            Ok(ServerMessage::default()),
            Err(Status::data_loss("torn")),
        ]);
        Ok(Response::new(Box::pin(messages)))
    }
}

async fn serve(telemetry: &Telemetry, stop: &CancellationToken) -> SocketAddr {
    let (listener, address) = listener().await;
    serve_on(listener, telemetry, stop);
    address
}

fn serve_on(listener: TcpListener, telemetry: &Telemetry, stop: &CancellationToken) {
    let routes =
        Routes::new(ServiceBServer::new(Responder)).add_service(PolicyStreamServer::new(Responder));
    let server = Grpc {
        routes,
        services: vec!["spoor.ab.v1.ServiceB"],
        descriptors: spoor_proto::DESCRIPTORS,
        grace: DEADLINE,
    };
    let (telemetry, stop) = (telemetry.clone(), stop.clone());
    tokio::spawn(async move {
        serve::grpc(listener, server, &telemetry, stop)
            .await
            .unwrap()
    });
}

fn channel(telemetry: &Telemetry, address: SocketAddr) -> grpc::Channel {
    telemetry.grpc_channel(&format!("http://{address}").parse().unwrap())
}

fn work(code: Option<u32>) -> WorkRequest {
    WorkRequest {
        wait_millis: code,
        calc_rounds: None,
    }
}

#[rstest]
#[case::ok(None, "ok")]
#[case::not_found_is_the_clients_error(Some(5), "not_found")]
#[case::internal_is_both_sides_error(Some(13), "internal")]
#[tokio::test]
async fn a_call_is_a_client_and_a_server_span(#[case] code: Option<u32>, #[case] name: &str) {
    let (telemetry, fake) = telemetry(&[]);
    let stop = CancellationToken::new();
    let address = serve(&telemetry, &stop).await;
    let mut client = ServiceBClient::new(channel(&telemetry, address));
    let result = client.work(work(code)).await;
    assert_eq!(
        result.map_or_else(|status| i32::from(status.code()), |_| 0),
        code.map_or(0, |it| it.try_into().unwrap())
    );
    let spans = finish(&telemetry, &fake).await;
    insta::assert_snapshot!(format!("grpc_{name}"), text(&spans));
    stop.cancel();
}

#[tokio::test]
async fn refusal_of_another_protocol_names_grpc() {
    let (callee, received) = telemetry(&[]);
    let stop = CancellationToken::new();
    let address = serve(&callee, &stop).await;
    let response = reqwest::get(format!("http://{address}/")).await.unwrap();
    assert_eq!(response.status(), 415);
    let explanation = response.text().await.unwrap();
    assert!(explanation.contains("serves gRPC only"), "{explanation}");
    stop.cancel();
    assert_eq!(finish(&callee, &received).await, []);
}

#[tokio::test]
async fn invented_methods_share_one_series() {
    let (caller, _) = telemetry(&[]);
    let (callee, received) = telemetry(&[]);
    let stop = CancellationToken::new();
    let address = serve(&callee, &stop).await;
    for name in ["One", "Two"] {
        let invented = move |mut request: http::Request<Body>| {
            *request.uri_mut() = format!("/spoor.ab.v1.ServiceB/{name}").parse().unwrap();
            request
        };
        let channel = channel(&caller, address).map_request(invented);
        let status = ServiceBClient::new(channel).work(work(None)).await;
        assert_eq!(status.unwrap_err().code(), Code::Unimplemented);
    }
    let spans = finish(&callee, &received).await;
    insta::assert_snapshot!("grpc_invented_method", text(&spans[..1]));
    let metrics = callee.metrics().text().unwrap();
    let series = r#"rpc_method="_OTHER",rpc_response_status_code="UNIMPLEMENTED",error_type="UNIMPLEMENTED"} 2"#;
    assert!(
        metrics.contains(series) && !metrics.contains("ServiceB/One"),
        "{metrics}"
    );
    stop.cancel();
}

#[tokio::test]
async fn a_streams_span_ends_with_its_trailers() {
    let (telemetry, fake) = telemetry(&[]);
    let stop = CancellationToken::new();
    let address = serve(&telemetry, &stop).await;
    let mut client = PolicyStreamClient::new(channel(&telemetry, address));
    let mut messages = client
        .subscribe(tokio_stream::empty())
        .await
        .unwrap()
        .into_inner();
    messages.next().await.unwrap().unwrap();
    let running = telemetry.metrics().text().unwrap();
    assert!(
        !running.contains("rpc_client_call_duration_seconds_count"),
        "{running}"
    );
    messages.next().await.unwrap().unwrap();
    assert_eq!(
        messages.next().await.unwrap().unwrap_err().code(),
        Code::DataLoss
    );
    let spans = finish(&telemetry, &fake).await;
    insta::assert_snapshot!("grpc_stream", text(&spans));
    stop.cancel();
}

/// Until a service has responded, its server does not know the service's methods.
#[tokio::test]
async fn cancelled_first_call_keeps_its_name() {
    let method = "spoor.ab.v1.ServiceB/Work";
    let fault = format!("operation={method},delay=60s");
    let (caller, _) = telemetry(&[]);
    let (callee, received) = telemetry(&[("SPOOR_FAULTS", &fault)]);
    let stop = CancellationToken::new();
    let address = serve(&callee, &stop).await;
    let mut client = ServiceBClient::new(channel(&caller, address));
    let cancelled = async {
        while !callee.metrics().text().unwrap().contains("CANCELLED") {
            let call = client.work(work(None));
            let _ = tokio::time::timeout(Duration::from_millis(50), call).await;
        }
    };
    tokio::time::timeout(DEADLINE, cancelled).await.unwrap();
    let spans = finish(&callee, &received).await;
    let text = text(&spans[..1]);
    assert!(text.starts_with(&format!("{method} (Server)")), "{text}");
    stop.cancel();
}

#[tokio::test]
async fn unread_stream_is_cancelled() {
    let (telemetry, fake) = telemetry(&[]);
    let stop = CancellationToken::new();
    let address = serve(&telemetry, &stop).await;
    let mut client = PolicyStreamClient::new(channel(&telemetry, address));
    let messages = client.subscribe(tokio_stream::empty()).await.unwrap();
    drop(messages);
    let counted = r#"rpc_client_call_duration_seconds_count{rpc_system_name="grpc",rpc_method="spoor.control.v1.PolicyStream/Subscribe",rpc_response_status_code="CANCELLED",error_type="CANCELLED"} 1"#;
    assert!(telemetry.metrics().text().unwrap().contains(counted));
    let spans = finish(&telemetry, &fake).await;
    assert!(text(&spans).contains(r#"rpc.response.status_code = "CANCELLED""#));
    stop.cancel();
}

#[tokio::test]
async fn an_unreachable_service_is_unavailable() {
    let (telemetry, fake) = telemetry(&[]);
    // No process listens on port 1 of loopback.
    let address = "127.0.0.1:1".parse().unwrap();
    let mut client = ServiceBClient::new(channel(&telemetry, address));
    let status = client.work(work(None)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let spans = finish(&telemetry, &fake).await;
    let text = text(&spans);
    assert!(text.contains(r#"error.type = "UNAVAILABLE""#), "{text}");
    assert!(text.contains("status=Error"), "{text}");
}

#[tokio::test]
async fn a_lost_connection_is_unavailable() {
    let (telemetry, fake) = telemetry(&[]);
    let (listener, address) = listener().await;
    let mut client = ServiceBClient::new(channel(&telemetry, address));
    let (response, ()) = tokio::join!(client.work(work(None)), not_grpc::lose_first(&listener));
    let status = response.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let text = text(&finish(&telemetry, &fake).await);
    assert!(text.contains(r#"error.type = "UNAVAILABLE""#), "{text}");
}

#[tokio::test]
async fn expired_deadline_is_named() {
    let (caller, received) = telemetry(&[]);
    let (callee, _) = telemetry(&[("SPOOR_FAULTS", "delay=60s")]);
    let stop = CancellationToken::new();
    let address = serve(&callee, &stop).await;
    let mut client = ServiceBClient::new(channel(&caller, address));
    let mut request = Request::new(work(None));
    request.set_timeout(Duration::from_millis(50));
    let status = client.work(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    let text = text(&finish(&caller, &received).await);
    assert!(text.contains("DEADLINE_EXCEEDED"), "{text}");
    assert!(text.contains("Timeout expired"), "{text}");
    stop.cancel();
}

#[tokio::test]
async fn connection_to_another_server_is_replaced() {
    let (telemetry, fake) = telemetry(&[]);
    let stop = CancellationToken::new();
    let (listener, address) = listener().await;
    let mut client = ServiceBClient::new(channel(&telemetry, address));
    let (response, ()) = tokio::join!(client.work(work(None)), not_grpc::accept_first(&listener));
    let status = response.unwrap_err();
    let why = "the peer is not a gRPC server: HTTP status 404 Not Found";
    assert_eq!((status.code(), status.message()), (Code::Unavailable, why));
    serve_on(listener, &telemetry, &stop);
    client.work(work(None)).await.unwrap();
    let text = text(&finish(&telemetry, &fake).await);
    assert!(text.contains(why), "{text}");
    stop.cancel();
}

#[tokio::test]
async fn unsampled_trace_stays_unsampled() {
    let (telemetry, fake) = telemetry(&[("OTEL_TRACES_SAMPLER", "always_off")]);
    let stop = CancellationToken::new();
    let address = serve(&telemetry, &stop).await;
    let parent = telemetry.tracer().unwrap().start("root");
    let mut client = ServiceBClient::new(channel(&telemetry, address));
    client
        .work(work(None))
        .with_context(Context::new().with_span(parent))
        .await
        .unwrap();
    // The only decision was on the root started above; the server followed it.
    let text = telemetry.metrics().text().unwrap();
    assert!(text.contains("spoor_sampler_decisions_total 1\n"), "{text}");
    assert!(finish(&telemetry, &fake).await.is_empty());
    stop.cancel();
}

#[tokio::test]
async fn faults_fail_the_operation_they_name() {
    let fault = "operation=spoor.ab.v1.ServiceB/Work,delay=30ms,errors=100%";
    let (telemetry, fake) = telemetry(&[("SPOOR_FAULTS", fault)]);
    let stop = CancellationToken::new();
    let address = serve(&telemetry, &stop).await;
    let mut client = ServiceBClient::new(channel(&telemetry, address));
    let started = std::time::Instant::now();
    let status = client.work(work(None)).await.unwrap_err();
    assert!(started.elapsed() >= Duration::from_millis(30));
    assert_eq!(
        (status.code(), status.message()),
        (Code::Internal, "injected fault")
    );
    telemetry.faults().set(vec![]);
    client.work(work(None)).await.unwrap();
    let spans = finish(&telemetry, &fake).await;
    insta::assert_snapshot!("grpc_fault", text(&spans[..2]));
    stop.cancel();
}

#[tokio::test]
async fn both_processes_share_one_trace() {
    let (caller, sent) = telemetry(&[]);
    let (callee, received) = telemetry(&[]);
    let stop = CancellationToken::new();
    let address = serve(&callee, &stop).await;
    ServiceBClient::new(channel(&caller, address))
        .work(work(None))
        .await
        .unwrap();
    let [client] = finish(&caller, &sent).await.try_into().unwrap();
    let [server] = finish(&callee, &received).await.try_into().unwrap();
    assert_eq!(hex(&client.trace_id), hex(&server.trace_id));
    assert_eq!(hex(&client.span_id), hex(&server.parent_span_id));
    stop.cancel();
}

#[tokio::test]
async fn health_is_not_traced_and_reports_the_shutdown() {
    use tonic_health::pb::{
        HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
    };
    let (telemetry, fake) = telemetry(&[]);
    let stop = CancellationToken::new();
    let address = serve(&telemetry, &stop).await;
    let mut health = HealthClient::new(channel(&telemetry, address));
    let request = HealthCheckRequest {
        service: "spoor.ab.v1.ServiceB".to_owned(),
    };
    let mut watch = health.watch(request).await.unwrap().into_inner();
    assert_eq!(
        watch.next().await.unwrap().unwrap().status(),
        ServingStatus::Serving
    );
    stop.cancel();
    assert_eq!(
        watch.next().await.unwrap().unwrap().status(),
        ServingStatus::NotServing
    );
    drop(watch);
    assert!(finish(&telemetry, &fake).await.is_empty());
    let refused = || std::net::TcpStream::connect(address).is_err();
    until("the listener to close", refused).await;
}
