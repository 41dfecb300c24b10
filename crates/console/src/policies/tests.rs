//! The pages and forms of policies, with a backend in memory.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use http::{HeaderMap, Request, header};
use tower::ServiceExt;

use super::*;
use crate::{backend::Backend, console::ConsoleSettings, fake::FakeBackend};

const POLICY: &str = "apiVersion: spoor.dev/v1alpha1
kind: SamplingPolicy
metadata: {name: a}
spec: {targets: [{service: shop}], head: {probability: 1%}}
";

struct Pages {
    backend: Arc<FakeBackend>,
    console: Console,
}

struct Page {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Pages {
    fn new(policies: &[&str]) -> Self {
        let backend = Arc::new(FakeBackend::default());
        for policy in policies {
            backend.apply_text(policy);
        }
        let of_console = Arc::clone(&backend);
        let console = Console::new(of_console, ConsoleSettings::default());
        Self { backend, console }
    }

    async fn get(&self, path: &str) -> Page {
        let request = Request::get(path).body(Body::empty());
        self.send(request.unwrap()).await
    }

    /// Sends a form with a valid token.
    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let token = self.console.tokens().issue();
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let with_token = ("token", token.as_str());
        let pairs = fields.iter().chain([&with_token]);
        let pairs = pairs.map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        let request = Request::post(path)
            .header("sec-fetch-site", "same-origin")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(body));
        self.send(request.unwrap()).await
    }

    async fn send(&self, request: Request<Body>) -> Page {
        let response = self.console.router().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = to_bytes(response.into_body(), 1 << 24).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        Page {
            status,
            headers,
            text,
        }
    }

    /// The rate and generation of the policy `a`.
    async fn rate(&self) -> (String, Option<i64>) {
        let key = PolicyKey {
            namespace: Namespace::default(),
            name: "a".parse().unwrap(),
        };
        let policy = self.backend.policy(&key).await.unwrap();
        let rate = rate_of(&policy).unwrap().to_owned();
        (rate, policy.metadata.generation)
    }
}

impl Page {
    #[track_caller]
    fn has(&self, status: StatusCode, texts: &[&str]) {
        assert_eq!(self.status, status, "{}", self.text);
        for text in texts {
            assert!(self.text.contains(text), "{text} in {}", self.text);
        }
    }

    fn location(&self) -> &str {
        self.headers[header::LOCATION].to_str().unwrap()
    }
}

#[tokio::test]
async fn table_has_places_and_forms() {
    let pages = Pages::new(&[POLICY]);
    let page = pages.get("/policies").await;
    let expected = [
        "<tr id=\"head.default.shop.*\">",
        "1 policy in the lab",
        "sampling is decided at 1 place.",
        "name=\"rate\"",
        "scripts/policies.js",
        "styles/policies.css",
    ];
    page.has(StatusCode::OK, &expected);
}

#[tokio::test]
async fn no_policies_are_explained() {
    let page = Pages::new(&[]).get("/policies").await;
    let expected = ["There are no policies", "./policies/new?from=example"];
    page.has(StatusCode::OK, &expected);
}

#[tokio::test]
async fn policy_without_effect_has_its_reason() {
    let rival = POLICY
        .replace("name: a", "name: b")
        .replace("spec: {", "spec: {priority: 5, ");
    let page = Pages::new(&[POLICY, &rival]).get("/policies").await;
    let expected = [
        "Policies without effect",
        "overridden everywhere by b",
        "overrides <a href=\"./policies/default/a\">a</a>",
    ];
    page.has(StatusCode::OK, &expected);
}

#[tokio::test]
async fn read_only_console_has_no_forms() {
    let mut pages = Pages::new(&[POLICY]);
    let backend = Arc::clone(&pages.backend);
    pages.console = Console::new(backend, ConsoleSettings { is_read_only: true });
    for path in ["/policies/default/a", "/policies/new", "/policies/override"] {
        let page = pages.get(path).await;
        page.has(StatusCode::OK, &[]);
        assert!(!page.text.contains("method=\"post\""), "{}", page.text);
    }
    let page = pages.get("/policies").await;
    page.has(StatusCode::OK, &["class=\"policies read-only\""]);
    let page = pages.post("/policies/default/a/delete", &[]).await;
    page.has(StatusCode::FORBIDDEN, &["read-only"]);
}

