use std::net::SocketAddr;

use axum::{
    Router,
    routing::{get, post},
};
use http::{HeaderMap, StatusCode};
use opentelemetry::{Context, trace::TraceContextExt};
use opentelemetry_proto::tonic::trace::v1::Span;
use rstest::rstest;
use spoor_telemetry::{
    Telemetry,
    http::{Bounds, bounded},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use crate::fake::{DEADLINE, Fake, finish, hex, telemetry, text};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

async fn serve(telemetry: &Telemetry) -> SocketAddr {
    let router = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/wishes/{id}", get(|| async { StatusCode::NOT_FOUND }))
        .route(
            "/broken",
            get(|| async { StatusCode::INTERNAL_SERVER_ERROR }),
        )
        .route("/context", get(context));
    crate::serve::http(telemetry.http_server(router), &CancellationToken::new()).await
}

/// The trace ID that a handler sees, and whether the span is recorded.
async fn context() -> String {
    let context = Context::current();
    let span = context.span();
    format!("{} {}", span.span_context().trace_id(), span.is_recording())
}

async fn send_request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&'static str, &'static str)],
) -> (StatusCode, HeaderMap, String) {
    let map: HeaderMap = headers
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect::<Vec<(http::HeaderName, http::HeaderValue)>>()
        .into_iter()
        .collect();
    let request = reqwest::Client::new()
        .request(method.parse().unwrap(), format!("http://{address}{path}"))
        .headers(map);
    let response = request.send().await.unwrap();
    (
        response.status(),
        response.headers().clone(),
        response.text().await.unwrap(),
    )
}

async fn one(telemetry: &Telemetry, fake: &Fake) -> Span {
    let [span] = finish(telemetry, fake).await.try_into().unwrap();
    span
}

#[rstest]
#[case::ok("GET", "/?q=1", "ok")]
#[case::not_found_is_no_error("GET", "/wishes/7", "not_found")]
#[case::server_error("GET", "/broken", "server_error")]
#[case::no_route_is_named_by_its_method("POST", "/nowhere/secret", "no_route")]
#[case::unknown_method("BREW", "/", "unknown_method")]
#[tokio::test]
async fn spans_follow_the_conventions(
    #[case] method: &str,
    #[case] path: &str,
    #[case] name: &str,
) {
    let (telemetry, fake) = telemetry(&[]);
    let address = serve(&telemetry).await;
    send_request(address, method, path, &[("user-agent", "test/1")]).await;
    let span = one(&telemetry, &fake).await;
    insta::assert_snapshot!(format!("http_server_{name}"), text(&[span]));
}

#[tokio::test]
async fn untrusted_peer_gets_a_new_trace_with_a_link() {
    let (telemetry, fake) = telemetry(&[]);
    let address = serve(&telemetry).await;
    let headers = [
        ("traceparent", UNSAMPLED),
        ("tracestate", "a=1"),
        ("baggage", "k=v"),
    ];
    let (_, response, body) = send_request(address, "GET", "/context", &headers).await;
    let span = one(&telemetry, &fake).await;
    let trace = hex(&span.trace_id);
    assert_ne!(trace, TRACE);
    assert!(span.parent_span_id.is_empty());
    assert_eq!(hex(&span.links[0].trace_id), TRACE);
    assert_eq!(body, format!("{trace} true"));
    assert_eq!(response["x-trace-id"], trace.as_str());
    assert_eq!(
        response["traceresponse"],
        format!("00-{trace}-{}-03", hex(&span.span_id)).as_str()
    );
}

#[tokio::test]
async fn trusted_peer_continues_its_trace() {
    let (telemetry, fake) = telemetry(&[("SPOOR_TRUSTED_PEERS", "127.0.0.0/8")]);
    let address = serve(&telemetry).await;
    let (_, response, _) = send_request(address, "GET", "/", &[("traceparent", PARENT)]).await;
    let span = one(&telemetry, &fake).await;
    assert_eq!(hex(&span.trace_id), TRACE);
    assert_eq!(hex(&span.parent_span_id), "b7ad6b7169203331");
    assert!(span.links.is_empty());
    assert_eq!(response["x-trace-id"], TRACE);
}

#[tokio::test]
async fn trusted_unsampled_trace_stays_unsampled() {
    let (telemetry, fake) = telemetry(&[("SPOOR_TRUSTED_PEERS", "127.0.0.1")]);
    let address = serve(&telemetry).await;
    let (_, response, body) =
        send_request(address, "GET", "/context", &[("traceparent", UNSAMPLED)]).await;
    assert_eq!(body, format!("{TRACE} false"));
    assert!(response["traceresponse"].to_str().unwrap().ends_with("-00"));
    assert!(finish(&telemetry, &fake).await.is_empty());
}

#[tokio::test]
async fn unsampled_response_has_its_trace_id() {
    let (telemetry, fake) = telemetry(&[("OTEL_TRACES_SAMPLER", "always_off")]);
    let address = serve(&telemetry).await;
    let (_, response, body) = send_request(address, "GET", "/context", &[]).await;
    let trace = response["x-trace-id"].to_str().unwrap().to_owned();
    assert_eq!(body, format!("{trace} false"));
    assert!(finish(&telemetry, &fake).await.is_empty());
}

