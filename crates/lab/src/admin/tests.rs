//! The API with a control plane, a pipeline and a policy store, but without service processes.
#![allow(clippy::unwrap_used)]

mod bounds;

use std::sync::Arc;

use axum::{Router, body::Body};
use http::{HeaderValue, Method, Request, StatusCode, header};
use serde_json::{Value, json};
use spoor_control::{Control, Instance};
use spoor_policy::{Namespace, ServiceName};
use spoor_traces::Pipeline;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{Admin, Permits, router};
use crate::{policies::PolicyStore, serve, service::Service, supervisor::Roster};

const POLICY: &str = "apiVersion: spoor.dev/v1alpha1
kind: SamplingPolicy
metadata: {name: one}
spec: {targets: [{service: service-b}], head: {probability: 1%}}";

struct Api {
    router: Router,
    control: Control,
    permits: Permits,
    folder: TempDir,
}

struct Response {
    status: StatusCode,
    content_type: String,
    retry_after: Option<HeaderValue>,
    body: String,
}

impl Api {
    /// A lab that has service-b, which is not running, and a watched folder with these files.
    fn start(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let watched = folder.path().join("watched");
        std::fs::create_dir(&watched).unwrap();
        for (name, text) in files {
            std::fs::write(watched.join(name), text).unwrap();
        }
        let control = Control::new(spoor_control::ControlSettings::default());
        let stop = CancellationToken::new();
        let pipeline = Pipeline::start(spoor_traces::PipelineSettings::default(), stop);
        let saved = folder.path().join("policies.json");
        let policies = PolicyStore::open(control.clone(), pipeline.clone(), saved, Some(watched));
        let urls = [(
            "service-b-ops".to_owned(),
            "http://127.0.0.1:9465".to_owned(),
        )];
        let admin = Admin {
            policies: policies.unwrap(),
            roster: Arc::new(Roster::new([Service::ServiceB], control.clone())),
            decision_wait: pipeline.decision_wait(),
            urls: Arc::new(urls.into()),
            metrics: Arc::new(serve::metrics(&control, &pipeline)),
            control: control.clone(),
            permits: Permits::default(),
        };
        Self {
            permits: admin.permits.clone(),
            router: router(admin),
            control,
            folder,
        }
    }

    async fn send(&self, request: Request<Body>) -> Response {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let content_type = response.headers().get(header::CONTENT_TYPE);
        let content_type = content_type.map(|it| it.to_str().unwrap().to_owned());
        let retry_after = response.headers().get(header::RETRY_AFTER).cloned();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        Response {
            status,
            content_type: content_type.unwrap_or_default(),
            retry_after,
            body: String::from_utf8(body.unwrap().to_vec()).unwrap(),
        }
    }

    async fn call(&self, method: Method, path: &str) -> Response {
        self.send(request(method, path, Body::empty())).await
    }

    async fn post(&self, path: &str, content_type: &str, body: impl Into<Body>) -> Response {
        let mut request = request(Method::POST, path, body.into());
        let content_type = content_type.parse().unwrap();
        request
            .headers_mut()
            .insert(header::CONTENT_TYPE, content_type);
        self.send(request).await
    }
}

impl Response {
    fn json(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        serde_json::from_str(&self.body).unwrap()
    }
}

fn request(method: Method, path: &str, body: Body) -> Request<Body> {
    let request = Request::builder().method(method).uri(path);
    request.body(body).unwrap()
}

#[tokio::test]
async fn apply_reports_the_action_for_each_policy() {
    let api = Api::start(&[]);
    for action in ["created", "unchanged"] {
        let applied = api.post("/v1/policies", "application/yaml", POLICY).await;
        let policies = &applied.json()["policies"];
        assert_eq!(policies[0]["name"], "one");
        assert_eq!(policies[0]["action"], action);
    }
    let changed = POLICY.replace("1%", "2%");
    let documents = json!({"documents": [{"source": "x.yaml", "text": changed}]});
    let json = "application/json; charset=utf-8";
    let applied = api.post("/v1/policies", json, documents.to_string()).await;
    assert_eq!(applied.json()["policies"][0]["action"], "configured");
    let policy = api.call(Method::GET, "/v1/policies/default/one").await;
    assert_eq!(policy.json()["spec"]["head"]["probability"], "2%");
    assert_eq!(policy.json()["metadata"]["generation"], 2);
}

#[tokio::test]
async fn refused_policies_change_nothing() {
    let api = Api::start(&[]);
    let text = format!("{POLICY}\n---\n{}", POLICY.replace("1%", "200%"));
    let refused = api
        .post("/v1/policies?source=a.yaml", "application/yaml", text)
        .await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused.content_type, "application/problem+json");
    let problem: Value = serde_json::from_str(&refused.body).unwrap();
    assert_eq!(problem["title"], "Invalid policies");
    let errors = problem["errors"].as_array().unwrap();
    assert!(
        errors[0].as_str().unwrap().starts_with("a.yaml:"),
        "{problem}"
    );
    let policies = api.call(Method::GET, "/v1/policies").await;
    assert_eq!(policies.json(), json!([]));
}

