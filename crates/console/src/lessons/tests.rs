//! The pages of lessons that accept one answer.

#![allow(clippy::unwrap_used)]

mod markdown;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use http::Request;
use spoor_traces::TraceId;
use tokio::sync::Notify;
use tower::ServiceExt;

use super::*;
use crate::{ConsoleSettings, FoundTraces, ListedTrace, fake::FakeBackend};

/// Lesson 1 is passed. Lesson 2 is passed with the answer `right`, and its check waits with the
/// answer `slow`.
#[derive(Debug, Default)]
struct FakeLessons {
    is_passed: AtomicBool,
    checks: AtomicUsize,
    has_begun: Notify,
    may_end: Notify,
}

#[async_trait]
impl Lessons for FakeLessons {
    fn list(&self) -> Vec<LessonSummary> {
        let summary = |number, is_passed| LessonSummary {
            number,
            title: format!("Title <{number}>"),
            teaches: "Something.".to_owned(),
            needs: "service-a".to_owned(),
            is_passed,
        };
        let is_passed = self.is_passed.load(Ordering::Relaxed);
        vec![summary(1, true), summary(2, is_passed)]
    }

    fn lesson(&self, number: usize) -> Option<LessonText> {
        (1..=2).contains(&number).then(|| LessonText {
            title: format!("Title <{number}>"),
            markdown:
                "# 2. Title\n\nText.\n\n## Your turn\n\nFind it.\n\n## Hints\n\n- One.\n- Two.\n"
                    .to_owned(),
            questions: vec![Question {
                key: "found".to_owned(),
                placeholder: "NAME".to_owned(),
                explanation: "a name".to_owned(),
            }],
            has_rounds: number == 2,
        })
    }

    async fn check(
        &self,
        _number: usize,
        answers: Vec<Answer>,
    ) -> Result<LessonReport, BackendError> {
        self.checks.fetch_add(1, Ordering::Relaxed);
        let answer = answers.first().map_or("", |answer| &answer.text);
        if answer == "slow" {
            self.has_begun.notify_one();
            self.may_end.notified().await;
        }
        let is_passed = answer == "right";
        self.is_passed.store(is_passed, Ordering::Relaxed);
        let (state, seen) = match is_passed {
            true => (FindingState::Passed, answer.to_owned()),
            false => (FindingState::Wrong, format!("<b>{answer}\u{202e}")),
        };
        Ok(LessonReport {
            is_passed,
            sources: vec!["the traces".to_owned()],
            findings: vec![Finding {
                what: "the name".to_owned(),
                state,
                seen,
            }],
        })
    }

    async fn start_round(&self, _number: usize) -> Result<Round, BackendError> {
        Ok(Round {
            tag: "a b=c&d".to_owned(),
        })
    }
}

struct Pages {
    lessons: Arc<FakeLessons>,
    router: Router,
}

impl Pages {
    fn new() -> Self {
        Self::with(ConsoleSettings::default())
    }

    fn with(settings: ConsoleSettings) -> Self {
        let lessons = Arc::new(FakeLessons::default());
        let mut backend = FakeBackend::default();
        backend.lessons = Some(lessons.clone());
        let trace = ListedTrace::new("5b8a".parse::<TraceId>().unwrap(), vec![], None);
        *backend.found.lock() = FoundTraces {
            traces: vec![trace],
            ..FoundTraces::default()
        };
        let router = Console::new(Arc::new(backend), settings).router();
        Self { lessons, router }
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        self.send(request).await
    }