/// The handler of such a request does not start a trace, nor add a span to a trusted peer's.
#[rstest]
#[case::from_an_untrusted_peer("")]
#[case::from_a_trusted_peer("127.0.0.0/8")]
#[tokio::test]
async fn untraced_paths_make_no_spans(#[case] trusted: &str) {
    let (telemetry, fake) = telemetry(&[
        ("SPOOR_UNTRACED_PATHS", "/context"),
        ("SPOOR_TRUSTED_PEERS", trusted),
    ]);
    let address = serve(&telemetry).await;
    let headers = [("traceparent", PARENT)];
    let (status, response, body) = send_request(address, "GET", "/context", &headers).await;
    assert_eq!(status, 200);
    let trace = response["x-trace-id"].to_str().unwrap().to_owned();
    assert_eq!(body, format!("{trace} false"));
    assert_eq!(trace == TRACE, !trusted.is_empty());
    // Not sampled; an ID made here is random.
    let flags = if trusted.is_empty() { "-02" } else { "-00" };
    assert!(response["traceresponse"].to_str().unwrap().ends_with(flags));
    let metrics = telemetry.metrics().text().unwrap();
    assert!(metrics.contains(r#"http_route="/context""#), "{metrics}");
    assert!(finish(&telemetry, &fake).await.is_empty());
}

#[tokio::test]
async fn disabled_telemetry_has_no_trace_id() {
    let (telemetry, fake) = telemetry(&[("OTEL_SDK_DISABLED", "true")]);
    let address = serve(&telemetry).await;
    let (status, response, _) = send_request(address, "GET", "/", &[("traceparent", PARENT)]).await;
    assert_eq!(status, 200);
    assert!(!response.contains_key("x-trace-id"));
    assert!(finish(&telemetry, &fake).await.is_empty());
}

#[tokio::test]
async fn faults_delay_and_fail_what_they_name() {
    let (telemetry, fake) =
        telemetry(&[("SPOOR_FAULTS", "operation=GET /,delay=30ms,errors=100%")]);
    let address = serve(&telemetry).await;
    let started = std::time::Instant::now();
    let (status, response, body) = send_request(address, "GET", "/", &[]).await;
    assert!(started.elapsed().as_millis() >= 30);
    assert_eq!(status, 500);
    assert_eq!(response["content-type"], "application/problem+json");
    assert!(response.contains_key("x-trace-id"));
    let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(problem["status"], 500);
    let (other, ..) = send_request(address, "GET", "/context", &[]).await;
    assert_eq!(other, 200);
    telemetry.faults().set(vec![]);
    let (cleared, ..) = send_request(address, "GET", "/", &[]).await;
    assert_eq!(cleared, 200);
    let spans = finish(&telemetry, &fake).await;
    insta::assert_snapshot!("http_server_fault", text(&spans[..1]));
}

#[tokio::test]
async fn request_of_a_disconnected_client_has_a_span() {
    let (telemetry, fake) = telemetry(&[]);
    let (entered, entering) = tokio::sync::oneshot::channel();
    let entered = std::sync::Arc::new(std::sync::Mutex::new(Some(entered)));
    let router = telemetry.http_server(Router::new().route(
        "/",
        get(move || async move {
            entered.lock().unwrap().take().unwrap().send(()).unwrap();
            std::future::pending::<()>().await;
        }),
    ));
    let address = crate::serve::http(router, &CancellationToken::new()).await;
    let request = tokio::spawn(reqwest::get(format!("http://{address}/")));
    entering.await.unwrap();
    request.abort();
    crate::fake::until("the cancelled request", || {
        telemetry
            .metrics()
            .text()
            .unwrap()
            .contains(r#"error_type="_OTHER""#)
    })
    .await;
    let span = one(&telemetry, &fake).await;
    assert!(text(&[span]).contains(r#"error.type = "cancelled""#));
}

#[tokio::test]
async fn response_names_one_trace() {
    let (telemetry, _fake) = telemetry(&[]);
    let router = Router::new().route("/", get(async || [("x-trace-id", "of a proxied server")]));
    let router = telemetry.http_server(router);
    let address = crate::serve::http(router, &CancellationToken::new()).await;
    let (_, headers, _) = send_request(address, "GET", "/", &[]).await;
    let ids: Vec<_> = headers.get_all("x-trace-id").iter().collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_ne!(ids[0], "of a proxied server");
}

/// The response to a body that is too long is sent after all of it was read, and the connection
/// stays open.
#[tokio::test]
async fn too_long_body_is_refused_after_reading() {
    let bounds = Bounds {
        max_body_bytes: 1000,
        deadline: DEADLINE,
    };
    let router = Router::new().route("/", post(async |_: String| "short enough"));
    let router = bounded(router, bounds);
    let address = crate::serve::http(router, &CancellationToken::new()).await;
    let mut connection = TcpStream::connect(address).await.unwrap();
    for (body, expected) in [(500_000, "HTTP/1.1 413 "), (1000, "HTTP/1.1 200 ")] {
        let head = format!("POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {body}\r\n\r\n");
        connection.write_all(head.as_bytes()).await.unwrap();
        for chunk in vec![b'x'; body].chunks(1000) {
            connection.write_all(chunk).await.unwrap();
            connection.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut response = vec![0; 4096];
        let read = connection.read(&mut response).await.unwrap();
        let response = String::from_utf8_lossy(&response[..read]);
        assert!(response.starts_with(expected), "{response}");
    }
}
