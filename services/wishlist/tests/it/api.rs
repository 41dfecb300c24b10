use serde_json::{Value, json};
use spoor_wishlist::WishName;

use crate::running::{Gateway, both, json};

const JSON: &str = "application/json";

async fn add(gateway: &Gateway, name: &str) -> Value {
    let body = json!({ "name": name }).to_string();
    let response = gateway
        .post("/api/wishes", JSON, body)
        .send()
        .await
        .unwrap();
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let (status, wish) = json(response).await;
    assert_eq!(status, 201);
    assert_eq!(
        location,
        format!("/api/wishes/{}", wish["id"].as_str().unwrap())
    );
    wish
}

#[tokio::test(flavor = "multi_thread")]
async fn adds_lists_and_deletes() {
    let (_wishlist, gateway) = both().await;
    let bike = add(&gateway, " a bike ").await;
    let kite = add(&gateway, "a kite").await;
    assert_eq!(bike["name"], "a bike");
    assert!(bike["created"].as_str().unwrap().ends_with('Z'), "{bike}");
    let (status, list) = json(gateway.get("/api/wishes").await).await;
    assert_eq!((status, &list), (200, &json!({ "wishes": [kite, bike] })));

    let path = format!("/api/wishes/{}", bike["id"].as_str().unwrap());
    assert_eq!(gateway.delete(&path).await.status(), 204);
    assert_eq!(json(gateway.delete(&path).await).await.0, 404);
    let (_, list) = json(gateway.get("/api/wishes").await).await;
    assert_eq!(list, json!({ "wishes": [kite] }));
}

#[rstest::rstest]
#[case(JSON, r#"{"name": ""}"#, 422, "name: must not be empty")]
#[case(JSON, r#"{"name": "a\nb"}"#, 422, "name: must be on one line")]
#[case(
    JSON,
    r#"{"name": 5}"#,
    422,
    "name: must be a string, not 5; send a JSON object such as {\"name\": "
)]
#[case(JSON, "{}", 422, "missing field `name`")]
#[case(JSON, r#"{"name": "a", "size": 1}"#, 422, "unknown field `size`")]
#[case(JSON, r#"{"name": "#, 400, "the JSON in the body is incomplete")]
#[case(
    JSON,
    "",
    400,
    "the body is empty; send a JSON object such as {\"name\": "
)]
#[case("text/plain", r#"{"name": "a"}"#, 415, "application/json")]
#[tokio::test(flavor = "multi_thread")]
async fn invalid_wishes_are_refused(
    #[case] kind: &str,
    #[case] body: &str,
    #[case] status: u16,
    #[case] detail: &str,
) {
    let (_wishlist, gateway) = both().await;
    let response = gateway
        .post("/api/wishes", kind, body)
        .send()
        .await
        .unwrap();
    let (actual, problem) = json(response).await;
    assert_eq!(actual, status, "{problem}");
    assert!(
        problem["detail"].as_str().unwrap().contains(detail),
        "{problem}"
    );
    assert_eq!(problem["traceId"].as_str().unwrap().len(), 32);
}

#[rstest::rstest]
#[case(WishName::MAX_CHARS, 201)]
#[case(WishName::MAX_CHARS + 1, 422)]
#[case(9000, 413)]
#[tokio::test(flavor = "multi_thread")]
async fn name_lengths_are_bounded(#[case] chars: usize, #[case] status: u16) {
    let (_wishlist, gateway) = both().await;
    let body = json!({ "name": "x".repeat(chars) }).to_string();
    let response = gateway
        .post("/api/wishes", JSON, body)
        .send()
        .await
        .unwrap();
    assert_eq!(json(response).await.0, status);
}

#[rstest::rstest]
#[case("/api/wishes/00000000-0000-4000-8000-000000000000")]
#[case("/api/wishes/no-id")]
#[case("/api/wishes/%80")]
#[tokio::test(flavor = "multi_thread")]
async fn unknown_ids_are_a_404(#[case] path: &str) {
    let (_wishlist, gateway) = both().await;
    let (status, problem) = json(gateway.delete(path).await).await;
    assert_eq!(
        (status, &problem["detail"]),
        (404, &"no wish with this ID".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_and_methods_are_problems() {
    let (_wishlist, gateway) = both().await;
    assert_eq!(json(gateway.get("/api/other").await).await.0, 404);
    assert_eq!(json(gateway.delete("/api/wishes").await).await.0, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_wishlist_requests_fail() {
    let gateway = Gateway::alone().await;
    let response = gateway.get("/api/wishes").await;
    assert_eq!(response.headers()["retry-after"], "1");
    let (status, problem) = json(response).await;
    assert_eq!(status, 503);
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("cannot be reached"),
        "{problem}"
    );
}