#[tokio::test]
async fn rate_is_previewed_and_applied() {
    let pages = Pages::new(&[POLICY]);
    let preview = pages
        .post("/policies/default/a/preview", &[("rate", "50")])
        .await;
    let expected = [
        "Change default/a?",
        "<strong>1%</strong>",
        "<strong>50%</strong>",
        "name=\"generation\" value=\"1\"",
        "spoor apply",
        "probability: 50%",
    ];
    preview.has(StatusCode::OK, &expected);
    assert_eq!(pages.rate().await, ("1%".to_owned(), Some(1)));

    let yaml = POLICY.replace("1%", "50%").replace('\n', "\r\n");
    let fields = [("yaml", yaml.as_str()), ("generation", "1")];
    let applied = pages.post("/policies/apply", &fields).await;
    applied.has(StatusCode::SEE_OTHER, &[]);
    assert_eq!(applied.location(), "../policies/default/a");
    assert_eq!(pages.rate().await, ("50%".to_owned(), Some(2)));
}

#[tokio::test]
async fn invalid_rate_is_explained() {
    let pages = Pages::new(&[POLICY]);
    let page = pages
        .post("/policies/default/a/preview", &[("rate", "<b>")])
        .await;
    let expected = [
        "rate: must be a percentage",
        "value=\"&lt;b&gt;\"",
        "aria-invalid=\"true\"",
    ];
    page.has(StatusCode::BAD_REQUEST, &expected);
}

#[rstest::rstest]
#[case::changed(Some("7"), "generation 7, and the policy now has 1")]
#[case::created(None, "did not exist at the time of the preview")]
#[tokio::test]
async fn other_generation_is_a_conflict(#[case] generation: Option<&str>, #[case] text: &str) {
    let pages = Pages::new(&[POLICY]);
    let yaml = POLICY.replace("1%", "50%");
    let generation = generation.map(|it| ("generation", it));
    let fields: Vec<_> = [("yaml", yaml.as_str())]
        .into_iter()
        .chain(generation)
        .collect();
    let page = pages.post("/policies/apply", &fields).await;
    page.has(StatusCode::CONFLICT, &[text, "Preview again"]);
    assert_eq!(pages.rate().await, ("1%".to_owned(), Some(1)));
}

#[tokio::test]
async fn edited_text_of_an_old_generation_is_a_conflict() {
    let pages = Pages::new(&[POLICY]);
    let editor = pages.get("/policies/default/a/edit").await;
    editor.has(StatusCode::OK, &["name=\"generation\" value=\"1\""]);
    pages.backend.apply_text(&POLICY.replace("1%", "5%"));
    let fields = [("yaml", POLICY), ("generation", "1")];
    let page = pages.post("/policies/preview", &fields).await;
    page.has(StatusCode::CONFLICT, &["has changed in the meantime"]);
    let renamed = POLICY.replace("name: a", "name: b");
    let fields = [("yaml", renamed.as_str()), ("generation", "1")];
    let page = pages.post("/policies/preview", &fields).await;
    page.has(StatusCode::OK, &["Apply"]);
}

#[tokio::test]
async fn every_error_of_a_text_is_listed() {
    let pages = Pages::new(&[]);
    let yaml = POLICY.replace("1%", "101%").replace("name: a", "name: <A>");
    for path in ["/policies/preview", "/policies/apply", "/policies/yaml"] {
        let page = pages.post(path, &[("yaml", yaml.as_str())]).await;
        let expected = [
            "metadata.name: ",
            "spec.head.probability: ",
            "name: &lt;A&gt;",
        ];
        page.has(StatusCode::BAD_REQUEST, &expected);
    }
}

