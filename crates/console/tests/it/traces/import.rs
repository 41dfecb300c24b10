//! A trace from a file.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, StatusCode, header};

use super::{
    pages::{START, TRACE, store},
    serve::Server,
    spans::{a_to_b, batch, insert, span},
};

/// Sends the form with a file's content.
async fn import(server: &Server, json: &str) -> (StatusCode, String) {
    let (_, form) = server.text("/import").await;
    let (_, token) = form.split_once("name=\"token\" value=\"").unwrap();
    let (token, _) = token.split_once('"').unwrap();
    let json = utf8_percent_encode(json, NON_ALPHANUMERIC);
    let request = Client::new()
        .post(server.url("/import"))
        .header(header::ORIGIN, server.url(""))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(format!("token={token}&json={json}"));
    let response = request.send().await.unwrap();
    (response.status(), response.text().await.unwrap())
}

#[tokio::test]
async fn downloaded_trace_can_be_imported() {
    let full = store();
    insert(&full, a_to_b(1, START, 100, true));
    let (_, file) = Server::start(&full)
        .await
        .text(&format!("{TRACE}.json"))
        .await;
    let server = Server::start(&store()).await;
    let (status, page) = import(&server, &file).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    for expected in ["imported, not stored", "heavy_calc", "The error began in"] {
        assert!(page.contains(expected), "{expected} is missing");
    }
    assert!(!page.contains("Compare with") && !page.contains("?view="));
    let (status, _) = server.text(TRACE).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn imported_names_stay_text() {
    const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x>\u{202e}";
    let full = store();
    let one = span(1, 1, 0, HOSTILE, START, START + 5);
    insert(&full, vec![batch(HOSTILE, vec![one])]);
    let (_, file) = Server::start(&full)
        .await
        .text(&format!("{TRACE}.json"))
        .await;
    let (status, page) = import(&Server::start(&store()).await, &file).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("&lt;script&gt;alert(1)"));
    assert!(!page.contains("<script>") && !page.contains("<img") && !page.contains('\u{202e}'));
}

#[tokio::test]
async fn file_that_cannot_be_shown_is_explained() {
    let spans = |ids: &[&str]| {
        let span = |id: &&str| format!("{{\"traceId\":\"{id}\"}}");
        let spans: Vec<String> = ids.iter().map(span).collect();
        let spans = spans.join(",");
        format!("{{\"resourceSpans\":[{{\"scopeSpans\":[{{\"spans\":[{spans}]}}]}}]}}")
    };
    let (one, other) = ("0".repeat(31) + "1", "0".repeat(31) + "2");
    let server = Server::start(&store()).await;
    for (json, expected) in [
        ("<script>".to_owned(), "the file is not OTLP JSON"),
        ("{}".to_owned(), "the file has no spans"),
        (
            "{\"data\":[{\"traceID\":\"1\"}]}".to_owned(),
            "the file is in Jaeger",
        ),
        (spans(&["0102"]), "the trace ID of a span has 2 bytes"),
        (spans(&[one.as_str(), other.as_str()]), "several traces"),
        ("{".repeat(200_001), "more than 200000 objects"),
    ] {
        let (status, page) = import(&server, &json).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{expected}");
        assert!(page.contains(expected), "{expected}: {page}");
        assert!(page.contains("name=\"json\"") && !page.contains("<script>"));
    }
}

#[tokio::test]
async fn too_large_file_is_refused() {
    let server = Server::start(&store()).await;
    let (status, page) = import(&server, &"x".repeat((16 << 20) + 1)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{page}");
}

#[tokio::test]
async fn import_from_another_site_is_refused() {
    let server = Server::start(&store()).await;
    let request = Client::new()
        .post(server.url("/import"))
        .header(header::ORIGIN, "http://evil.example")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body("json=%7B%7D");
    assert_eq!(
        request.send().await.unwrap().status(),
        StatusCode::FORBIDDEN
    );
}
