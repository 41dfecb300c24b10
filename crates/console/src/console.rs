//! The console's state, and the router of all its pages.

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    middleware::{from_fn_with_state, map_response},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use maud::html;
use spoor_runtime::page_headers;
use tokio_util::sync::CancellationToken;

use crate::{
    assets,
    backend::Backend,
    events::{self, Events},
    guard,
    history::History,
    layout::{Section, Site},
    lessons, policies, recorder,
    renders::Renders,
    services, text,
    tokens::Tokens,
    traces,
};

/// Allows the browser to load only the console's own style sheets, scripts and icon, and scripts to
/// request only the console's own pages.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// The longest form, in bytes. A policy file may have 1 MiB, of which the form encodes some bytes as
/// three.
const MAX_FORM_BYTES: usize = 3 << 19;

/// The console: its pages and the recorder of what policies did. Clones share both.
#[derive(Clone)]
pub struct Console(Arc<Inner>);

struct Inner {
    backend: Arc<dyn Backend>,
    settings: ConsoleSettings,
    history: History,
    tokens: Tokens,
    events: Events,
    renders: Renders,
    /// Cancelled when the recorder ends, since streams of events would otherwise delay a shutdown.
    stop: CancellationToken,
}

/// The settings of a [`Console`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsoleSettings {
    /// True if requests that change something are refused.
    pub is_read_only: bool,
}

impl Console {
    /// A console for a lab or a cluster.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>, settings: ConsoleSettings) -> Self {
        Self(Arc::new(Inner {
            backend,
            settings,
            history: History::new(),
            tokens: Tokens::default(),
            events: Events::new(),
            renders: Renders::default(),
            stop: CancellationToken::new(),
        }))
    }

    /// All pages and their assets; a page with status 404 for any other path.
    pub fn router(&self) -> Router {
        Router::new()
            .merge(traces::router())
            .merge(services::router())
            .merge(policies::router())
            .merge(lessons::router())
            .route("/policies/events", get(events::policy_events))
            .merge(assets::router())
            .fallback(unknown_path)
            .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
            .layer(from_fn_with_state(self.clone(), guard::protect))
            .layer(map_response(add_security_headers))
            .with_state(self.clone())
    }

    /// Records changes of policies until `stop`, and then ends the streams of events.
    pub async fn record(&self, stop: CancellationToken) {
        // A guard, since the caller may also drop this future.
        let _end_streams = self.0.stop.clone().drop_guard();
        stop.run_until_cancelled(recorder::follow(self)).await;
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.0.backend
    }

    pub(crate) fn history(&self) -> &History {
        &self.0.history
    }

    pub(crate) fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.0.settings.is_read_only
    }

    pub(crate) fn events(&self) -> &Events {
        &self.0.events
    }

    /// The token that ends streams.
    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// Renders on a thread that may block, within a bound on concurrent renders.
    pub(crate) async fn render(
        &self,
        page: impl FnOnce() -> (StatusCode, Html<String>) + Send + 'static,
    ) -> Response {
        self.0.renders.run(page).await
    }
}

/// The page for a path that no page has.
pub(crate) async fn unknown_path(State(console): State<Console>, uri: Uri) -> Response {
    let message = html! {
        p { "No page has the path " code { (text::cut(uri.path(), 200)) } "." }
    };
    let site = Site::of(&console, &uri);
    let page = site.notice(Section::at(&uri), "Not found", "Page not found", message);
    (StatusCode::NOT_FOUND, page).into_response()
}

/// Adds the headers that restrict what a browser does with a page.
async fn add_security_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    // With "no-referrer", some browsers would send the origin of our own forms as "null".
    headers.extend(page_headers(CONTENT_SECURITY_POLICY, "same-origin"));
    for (name, value) in [
        (header::CACHE_CONTROL, "no-cache"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use axum::body::Body;
    use http::Request;
    use tower::ServiceExt;

    use super::*;
    use crate::fake::FakeBackend;

    async fn get(path: &str) -> Response {
        let backend = Arc::new(FakeBackend::default());
        let console = Console::new(backend, ConsoleSettings::default());
        let request = Request::get(path).body(Body::empty()).unwrap();
        console.router().oneshot(request).await.unwrap()
    }

    #[rstest::rstest]
    #[case("/style.css", "text/css; charset=utf-8")]
    #[case("/styles/controls.css", "text/css; charset=utf-8")]
    #[case("/favicon.svg", "image/svg+xml")]
    #[case("/scripts/console.js", "text/javascript; charset=utf-8")]
    #[tokio::test]
    async fn assets_have_their_types(#[case] path: &str, #[case] content_type: &str) {
        let response = get(path).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], content_type);
    }

    #[rstest::rstest]
    #[case("/nowhere")]
    #[case("/scripts/nothing.js")]
    #[tokio::test]
    async fn unknown_path_is_a_restricted_page(#[case] path: &str) {
        let response = get(path).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        for (name, value) in [
            ("content-security-policy", CONTENT_SECURITY_POLICY),
            ("referrer-policy", "same-origin"),
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-cache"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(response.headers()[name], value);
        }
    }
}
