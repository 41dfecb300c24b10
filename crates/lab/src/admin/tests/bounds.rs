//! Bounds on requests and responses.

use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, header};
use serde_json::json;
use spoor_api::read;

use super::{Api, POLICY, request};
use crate::{admin::state::MAX_WAITING_REQUESTS, wire::MAX_BODY_BYTES};

#[tokio::test]
async fn faults_of_a_service_are_bounded() {
    let api = Api::start(&[]);
    for number in 0..64 {
        let fault = json!({"operation": format!("op-{number}"), "errors": "5%"}).to_string();
        api.post("/v1/faults/service-b", "application/json", fault)
            .await
            .json();
    }
    let fault = json!({"errors": "5%"}).to_string();
    let refused = api
        .post("/v1/faults/service-b", "application/json", fault)
        .await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.body.contains("64 faults"), "{}", refused.body);
}

#[tokio::test]
async fn total_size_of_policies_is_bounded() {
    let api = Api::start(&[]);
    let operations: Vec<String> = (0..60).map(|n| format!("{n:0>230}")).collect();
    let target = |number| json!({"service": format!("s{number}"), "operations": operations});
    let targets: Vec<_> = (0..4).map(target).collect();
    let policy = |number: usize| {
        let policy = json!({
            "apiVersion": "spoor.dev/v1alpha1",
            "kind": "SamplingPolicy",
            "metadata": {"name": format!("policy-{number}")},
            "spec": {"targets": targets, "head": {"probability": "1%"}},
        });
        format!("---\n{policy}\n")
    };
    // Three, since each may be at most a megabyte.
    let documents = [0..14, 14..28, 28..40].map(|numbers| {
        let text: String = numbers.map(policy).collect();
        json!({"source": "policies", "text": text})
    });
    let body = json!({ "documents": documents }).to_string();
    let refused = api.post("/v1/policies", "application/json", body).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        refused.body.contains("bytes in total, more than"),
        "{}",
        refused.body
    );
    let kept = api.call(Method::GET, "/v1/policies").await.json();
    assert_eq!(kept, json!([]), "nothing was applied");
}

#[tokio::test]
async fn operations_of_a_service_are_bounded() {
    let api = Api::start(&[]);
    let policies = |spec: serde_json::Value| -> String {
        let policy = |number: usize| {
            let operations: Vec<String> = (0..64).map(|it| format!("op-{number}-{it}")).collect();
            let mut policy = json!({
                "apiVersion": "spoor.dev/v1alpha1",
                "kind": "SamplingPolicy",
                "metadata": {"name": format!("policy-{number}")},
                "spec": spec,
            });
            let target = json!({"service": "service-b", "operations": operations});
            policy["spec"]["targets"] = json!([target]);
            format!("---\n{policy}\n")
        };
        (0..65).map(policy).collect()
    };
    let heads = policies(json!({"head": {"probability": "1%"}}));
    let refused = api.post("/v1/policies", "application/yaml", heads).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let limit = "with a head apply to 4160 operations of service-b, more than the limit of 4096";
    assert!(refused.body.contains(limit), "{}", refused.body);
    // Tail rules are not part of a service's plan.
    let tails = policies(json!({"tail": {"otherwise": "1%"}}));
    let applied = api.post("/v1/policies", "application/yaml", tails).await;
    assert_eq!(applied.status, StatusCode::OK, "{}", applied.body);
}

#[tokio::test]
async fn too_many_waiting_requests_are_refused() {
    let api = Api::start(&[]);
    // A version that is never published.
    let path = "/v1/converged?within=600000&sequence=9999999999&policies=default/p";
    let mut waiting: Vec<_> = (0..MAX_WAITING_REQUESTS)
        .map(|_| Box::pin(api.call(Method::GET, path)))
        .collect();
    for request in &mut waiting {
        let response = tokio::time::timeout(Duration::ZERO, request).await;
        assert!(response.is_err(), "it waits");
    }
    let refused = api.call(Method::GET, path).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.retry_after, Some(HeaderValue::from_static("1")));
    assert!(
        refused.body.contains("128 requests are waiting"),
        "{}",
        refused.body
    );
    // A client that disconnects releases its permit.
    waiting.pop();
    let mut next = Box::pin(api.call(Method::GET, path));
    let response = tokio::time::timeout(Duration::ZERO, &mut next).await;
    assert!(response.is_err(), "it waits");
}

