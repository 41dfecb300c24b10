use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use opentelemetry::{
    Context,
    trace::{FutureExt, TraceContextExt, Tracer},
};
use rstest::rstest;
use tower::{Layer, ServiceExt, service_fn};

use crate::fake::{finish, hex, telemetry, text};

type Sent = Request<Empty<Bytes>>;

fn request() -> Sent {
    let uri = "http://user:s3cret@wishes.example:8081/list?all=1";
    Request::get(uri)
        .header("traceparent", "stale")
        .body(Empty::new())
        .unwrap()
}

/// Responds with the context of the request.
async fn echo(request: Sent) -> Result<Response<String>, Infallible> {
    let header = request
        .headers()
        .get("traceparent")
        .map(|it| it.to_str().unwrap().to_owned());
    let status = if request.uri().path() == "/missing" {
        404
    } else {
        200
    };
    Ok(Response::builder()
        .status(status)
        .body(header.unwrap_or_default())
        .unwrap())
}

#[rstest]
#[case::ok("http://user:s3cret@wishes.example:8081/list?all=1", "ok")]
#[case::a_4xx_is_the_clients_error("http://wishes.example/missing", "missing")]
#[tokio::test]
async fn spans_follow_conventions_and_propagate(#[case] uri: &str, #[case] name: &str) {
    let (telemetry, fake) = telemetry(&[]);
    let client = telemetry.http_client_layer().layer(service_fn(echo));
    let request = Request::get(uri).body(Empty::new()).unwrap();
    let response = client.oneshot(request).await.unwrap();
    let [span] = finish(&telemetry, &fake).await.try_into().unwrap();
    let passed = format!("00-{}-{}-03", hex(&span.trace_id), hex(&span.span_id));
    assert_eq!(response.body(), &passed);
    insta::assert_snapshot!(format!("http_client_{name}"), text(&[span]));
}

#[tokio::test]
async fn an_unreachable_peer_is_an_error() {
    let (telemetry, fake) = telemetry(&[]);
    let failing = service_fn(|_: Sent| async {
        Err::<Response<String>, _>(std::io::Error::other("connection refused"))
    });
    let client = telemetry.http_client_layer().layer(failing);
    client.oneshot(request()).await.unwrap_err();
    let spans = finish(&telemetry, &fake).await;
    insta::assert_snapshot!("http_client_unreachable", text(&spans));
}

#[tokio::test]
async fn cancelled_request_has_a_span() {
    let (telemetry, fake) = telemetry(&[]);
    let never =
        service_fn(|_: Sent| std::future::pending::<Result<Response<String>, Infallible>>());
    let client = telemetry.http_client_layer().layer(never);
    let given_up = tokio::time::timeout(std::time::Duration::ZERO, client.oneshot(request())).await;
    assert!(given_up.is_err());
    let spans = finish(&telemetry, &fake).await;
    assert!(text(&spans).contains(r#"error.type = "cancelled""#));
    let counted = r#"server_address="wishes.example",error_type="_OTHER"} 1"#;
    assert!(telemetry.metrics().text().unwrap().contains(counted));
}

#[tokio::test]
async fn in_an_unsampled_trace_the_parent_is_passed_on() {
    let (telemetry, fake) = telemetry(&[("OTEL_TRACES_SAMPLER", "always_off")]);
    let span = telemetry.tracer().unwrap().start("parent");
    let context = Context::new().with_span(span);
    let parent = context.span().span_context().clone();
    let client = telemetry.http_client_layer().layer(service_fn(echo));
    let response = client
        .oneshot(request())
        .with_context(context)
        .await
        .unwrap();
    let passed = format!("00-{}-{}-02", parent.trace_id(), parent.span_id());
    assert_eq!(response.body(), &passed);
    assert!(finish(&telemetry, &fake).await.is_empty());
}

#[tokio::test]
async fn disabled_without_a_parent_sends_no_context() {
    let (telemetry, _fake) = telemetry(&[("OTEL_SDK_DISABLED", "true")]);
    let client = telemetry.http_client_layer().layer(service_fn(echo));
    assert_eq!(client.oneshot(request()).await.unwrap().body(), "");
}
