//! The options of `spoor up` for its OTLP ports.

use reqwest::{Client, Response};

use crate::lab::{self, Lab};

const ORIGIN: &str = "access-control-allow-origin";

async fn post(lab: &Lab, path: &str, origin: &str) -> Response {
    let url = format!("{}{path}", lab.url("otlp-http"));
    let request = Client::new().post(url).header("origin", origin);
    let json = request.header("content-type", "application/json");
    json.body("{}").send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn listed_origins_replace_the_default() {
    let origins = "https://shop.example,https://other.example";
    let lab = Lab::start_with(&["--services", "service-b", "--otlp-origins", origins]).await;
    for allowed in ["https://shop.example", "https://other.example"] {
        let response = post(&lab, "/v1/traces", allowed).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[ORIGIN], allowed);
    }
    for refused in ["http://localhost:3000", "https://evil.example"] {
        let response = post(&lab, "/v1/traces", refused).await;
        assert_eq!(response.status(), 403, "{refused}");
        assert!(!response.headers().contains_key(ORIGIN));
        assert!(response.text().await.unwrap().contains("--otlp-origins"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn asterisk_allows_every_origin() {
    let options = ["--services", "service-b", "--otlp-origins", "*"];
    let lab = Lab::start_with(&options).await;
    let response = post(&lab, "/v1/traces", "https://shop.example").await;
    assert_eq!(response.headers()[ORIGIN], "https://shop.example");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_signals_are_discarded_on_request() {
    let options = ["--services", "service-b", "--discard-other-signals"];
    let lab = Lab::start_with(&options).await;
    for path in ["/v1/metrics", "/v1/logs", "/v1development/profiles"] {
        let response = post(&lab, path, "http://localhost").await;
        assert_eq!(response.status(), 200, "{path}");
    }
    let metrics = format!("{}/metrics", lab.url("admin"));
    let metrics = reqwest::get(metrics).await.unwrap().text().await.unwrap();
    for signal in ["metrics", "logs", "profiles"] {
        let counted = format!("requests_discarded_total{{signal=\"{signal}\"}} 1");
        assert!(metrics.contains(&counted), "{metrics}");
    }
}

#[rstest::rstest]
#[case::no_scheme("SPOOR_OTLP_ORIGINS", "shop.example", "https://shop.example")]
#[case::a_path("SPOOR_OTLP_ORIGINS", "https://shop.example/", "https://shop.example")]
#[case::one_of_two("SPOOR_OTLP_ORIGINS", "https://a.example,b", "\"b\"")]
#[case::not_a_boolean("SPOOR_DISCARD_OTHER_SIGNALS", "perhaps", "true, false")]
#[tokio::test]
async fn bad_values_are_refused(#[case] name: &str, #[case] value: &str, #[case] expected: &str) {
    let mut command = lab::command();
    let ended = lab::run(command.arg("up").env(name, value), "").await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains(expected), "{}", ended.stderr);
}
