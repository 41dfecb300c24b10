use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Query, Request},
    middleware,
    response::IntoResponse,
    routing::get,
};
use http::StatusCode;
use opentelemetry::trace::{SpanKind, Status};
use serde_json::{Value, json as value};
use spoor_testing::{json, only_span, unused_address};
use tokio::{sync::Semaphore, time::timeout};

use super::peer::{Gateway, peer};
use crate::spans::CAPTURED;

/// Jaeger's query API with these services and calls. The calls from gateway to wishlist and from bands
/// to reviews have failed.
fn api(services: &Value, calls: &Value) -> Router {
    let (services, calls) = (services.clone(), calls.clone());
    let failed = async |Query(query): Query<Vec<(String, String)>>| {
        let about = |name: &str, value: &str| query.contains(&(name.into(), value.into()));
        assert!(
            about("query.attributes", r#"{"error":"true"}"#),
            "{query:?}"
        );
        let of_wishlist = about("query.service_name", "wishlist");
        if !of_wishlist && !about("query.service_name", "bands") {
            let none = value!({"error": {"httpCode": 404, "message": "No traces found"}});
            return (StatusCode::NOT_FOUND, Json(none));
        }
        let of = |service: &str, span: Value| {
            let name = value!({"key": "service.name", "value": {"stringValue": service}});
            value!({"resource": {"attributes": [name]}, "scopeSpans": [{"spans": [span]}]})
        };
        let span = |id: &str, parent: &str, kind: u8, code: u8| {
            value!({
                "traceId": "a", "spanId": id, "parentSpanId": parent,
                "kind": kind, "status": {"code": code},
            })
        };
        let spans = match of_wishlist {
            true => [
                of("gateway", span("1", "", 3, 0)),
                of("wishlist", span("2", "1", 2, 2)),
            ],
            // A deadline passed at the caller, so that the callee's span has no error.
            false => [
                of("bands", span("3", "", 3, 2)),
                of("reviews", span("4", "3", 2, 0)),
            ],
        };
        let found = value!({"result": {"resourceSpans": spans}});
        (StatusCode::OK, Json(found))
    };
    let services = Json(value!({"services": services}));
    let calls = Json(value!({"data": calls}));
    // Without the search of API v1, which newer versions of Jaeger do not have.
    Router::new()
        .route("/api/v3/services", get(async move || services))
        .route("/api/dependencies", get(async move || calls))
        .route("/api/v3/traces", get(failed))
}

async fn docs(jaeger: Router) -> String {
    let address = peer(jaeger).await;
    let gateway = Gateway::of(&format!("http://{address}"), &[]).await;
    let response = gateway.get("/docs").await;
    assert_eq!(response.status(), 200);
    let policy = response.headers()["content-security-policy"].to_str();
    assert!(policy.unwrap().contains("default-src 'none'"));
    response.text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mesh_is_drawn_with_failures_in_red() {
    let calls = value!([
        {"parent": "gateway", "child": "wishlist", "callCount": 41},
        {"parent": "bands", "child": "reviews", "callCount": 7},
    ]);
    let page = docs(api(&value!(["gateway", "wishlist", "tasks"]), &calls)).await;
    assert!(
        page.contains("aria-label=\"Services (5) and the calls between them\""),
        "{page}"
    );
    for shown in [">41</text>", ">7</text>", ">tasks</text>"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert_eq!(page.matches("class=\"call failed\"").count(), 2);
    // The services with failed spans: wishlist and bands.
    assert_eq!(page.matches("class=\"service failed\"").count(), 2);
    for call in ["gateway → wishlist: 41", "bands → reviews: 7"] {
        assert!(page.contains(&format!("{call}, with errors")), "{page}");
    }
    assert!(page.contains("<h1>Architecture</h1>"), "{page}");
}

/// Each empty search is a 404, which would be an error on a client span.
#[tokio::test(flavor = "multi_thread")]
async fn drawing_the_mesh_creates_no_client_spans() {
    let flags = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&flags);
    let note = middleware::map_request(move |request: Request| {
        let context = request.headers()["traceparent"].to_str().unwrap();
        let flags = u8::from_str_radix(context.rsplit('-').next().unwrap(), 16).unwrap();
        seen.lock().unwrap().push(flags);
        async { request }
    });
    let jaeger = api(&value!(["gateway", "tasks"]), &value!([])).layer(note);
    let gateway = Gateway::of(&format!("http://{}", peer(jaeger).await), &[]).await;
    for _ in 0..2 {
        let response = gateway.get("/docs").await;
        let trace = response.headers()["x-trace-id"]
            .to_str()
            .unwrap()
            .to_owned();
        let page = response.text().await.unwrap();
        assert!(
            page.contains(">tasks</text>") && !page.contains(" failed\""),
            "{page}"
        );
        // The server's span is exported last, since it ends last.
        let spans = CAPTURED.spans.trace(&trace, 1).await;
        let server = only_span(&spans, "GET /docs", &SpanKind::Server);
        assert_eq!(server.status, Status::Unset);
        assert_eq!(spans.len(), 1, "{spans:#?}");
    }
    // For the first view: the services, the dependencies and a search for each service.
    let flags = flags.lock().unwrap();
    assert!(flags.len() >= 4, "{flags:?}");
    // The lowest bit is the sampled flag.
    assert!(flags.iter().all(|flags| flags & 1 == 0), "{flags:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn client_disconnect_does_not_end_the_read() {
    let [begun, allowed, continued] = [(); 3].map(|()| Arc::new(Semaphore::new(0)));
    let steps = [&begun, &allowed, &continued].map(Arc::clone);
    let wait = middleware::map_request(move |request: Request| {
        let [begun, allowed, continued] = steps.clone();
        async move {
            match request.uri().path() {
                "/api/v3/services" => {
                    begun.add_permits(1);
                    allowed.acquire().await.unwrap().forget();
                }
                _ => continued.add_permits(1),
            }
            request
        }
    });
    let jaeger = api(&value!(["gateway", "tasks"]), &value!([])).layer(wait);
    let gateway = Gateway::of(&format!("http://{}", peer(jaeger).await), &[]).await;
    tokio::select! {
        _ = gateway.get("/docs") => panic!("the mesh cannot have been read"),
        _ = begun.acquire() => {}
    }
    allowed.add_permits(1);
    let continued = timeout(Duration::from_secs(30), continued.acquire()).await;
    assert!(continued.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_mesh_is_explained() {
    for calls in [value!([]), Value::Null] {
        let page = docs(api(&value!([]), &calls)).await;
        assert!(page.contains("There are no traces yet"), "{page}");
        assert!(!page.contains("<svg"), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_from_traces_are_only_text() {
    let hostile = "</title><script>alert(1)</script>";
    let calls = value!([{"parent": hostile, "child": "\" onload=\"x", "callCount": 1}]);
    let page = docs(api(&value!([hostile]), &calls)).await;
    assert!(
        !page.contains("<script") && !page.contains("\" onload=\""),
        "{page}"
    );
    assert!(page.contains("&lt;script&gt;"), "{page}");
}

#[rstest::rstest]
#[case::broken(get(async || StatusCode::BAD_GATEWAY.into_response()), "HTTP status 502")]
#[case::not_json(get(async || "<html>".into_response()), "invalid response")]
#[case::endless(get(async || " ".repeat(9 << 20).into_response()), "longer than 8388608 bytes")]
#[tokio::test(flavor = "multi_thread")]
async fn a_failing_jaeger_is_explained(
    #[case] services: axum::routing::MethodRouter,
    #[case] why: &str,
) {
    let page = docs(Router::new().route("/api/v3/services", services)).await;
    assert!(page.contains("cannot be drawn"), "{page}");
    assert!(page.contains(why), "{page}");
    assert!(page.contains("<h1>Architecture</h1>"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_documents_are_a_404() {
    let gateway = Gateway::of(&format!("http://{}", unused_address()), &[]).await;
    let page = gateway.get("/docs/tail-rules").await.text().await.unwrap();
    assert!(page.contains("<h1>Tail rules on a cluster"), "{page}");
    for unknown in ["/docs/nothing", "/docs/%ff", "/docs/..%2f..%2fCargo.toml"] {
        assert_eq!(json(gateway.get(unknown).await).await.0, 404);
    }
    let style = gateway.get("/docs.css").await;
    assert_eq!(style.headers()["content-type"], "text/css; charset=utf-8");
}