#[tokio::test]
async fn diff_compares_without_applying() {
    let api = Api::start(&[]);
    let compared = api
        .post("/v1/diff", "application/yaml", POLICY)
        .await
        .json();
    let difference = &compared["differences"][0];
    assert_eq!(difference["service"], "service-b");
    assert_eq!(difference["before"], Value::Null);
    assert_eq!(difference["after"]["setting"], "1%");
    let policies = api.call(Method::GET, "/v1/policies/default").await;
    assert_eq!(policies.json(), json!([]));
}

#[tokio::test]
async fn same_names_have_separate_warnings() {
    let api = Api::start(&[]);
    let policy = POLICY.replace("service-b}", "service-b, operations: [GET /]}");
    let policy = policy.replace("probability: 1%", "rateLimit: {tracesPerSecond: 1}");
    let other = policy.replace("name: one", "name: one, namespace: shop");
    let both = format!("{policy}\n---\n{other}");
    let compared = api.post("/v1/diff", "application/yaml", both).await.json();
    let warned = compared["warnings"].as_object().unwrap().keys();
    assert_eq!(warned.collect::<Vec<_>>(), ["default/one", "shop/one"]);
}

#[tokio::test]
async fn applied_policy_can_be_deleted_once() {
    let api = Api::start(&[]);
    api.post("/v1/policies", "application/yaml", POLICY)
        .await
        .json();
    let path = "/v1/policies/default/one";
    let deleted = api.call(Method::DELETE, path).await.json();
    assert_eq!(deleted["action"], "deleted");
    let again = api.call(Method::DELETE, path).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn watched_policy_cannot_be_deleted() {
    let api = Api::start(&[("one.yaml", POLICY), ("broken.txt", "not a policy file")]);
    let refused = api.call(Method::DELETE, "/v1/policies/default/one").await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    let folder = api.folder.path().join("watched");
    assert!(
        refused.body.contains(&folder.display().to_string()),
        "{}",
        refused.body
    );
    let policy = api.call(Method::GET, "/v1/policies/default/one").await;
    assert_eq!(policy.json()["metadata"]["name"], "one");
}

#[tokio::test]
async fn invalid_watched_file_is_in_the_status() {
    let api = Api::start(&[("bad.yaml", "kind: Nope")]);
    let status = api.call(Method::GET, "/v1/status").await.json();
    let errors = status["folder"]["errors"].as_array().unwrap();
    assert!(
        errors[0].as_str().unwrap().contains("bad.yaml:1"),
        "{status}"
    );
    assert_eq!(status["services"][0]["name"], "service-b");
    assert_eq!(status["services"][0]["state"], "waiting");
}

#[tokio::test]
async fn fault_replaces_earlier_fault_of_operation() {
    let api = Api::start(&[]);
    let path = "/v1/faults/service-b";
    for (fault, of_service) in [
        (json!({"delayMilliseconds": 5}), 1),
        (json!({"delayMilliseconds": 7, "errors": "20%"}), 1),
        (json!({"operation": "Calc", "errors": "5%"}), 2),
    ] {
        let faults = api.post(path, "application/json", fault.to_string()).await;
        let faults = faults.json();
        assert_eq!(
            faults["service-b"].as_array().unwrap().len(),
            of_service,
            "{faults}"
        );
    }
    let listed = api.call(Method::GET, "/v1/faults").await.json();
    let whole = json!({"delayMilliseconds": 7, "errors": "20%"});
    assert!(
        listed["service-b"].as_array().unwrap().contains(&whole),
        "{listed}"
    );
    let cleared = api.call(Method::DELETE, "/v1/faults").await.json();
    assert_eq!(cleared, json!({}));
}

#[tokio::test]
async fn converges_at_once_without_instances() {
    let api = Api::start(&[]);
    let converged = api
        .call(Method::GET, "/v1/converged?within=1000")
        .await
        .json();
    assert_eq!(
        (&converged["converged"], &converged["expected"]),
        (&json!(true), &json!(0))
    );
}

#[tokio::test]
async fn immediate_requests_count_towards_the_limit() {
    let api = Api::start(&[]);
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let request = request(Method::GET, "/v1/converged", Body::empty());
        requests.spawn(api.router.clone().oneshot(request));
    }
    let responses = requests.join_all().await;
    let statuses = responses.into_iter().map(|it| it.unwrap().status());
    let (converged, refused): (Vec<_>, Vec<_>) = statuses.partition(|it| it.is_success());
    assert!(converged.len() >= 128, "{converged:?}");
    assert!(refused.contains(&StatusCode::SERVICE_UNAVAILABLE));
}

#[tokio::test]
async fn names_at_most_100_unconverged_instances() {
    let api = Api::start(&[]);
    let instance = |number: usize| Instance {
        namespace: Namespace::default(),
        service: ServiceName::new("service-c").unwrap(),
        id: format!("{number:03}"),
    };
    api.control.set_expected((0..120).map(instance).collect());
    for path in ["/v1/converged", "/v1/converged?policies=default/one"] {
        let converged = api.call(Method::GET, path).await.json();
        assert_eq!(converged["converged"], json!(false), "{path}");
        let waiting = converged["waiting"].as_array().unwrap();
        assert_eq!(waiting.len(), 101, "{converged}");
        assert_eq!(waiting[0], "service-c 000");
        assert_eq!(waiting[100], "20 more");
    }
}

