use jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json as value};
use spoor_testing::unused_address;

use crate::pair::{band_path, bands, get, json, ok, reviews};

fn assert_times(body: &Value) {
    let time = |name: &str| body[name].as_str().unwrap().parse::<Timestamp>().unwrap();
    assert!(time("created") < time("succeeded_at"), "{body}");
    for name in ["created", "succeeded_at"] {
        assert!(body[name].as_str().unwrap().ends_with('Z'), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn band_has_its_reviews() {
    let reviews = reviews().await;
    let bands = bands(reviews.address, &[]).await;
    let (body, _) = ok(get(bands.address, &band_path()).await).await;
    assert_eq!(
        band_path(),
        format!("/bands/{}", body["uuid"].as_str().unwrap())
    );
    assert_times(&body);
    assert_eq!(body["result"]["name"], "The Tail Samplers");
    assert!(body["result"].get("degraded").is_none(), "{body}");
    let listed = body["result"]["reviews"].as_array().unwrap();
    assert_eq!(listed.len(), 2);
    for review in listed {
        let path = format!("/reviews/{}", review["uuid"].as_str().unwrap());
        let (alone, _) = ok(get(reviews.address, &path).await).await;
        assert_times(&alone);
        assert_eq!(alone["uuid"], review["uuid"]);
        assert_eq!(alone["result"], value!({"body": review["body"]}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_listed_band_exists() {
    let reviews = reviews().await;
    let bands = bands(reviews.address, &[]).await;
    let (list, _) = ok(get(bands.address, "/bands").await).await;
    let list = list["bands"].as_array().unwrap();
    assert_eq!(list.len(), 4);
    for band in list {
        let path = format!("/bands/{}", band["uuid"].as_str().unwrap());
        let (body, _) = ok(get(bands.address, &path).await).await;
        assert_eq!(body["result"]["name"], band["name"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_services_are_healthy() {
    let reviews = reviews().await;
    let bands = bands(unused_address(), &[]).await;
    for address in [reviews.address, bands.address] {
        let (body, _) = ok(get(address, "/health").await).await;
        assert_eq!(body, value!({"status": "ok"}));
    }
}

#[rstest]
#[case::unknown("/00000000-0000-4000-8000-000000000000", 404, "uuid: no ")]
#[case::malformed("/1", 422, "uuid: must be a UUID")]
#[case::braced("/%7B3f2b8c1e-5d6a-4f7b-9c8d-1e2f3a4b5c6d%7D", 422, "uuid: must")]
#[case::not_utf8("/%ff", 422, "uuid: must")]
#[case::elsewhere("/a/b", 404, "no resource at this path")]
#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_and_ids_return_problems(
    #[case] path: &str,
    #[case] status: u16,
    #[case] detail: &str,
) {
    let reviews = reviews().await;
    let bands = bands(reviews.address, &[]).await;
    for (address, kind) in [(bands.address, "bands"), (reviews.address, "reviews")] {
        let (actual, body) = json(get(address, &format!("/{kind}{path}")).await).await;
        assert_eq!(actual, status, "{body}");
        assert!(
            body["detail"].as_str().unwrap().starts_with(detail),
            "{body}"
        );
        assert_eq!(body["traceId"].as_str().unwrap().len(), 32);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_are_refused() {
    let bands = bands(unused_address(), &[]).await;
    let client = reqwest::Client::new();
    let url = format!("http://{}{}", bands.address, band_path());
    let (status, _) = json(client.post(url).body("{}").send().await.unwrap()).await;
    assert_eq!(status, 405);
}