#[tokio::test]
async fn long_work_needs_a_permit() {
    let api = Api::start(&[]);
    let permits = &api.permits;
    for (path, permits) in [
        ("/v1/faults", &permits.faults),
        ("/v1/converged", &permits.checks),
    ] {
        let permit = permits.acquire().await.unwrap();
        let call = api.call(Method::GET, path);
        let response = tokio::time::timeout(Duration::from_millis(50), call).await;
        assert!(response.is_err(), "{path} waits");
        drop(permit);
        api.call(Method::GET, path).await.json();
    }
}

#[tokio::test]
async fn largest_body_is_accepted() {
    let api = Api::start(&[]);
    let documents = json!({"documents": [{"source": "a.yaml", "text": POLICY}]}).to_string();
    let padding = " ".repeat(MAX_BODY_BYTES - documents.len());
    let largest = format!("{documents}{padding}");
    let too_large = format!("{largest} ");
    for path in ["/v1/policies", "/v1/diff", "/v1/faults/service-b"] {
        let refused = api.post(path, "application/json", too_large.clone()).await;
        assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        let limit = r#""detail":"send at most 4 MiB at once"}"#;
        assert!(refused.body.ends_with(limit), "{path}: {}", refused.body);
    }
    let applied = api.post("/v1/policies", "application/json", largest).await;
    assert_eq!(applied.json()["policies"][0]["action"], "created");
}

#[tokio::test]
async fn document_over_the_limit_is_refused_as_too_large() {
    let api = Api::start(&[]);
    let text = format!("{POLICY}\n{}", "#".repeat(read::MAX_BYTES));
    for path in ["/v1/policies", "/v1/diff"] {
        let refused = api.post(path, "application/yaml", text.clone()).await;
        assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        let limit = "body: must be at most 1048576 bytes, not ";
        assert!(refused.body.contains(limit), "{path}: {}", refused.body);
    }
}

#[tokio::test]
async fn compressed_body_is_refused() {
    let api = Api::start(&[]);
    for path in ["/v1/policies", "/v1/diff", "/v1/faults/service-b"] {
        for (bytes, status) in [
            (20, StatusCode::UNSUPPORTED_MEDIA_TYPE),
            (MAX_BODY_BYTES + 1, StatusCode::PAYLOAD_TOO_LARGE),
        ] {
            let mut request = request(Method::POST, path, vec![0x1f_u8; bytes].into());
            let headers = request.headers_mut();
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            let json = HeaderValue::from_static("application/json");
            headers.insert(header::CONTENT_TYPE, json);
            assert_eq!(api.send(request).await.status, status, "{path}");
        }
    }
}

#[tokio::test]
async fn source_over_the_limit_is_refused() {
    let api = Api::start(&[]);
    let fields: String = (0..60).map(|number| format!("a{number}: 1\n")).collect();
    let post = async |source: &str| {
        let document = json!({"source": source, "text": format!("{POLICY}\n{fields}")});
        let body = json!({"documents": [document]}).to_string();
        api.post("/v1/diff", "application/json", body).await
    };
    let refused = post(&"s".repeat(100_000)).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let limit = "the source of a document must be at most 1024 bytes, not 100000";
    assert!(refused.body.contains(limit), "{}", refused.body);
    assert!(refused.body.len() < 1_000);
    let refused = post(&"s".repeat(1_024)).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn long_settings_are_shortened_in_differences() {
    let api = Api::start(&[]);
    let operations: Vec<String> = (0..64).map(|number| format!("GET /{number}")).collect();
    let diff = async |last: &str| {
        let mut values: Vec<String> = (0..63).map(|number| format!("{number:0>250}")).collect();
        values.push(last.to_owned());
        let attribute = json!({"key": "k", "values": values});
        let policy = json!({
            "apiVersion": "spoor.dev/v1alpha1",
            "kind": "SamplingPolicy",
            "metadata": {"name": "long"},
            "spec": {
                "targets": [{"service": "service-b", "operations": operations}],
                "tail": {"keep": [{"name": "a", "attribute": attribute}], "otherwise": "1%"},
            },
        });
        let policy = policy.to_string();
        let compared = api
            .post("/v1/diff", "application/yaml", policy.clone())
            .await;
        api.post("/v1/policies", "application/yaml", policy).await;
        assert!(compared.body.len() < 100_000, "{}", compared.body.len());
        compared.json()["differences"].as_array().unwrap().len()
    };
    assert_eq!(diff("gold").await, 64);
    assert_eq!(diff("gold").await, 0);
    // A change beyond the part that is shown still counts as a difference.
    assert_eq!(diff("silver").await, 64);
}
