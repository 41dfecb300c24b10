#![allow(clippy::unwrap_used)]

use axum::{Router, body::Body, response::IntoResponse, routing::get};
use rstest::rstest;
use tower::ServiceExt;

use super::*;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "count", default)]
    _count: u64,
    #[serde(rename = "parts", default)]
    _parts: Vec<Part>,
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(rename = "size")]
    _size: Option<u8>,
}

impl RequestBody for Wish {
    const EXAMPLE: &'static str = "{\"name\": \"tea\"}";
}

async fn refused(content_type: Option<&str>, body: &str) -> (u16, String) {
    let request = content_type
        .into_iter()
        .fold(Request::builder(), |request, it| {
            request.header(header::CONTENT_TYPE, it)
        });
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let problem = JsonBody::<Wish>::from_request(request, &())
        .await
        .unwrap_err();
    let detail = problem
        .detail
        .strip_suffix("; send a JSON object such as {\"name\": \"tea\"}");
    (problem.status, detail.unwrap_or(&problem.detail).to_owned())
}

#[rstest]
#[case("", 400, "the body is empty")]
#[case("{\"name\": ", 400, "the JSON in the body is incomplete")]
#[case("name", 400, "the body is not JSON: expected ident at line 1 column 2")]
#[case("{} {}", 422, "missing field `name`")]
#[case(
    "{\"name\": \"x\"} 5",
    400,
    "the body is not JSON: trailing characters at line 1 column 15"
)]
#[case("[]", 422, "must be an object, not a list")]
#[case("[\"tea\"]", 422, "must be an object, not a list")]
#[case("null", 422, "must be an object, not null")]
#[case("{}", 422, "missing field `name`")]
#[case("{\"name\": 5}", 422, "name: must be a string, not 5")]
#[case("{\"name\": 5.5}", 422, "name: must be a string, not 5.5")]
#[case("{\"name\": true}", 422, "name: must be a string, not true")]
#[case("{\"name\": {}}", 422, "name: must be a string, not an object")]
#[case(
    "{\"name\": \"a\", \"count\": -1}",
    422,
    "count: must be a whole number, not -1"
)]
#[case(
    "{\"name\": \"a\", \"count\": \"a, expected b at line 1 column 1\"}",
    422,
    "count: must be a whole number, not \"a, expected b at line 1 column 1\""
)]
#[case("{\"name\": \"a\", \"name\": \"b\"}", 422, "duplicate field `name`")]
#[case(
    "{\"text\": \"a\"}",
    422,
    "unknown field `text`, expected one of `name`, `count`, `parts`"
)]
#[case("{\"parts\": [7]}", 422, "parts[0]: must be an object, not 7")]
#[case(
    "{\"parts\": [{\"size\": 256}]}",
    422,
    "parts[0].size: must be a whole number, not 256"
)]
#[tokio::test]
async fn refusal_names_field_and_value(
    #[case] body: &str,
    #[case] status: u16,
    #[case] detail: &str,
) {
    let json = Some("application/json; charset=utf-8");
    assert_eq!(refused(json, body).await, (status, detail.to_owned()));
}

#[rstest]
#[case(None, "the header Content-Type is missing; set it to application/json")]
#[case(
    Some("text/plain"),
    "Content-Type must be application/json, not text/plain"
)]
#[tokio::test]
async fn refusal_names_the_content_type(#[case] kind: Option<&str>, #[case] detail: &str) {
    assert_eq!(refused(kind, "{}").await, (415, detail.to_owned()));
}

#[tokio::test]
async fn long_names_and_values_are_shortened() {
    let json = Some("application/json");
    let long = "ä".repeat(9_000);
    for body in [
        format!("{{\"{long}\": 1}}"),
        format!("{{\"name\": \"a\", \"count\": \"{long}\"}}"),
    ] {
        let (_, detail) = refused(json, &body).await;
        assert!(
            detail.contains("ää") && detail.chars().count() <= MAX_ERROR_CHARS + 1,
            "{detail}"
        );
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(rename = "after")]
    _after: Option<String>,
    #[serde(rename = "limit")]
    _limit: Option<u16>,
}

#[rstest]
#[case("limit=a%20b", "limit: must be a whole number, not \"a b\"")]
#[case("limit=65536", "limit: must be a whole number, not \"65536\"")]
#[case("after=1&after=2", "duplicate parameter `after`; pass it once")]
#[case("size=1", "unknown parameter `size`, expected `after` or `limit`")]
#[tokio::test]
async fn refusal_names_the_parameter(#[case] query: &str, #[case] detail: &str) {
    let request = Request::get(format!("/?{query}")).body(()).unwrap();
    let (mut parts, ()) = request.into_parts();
    let problem = QueryParameters::<Page>::from_request_parts(&mut parts, &()).await;
    let problem = problem.unwrap_err();
    assert_eq!((problem.status, &*problem.detail), (400, detail));
}

#[tokio::test]
async fn undecodable_path_is_a_problem() {
    let show = get(async |PathParameters(name): PathParameters<String>| name.into_response());
    let router = Router::new().route("/wishes/{id}", show);
    let request = Request::get("/wishes/%80").body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 400);
    let body = axum::body::to_bytes(response.into_body(), 1_000)
        .await
        .unwrap();
    let problem: Problem = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem.detail, "id in the path must be UTF-8 once decoded");
}
