use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::Request,
    response::{IntoResponse, Redirect},
    routing::{any, get},
};
use futures_util::stream::{self, Stream};
use spoor_testing::{json, unused_address};
use tokio::time::Instant;

use super::peer::{Gateway, peer};

/// Responds with the request that it received.
async fn echo(request: Request) -> String {
    let mut headers: Vec<_> = request.headers().keys().map(ToString::to_string).collect();
    headers.sort();
    format!("{} {} {headers:?}", request.method(), request.uri())
}

#[tokio::test(flavor = "multi_thread")]
async fn jaeger_gets_paths_without_credentials() {
    let address = peer(Router::new().fallback(any(echo))).await;
    let gateway = Gateway::of(&format!("http://{address}/base"), &[]).await;
    let request = reqwest::Client::new()
        .get(gateway.url("/jaeger/api/traces?service=a%26b"))
        .header("cookie", "session=1")
        .header("authorization", "Bearer secret")
        .header("x-forwarded-for", "10.0.0.1")
        .header("accept", "application/json");
    let response = gateway.send(request).await;
    assert_eq!(response.headers()["x-frame-options"], "DENY");
    assert!(response.headers().contains_key("content-security-policy"));
    assert!(response.headers().contains_key("x-trace-id"));
    let request = response.text().await.unwrap();
    let expected = r#"GET /base/api/traces?service=a%26b ["accept", "host", "traceparent"#;
    assert!(request.starts_with(expected), "{request}");
    for secret in ["cookie", "authorization", "forwarded"] {
        assert!(!request.contains(secret), "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_is_read_only() {
    let address = peer(Router::new().fallback(any(echo))).await;
    let gateway = Gateway::of(&format!("http://{address}"), &[]).await;
    for path in ["/jaeger/", "/jaeger/api/traces"] {
        let post = reqwest::Client::new().post(gateway.url(path)).body("{}");
        assert_eq!(json(gateway.send(post).await).await.0, 405);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_rewritten_to_this_host() {
    let routes = Router::new()
        .route("/here", get(async || Redirect::to("/search")))
        .route(
            "/there",
            get(async || Redirect::to("https://evil.example/")),
        );
    let address = peer(routes).await;
    let gateway = Gateway::of(&format!("http://{address}"), &[]).await;
    let bare = gateway.get("/jaeger").await;
    assert_eq!(bare.headers()["location"], "/jaeger/");
    let here = gateway.get("/jaeger/here").await;
    assert_eq!(here.headers()["location"], "/jaeger/search");
    let there = gateway.get("/jaeger/there").await;
    assert!(!there.headers().contains_key("location"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_streamed() {
    let endless = async || {
        let ticks = stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Some((Ok::<_, Infallible>("tick "), ()))
        });
        Body::from_stream(ticks).into_response()
    };
    let address = peer(Router::new().route("/", get(endless))).await;
    let gateway = Gateway::of(&format!("http://{address}"), &[]).await;
    let mut response = gateway.get("/jaeger/").await;
    for _ in 0..3 {
        assert!(response.chunk().await.unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_is_too_long_is_cut_off() {
    let announced = async || {
        (
            [("content-length", "999999999")],
            Body::from_stream(endless()),
        )
    };
    let unannounced = async || Body::from_stream(endless());
    let routes = Router::new()
        .route("/announced", get(announced))
        .route("/unannounced", get(unannounced));
    let address = peer(routes).await;
    let gateway = Gateway::of(&format!("http://{address}"), &[]).await;

    let (status, problem) = json(gateway.get("/jaeger/announced").await).await;
    assert_eq!(status, 502);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("longer than 64 MiB"), "{detail}");

    let mut response = gateway.get("/jaeger/unannounced").await;
    let mut bytes = 0;
    let error = loop {
        match response.chunk().await {
            Ok(piece) => bytes += piece.expect("the body is cut off, not ended").len(),
            Err(error) => break error,
        }
    };
    assert!(bytes <= 64 << 20, "{bytes}: {error}");
}

/// An endless body in chunks of 1 MiB.
fn endless() -> impl Stream<Item = Result<Vec<u8>, Infallible>> {
    stream::repeat_with(|| Ok(vec![b' '; 1 << 20]))
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_a_connection_take_turns() {
    let (called, mut calls) = tokio::sync::mpsc::channel(1);
    let never = async move || {
        called.send(()).await.unwrap();
        std::future::pending::<()>().await;
    };
    let routes = Router::new()
        .route("/never", get(never))
        .fallback(any(echo));
    let address = peer(routes).await;
    let gateway = Gateway::of(&format!("http://{address}"), &[]).await;
    let client = reqwest::Client::builder().http2_prior_knowledge();
    let client = client.build().unwrap();
    let _first = tokio::spawn(client.get(gateway.url("/jaeger/never")).send());
    calls.recv().await.unwrap();
    let second = client.get(gateway.url("/jaeger/")).send();
    let second = tokio::time::timeout(Duration::from_millis(100), second).await;
    assert!(second.is_err(), "{second:?}");
    assert_eq!(gateway.get("/jaeger/").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disconnected_client_cancels_the_request() {
    let (gone, mut ended) = tokio::sync::mpsc::channel(1);
    let silent = async move || {
        let held = Notice(gone.clone());
        let pieces = stream::unfold(held, async |held| {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Some((Ok::<_, Infallible>("tick "), held))
        });
        Body::from_stream(pieces)
    };
    let address = peer(Router::new().route("/", get(silent))).await;
    let gateway = Gateway::of(&format!("http://{address}"), &[]).await;
    let mut response = gateway.get("/jaeger/").await;
    assert!(response.chunk().await.unwrap().is_some());
    drop(response);
    let ended = tokio::time::timeout(Duration::from_secs(30), ended.recv()).await;
    assert_eq!(ended, Ok(Some(())));
}

/// Sends a notification when it is dropped.
struct Notice(tokio::sync::mpsc::Sender<()>);

impl Drop for Notice {
    fn drop(&mut self) {
        let _ = self.0.try_send(());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_jaeger_the_wishlist_works() {
    let gateway = Gateway::of(&format!("http://{}", unused_address()), &[]).await;
    let unavailable = gateway.get("/jaeger/").await;
    assert_eq!(unavailable.headers()["retry-after"], "1");
    assert_eq!(json(unavailable).await.0, 503);
    assert_eq!(gateway.get("/style.css").await.status(), 200);
    assert_eq!(gateway.get("/docs").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_peer_is_cut_off_at_the_deadline() {
    let silent = async || std::future::pending::<()>().await;
    let address = peer(Router::new().route("/", get(silent))).await;
    let url = format!("http://{address}");
    let gateway = Gateway::of(&url, &["--deadline=100ms"]).await;
    let started = Instant::now();
    assert_eq!(json(gateway.get("/jaeger/").await).await.0, 504);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[rstest::rstest]
#[case("/jaeger//evil.example/")]
#[case("/jaeger/@evil.example")]
#[case("/jaeger/..%2f..%2f")]
#[case("/jaeger/%ff%00%0d%0a")]
#[case("/jaeger/?a=%0d%0aset-cookie:%20b=c")]
#[tokio::test(flavor = "multi_thread")]
async fn hostile_paths_stay_on_jaeger(#[case] path: &str) {
    let address = peer(Router::new().fallback(any(echo))).await;
    let gateway = Gateway::of(&format!("http://{address}"), &[]).await;
    let response = gateway.get(path).await;
    assert!(response.status().as_u16() < 500, "{}", response.status());
    assert!(!response.headers().contains_key("set-cookie"));
}