#[tokio::test]
async fn hostile_policy_is_inert() {
    let hostile = "<script>\u{202e}</textarea>";
    let policy = POLICY.replace("service: shop", &format!("service: '{hostile}'"));
    let pages = Pages::new(&[&policy]);
    let mut seen = vec![];
    for path in ["", "/default/a", "/default/a/edit", "/default/a/delete"] {
        seen.push(pages.get(&format!("/policies{path}")).await);
    }
    let fields = [("yaml", policy.as_str())];
    seen.push(pages.post("/policies/preview", &fields).await);
    let invalid = format!("{policy}{hostile}");
    seen.push(
        pages
            .post("/policies/preview", &[("yaml", invalid.as_str())])
            .await,
    );
    for page in seen {
        let is_inert = !page.text.contains("<script>") && !page.text.contains('\u{202e}');
        assert!(is_inert, "{}", page.text);
    }
}

#[tokio::test]
async fn policy_has_its_facts() {
    let pages = Pages::new(&[POLICY]);
    let page = pages.get("/policies/default/a").await;
    let expected = [
        "data-policy=\"default/a\"",
        "Keeps 1% of the traces, decided when they start.",
        "Applies to <b>shop</b>",
        "decides everywhere it applies",
        "None since the console started at",
        "../../policies/override?namespace=default&amp;service=shop",
    ];
    page.has(StatusCode::OK, &expected);
    let missing = pages.get("/policies/default/b").await;
    missing.has(StatusCode::NOT_FOUND, &["not found"]);
    let invalid = pages.get("/policies/default/B").await;
    invalid.has(StatusCode::NOT_FOUND, &["no policy can have this name"]);
}

#[tokio::test]
async fn override_is_previewed_as_a_policy() {
    let pages = Pages::new(&[POLICY]);
    let fields = [("service", "shop"), ("rate", "100"), ("minutes", "")];
    let page = pages.post("/policies/override", &fields).await;
    let expected = [
        "Create default/override-shop?",
        "<strong>100%</strong>",
        "priority: 1000",
        "expiresAt: ",
    ];
    page.has(StatusCode::OK, &expected);
    let invalid = [("service", "shop"), ("rate", "100"), ("minutes", "0")];
    let page = pages.post("/policies/override", &invalid).await;
    page.has(
        StatusCode::BAD_REQUEST,
        &["minutes: must be a whole number"],
    );
}

#[tokio::test]
async fn policy_is_deleted_after_a_confirmation() {
    let pages = Pages::new(&[POLICY]);
    let page = pages.get("/policies/default/a/delete").await;
    page.has(StatusCode::OK, &["Delete default/a?", "spoor delete a"]);
    assert_eq!(pages.backend.listed().len(), 1);
    let deleted = pages.post("/policies/default/a/delete", &[]).await;
    deleted.has(StatusCode::SEE_OTHER, &[]);
    assert_eq!(deleted.location(), "../../../policies");
    assert!(pages.backend.listed().is_empty());
}

#[tokio::test]
async fn form_and_text_become_each_other() {
    let pages = Pages::new(&[]);
    let fields = [
        ("metadata.name", "a"),
        ("spec.targets.0.service", "shop"),
        ("spec.head.probability", "1%"),
    ];
    let page = pages.post("/policies/form", &fields).await;
    page.has(StatusCode::OK, &["service: shop", "probability: 1%"]);
    let page = pages.post("/policies/yaml", &[("yaml", POLICY)]).await;
    let expected = ["name=\"spec.targets.0.service\" value=\"shop\""];
    page.has(StatusCode::OK, &expected);
    let example = pages.get("/policies/new?from=example").await;
    example.has(StatusCode::OK, &["service: service-a", "probability: 10%"]);
}

#[tokio::test]
async fn failure_of_the_backend_is_shown() {
    let pages = Pages::new(&[POLICY]);
    pages.backend.fail(Some("the lab is gone"));
    for path in ["/policies", "/policies/default/a"] {
        let page = pages.get(path).await;
        page.has(StatusCode::SERVICE_UNAVAILABLE, &["the lab is gone"]);
    }
}
