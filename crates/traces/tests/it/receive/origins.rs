//! Web pages that send spans.

use reqwest::{Client, StatusCode};
use spoor_traces::PipelineSettings;

use super::request;
use crate::{receiver::Receiver, spans::a_to_b};

#[tokio::test]
async fn web_pages_from_this_machine_may_send() {
    let receiver = Receiver::start(PipelineSettings::default()).await;
    let url = format!("http://{}/v1/traces", receiver.http);
    let preflight = |origin: &'static str| {
        Client::new()
            .request(reqwest::Method::OPTIONS, &url)
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,traceparent")
            .send()
    };
    let allowed = preflight("http://localhost:3000").await.unwrap();
    assert_eq!(allowed.status(), StatusCode::NO_CONTENT);
    let headers = allowed.headers();
    assert_eq!(
        headers["access-control-allow-origin"],
        "http://localhost:3000"
    );
    assert_eq!(
        headers["access-control-allow-headers"],
        "content-type,traceparent"
    );
    let refused = preflight("https://evil.example").await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(
        !refused
            .headers()
            .contains_key("access-control-allow-origin")
    );
    let sent = receiver.post(request(a_to_b(1, 1_000, 300, true)));
    let sent = sent.header("origin", "http://127.0.0.1:8080").send();
    let headers = sent.await.unwrap().headers().clone();
    assert_eq!(
        headers["access-control-allow-origin"],
        "http://127.0.0.1:8080"
    );
}