    /// Sends a form with the token of a page, if any, as a browser does.
    async fn post(&self, path: &str, token: &str, fields: &str) -> (StatusCode, String) {
        let request = Request::post(path)
            .header("host", "localhost:16686")
            .header("origin", "http://localhost:16686")
            .header("sec-fetch-site", "same-origin")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(format!("token={token}&{fields}")));
        self.send(request.unwrap()).await
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, String) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.into()).unwrap())
    }

    async fn token(&self) -> String {
        let (_, page) = self.get("/lessons/2").await;
        let (_, rest) = page.split_once("name=\"token\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }
}

#[tokio::test]
async fn list_has_progress_and_the_next_lesson() {
    let (status, page) = Pages::new().get("/lessons").await;
    assert_eq!(status, StatusCode::OK);
    for part in [
        "1 of 2 passed",
        "Continue with lesson 2",
        "lessons/2\"",
        "2. Title &lt;2&gt;",
        "Needs service-a.",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
}

#[tokio::test]
async fn lesson_has_nested_hints_and_newest_traces() {
    let site = Pages::new();
    let (status, page) = site.get("/lessons/2").await;
    assert_eq!(status, StatusCode::OK);
    let (_, hints) = page.split_once("Hint 1 of 2").unwrap();
    let (first, second) = hints.split_once("Hint 2 of 2").unwrap();
    assert!(first.contains("One.") && second.contains("Two."));
    assert!(!first.contains("</details>"), "the second is in the first");
    assert!(page.contains("name=\"answer-0\"") && page.contains("Start a round"));
    let trace = format!("trace/{:0>32}", "5b8a");
    assert!(page.contains(&trace), "{page}");
    let (status, fragment) = site.get("/lessons/2/traces").await;
    assert_eq!(status, StatusCode::OK);
    assert!(fragment.contains(&trace) && !fragment.contains("<html"));
}

#[tokio::test]
async fn right_answer_is_progress() {
    let site = Pages::new();
    let token = site.token().await;
    let (status, page) = site
        .post("/lessons/2/check", &token, "answer-0=+wrong")
        .await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("Not done yet.") && page.contains("1 of 2 passed"));
    assert!(page.contains("&lt;b&gt;wrong\\u{202e}"), "{page}");
    assert!(page.contains("value=\" wrong\""), "{page}");
    let (_, page) = site
        .post("/lessons/2/check", &token, "answer-0=right")
        .await;
    assert!(page.contains("Passed: Title &lt;2&gt;.") && page.contains("2 of 2 passed"));
    // A reload of that page shows the lesson.
    let (status, _) = site.get("/lessons/2/check").await;
    assert_eq!(status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn check_needs_a_token_and_the_own_origin() {
    let site = Pages::new();
    let (status, _) = site
        .post("/lessons/2/check", "other", "answer-0=right")
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let token = site.token().await;
    let request = Request::post("/lessons/2/check")
        .header("host", "localhost:16686")
        .header("origin", "http://evil.example")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(format!("token={token}&answer-0=right")));
    let (status, _) = site.send(request.unwrap()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(site.lessons.checks.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn second_check_is_refused_while_one_runs() {
    let site = Pages::new();
    let token = site.token().await;
    let first = site.post("/lessons/2/check", &token, "answer-0=slow");
    let second = async {
        site.lessons.has_begun.notified().await;
        let second = site
            .post("/lessons/2/check", &token, "answer-0=right")
            .await;
        site.lessons.may_end.notify_one();
        second
    };
    let ((first, _), (second, page)) = tokio::join!(first, second);
    assert_eq!(
        (first, second),
        (StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE)
    );
    assert!(page.contains("a check or a round is running"), "{page}");
}

#[tokio::test]
async fn round_links_to_its_traces() {
    let site = Pages::new();
    let token = site.token().await;
    let (status, page) = site.post("/lessons/2/round", &token, "").await;
    assert_eq!(status, StatusCode::OK);
    let link = "href=\"../../search?tags=a%20b%3Dc%26d\"";
    assert!(page.contains(link), "{page}");
}

#[tokio::test]
async fn too_long_answer_is_refused() {
    let site = Pages::new();
    let token = site.token().await;
    let answer = format!("answer-0={}", "a".repeat(1_001));
    let (status, page) = site.post("/lessons/2/check", &token, &answer).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(page.contains("found: longer than 1000 bytes"), "{page}");
    assert_eq!(site.lessons.checks.load(Ordering::Relaxed), 0);
}

#[rstest::rstest]
#[case("/lessons/3")]
#[case("/lessons/x")]
#[case("/lessons/%ff")]
#[case("/lessons/3/traces")]
#[case("/lessons/18446744073709551616")]
#[tokio::test]
async fn unknown_lesson_is_not_found(#[case] path: &str) {
    let (status, page) = Pages::new().get(path).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(page.contains("Lesson not found"), "{page}");
}

#[tokio::test]
async fn backend_without_lessons_has_no_list() {
    let backend = Arc::new(FakeBackend::default());
    let router = Console::new(backend, ConsoleSettings::default()).router();
    let request = Request::get("/lessons").body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn read_only_console_has_no_forms() {
    let site = Pages::with(ConsoleSettings { is_read_only: true });
    let (_, page) = site.get("/lessons/2").await;
    assert!(!page.contains("method=\"post\""), "{page}");
    assert!(page.contains("spoor check 2"), "{page}");
}