#[tokio::test]
async fn same_service_counts_in_each_namespace() {
    let api = Api::start(&[]);
    let other = POLICY.replace("name: one", "name: one, namespace: shop");
    let both = format!("{POLICY}\n---\n{other}");
    api.post("/v1/policies", "application/yaml", both)
        .await
        .json();
    let instance = |namespace| Instance {
        namespace,
        service: ServiceName::new("service-b").unwrap(),
        id: "1".to_owned(),
    };
    let namespaces = [Namespace::default(), Namespace::new("shop").unwrap()];
    api.control.set_expected(namespaces.map(instance).into());
    let path = "/v1/converged?policies=default/one,shop/one";
    let converged = api.call(Method::GET, path).await.json();
    assert_eq!(converged["expected"], 2, "{converged}");
}

#[tokio::test]
async fn ops_ports_are_scrape_targets() {
    let api = Api::start(&[]);
    let targets = api.call(Method::GET, "/v1/scrape-targets").await.json();
    let expected = json!([{"targets": ["127.0.0.1:9465"], "labels": {"job": "service-b"}}]);
    assert_eq!(targets, expected);
    let metrics = api.call(Method::GET, "/metrics").await;
    assert!(metrics.body.ends_with("# EOF\n"), "{}", metrics.body);
    assert!(
        metrics
            .content_type
            .starts_with("application/openmetrics-text")
    );
}

/// Checks the bytes, since programs other than Spoor may read these responses.
#[rstest::rstest]
#[case(
    Method::GET,
    "/v1/nope",
    r#""Not found","status":404,"detail":"/v1/nope not found"}"#
)]
#[case(
    Method::GET,
    "/v1/policies/default/none",
    r#""Not found","status":404,"detail":"policy \"none\" not found"}"#
)]
#[case(
    Method::GET,
    "/v1/policies/default/None",
    r#""Invalid name","status":400,"detail":"policy \"None\": must be"#
)]
#[case(
    Method::PUT,
    "/v1/status",
    r#""Method not allowed","status":405,"detail":"this path supports other methods; see the `Allow` header"}"#
)]
#[case(
    Method::POST,
    "/v1/converged",
    r#""Method not allowed","status":405,"detail":"this path supports other methods; see the `Allow` header"}"#
)]
#[case(
    Method::GET,
    "/v1/converged?within=soon",
    r#""Invalid query","status":400,"detail":"within: must be a whole number, not \"soon\""}"#
)]
#[case(
    Method::GET,
    "/v1/converged?policies=one",
    r#""Invalid query","status":400,"detail":"policies must be NAMESPACE/NAME, separated by commas"}"#
)]
#[case(
    Method::POST,
    "/v1/services/service-b/restart",
    r#""Conflict","status":409,"detail":"service-b is already restarting; try again once it is ready"}"#
)]
#[case(
    Method::POST,
    "/v1/policies",
    r#""Unsupported media type","status":415,"detail":"send application/yaml, or application/json"#
)]
#[case(
    Method::POST,
    "/v1/faults/service-b",
    r#""Invalid fault","status":400,"detail":"the header Content-Type is missing; set it to application/json; send a JSON object such as {\"operation\""#
)]
#[tokio::test]
async fn errors_are_problem_details(
    #[case] method: Method,
    #[case] path: &str,
    #[case] rest: &str,
) {
    let response = Api::start(&[]).call(method, path).await;
    let expected = format!(r#"{{"type":"about:blank","title":{rest}"#);
    assert!(response.body.starts_with(&expected), "{}", response.body);
    assert_eq!(response.content_type, "application/problem+json");
    let problem: Value = serde_json::from_str(&response.body).unwrap();
    assert_eq!(problem["status"], response.status.as_u16());
}

#[tokio::test]
async fn refuses_faults_for_an_unknown_service() {
    let api = Api::start(&[]);
    // Faults are set in the default namespace only.
    api.control.set_expected(vec![Instance {
        namespace: Namespace::new("other").unwrap(),
        service: ServiceName::new("service-c").unwrap(),
        id: "1".to_owned(),
    }]);
    let fault = json!({"errors": "5%"}).to_string();
    let refused = api
        .post("/v1/faults/service-c", "application/json", fault)
        .await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    let known = r#"unknown service \"service-c\"; the lab's services are service-b"#;
    assert!(refused.body.contains(known), "{}", refused.body);
    let path = "/v1/faults/service-c";
    assert_eq!(api.call(Method::DELETE, path).await.body, refused.body);
}

#[tokio::test]
async fn web_pages_are_refused() {
    let api = Api::start(&[]);
    let mut request = request(Method::GET, "/v1/status", Body::empty());
    let origin = HeaderValue::from_static("https://shop.example");
    request.headers_mut().insert(header::ORIGIN, origin);
    let refused = api.send(request).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.body.contains("Origin refused"), "{}", refused.body);
}
