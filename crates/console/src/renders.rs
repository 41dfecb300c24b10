//! The rendering of pages on blocking threads, with bounds on the pages that are rendered at the same
//! time and on those that wait.

use std::{sync::Arc, time::Duration};

use axum::response::{Html, IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use spoor_runtime::LogLimit;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// The most pages that are rendered at the same time.
const MAX_RUNNING: usize = 4;
/// The most requests that wait for their turn. Each holds a connection.
const MAX_WAITING: usize = 64;
/// The longest time that a request waits for its turn.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// The longest page, in bytes.
const MAX_PAGE_BYTES: usize = 32 << 20;

/// The bounds on renders.
pub(crate) struct Renders {
    running: Arc<Semaphore>,
    waiting: Semaphore,
}

#[derive(Debug, thiserror::Error)]
enum RenderError {
    #[error("too many pages are requested at the same time; try again in a few seconds")]
    Busy,
    #[error("the page would be larger than {} MiB", MAX_PAGE_BYTES >> 20)]
    TooLarge,
    #[error("cannot render the page")]
    Panic(#[source] tokio::task::JoinError),
}

impl Default for Renders {
    fn default() -> Self {
        Self {
            running: Arc::new(Semaphore::new(MAX_RUNNING)),
            waiting: Semaphore::new(MAX_WAITING),
        }
    }
}

impl Renders {
    /// Renders a page once its turn comes.
    pub(crate) async fn run(
        &self,
        page: impl FnOnce() -> (StatusCode, Html<String>) + Send + 'static,
    ) -> Response {
        match self.page(page).await {
            Ok(page) => page.into_response(),
            Err(error) => error.into_response(),
        }
    }

    async fn page(
        &self,
        page: impl FnOnce() -> (StatusCode, Html<String>) + Send + 'static,
    ) -> Result<(StatusCode, Html<String>), RenderError> {
        let turn = self.next_turn().await.ok_or(RenderError::Busy)?;
        let render = move || {
            let _turn = turn;
            page()
        };
        let rendered = tokio::task::spawn_blocking(render).await;
        let (status, Html(page)) = rendered.map_err(RenderError::Panic)?;
        match page.len() > MAX_PAGE_BYTES {
            true => Err(RenderError::TooLarge),
            false => Ok((status, Html(page))),
        }
    }

    async fn next_turn(&self) -> Option<OwnedSemaphorePermit> {
        let _waiting = self.waiting.try_acquire().ok()?;
        let turn = timeout(MAX_WAIT, Arc::clone(&self.running).acquire_owned()).await;
        // The semaphore is never closed, so both errors mean that the wait was too long.
        turn.ok()?.ok()
    }
}

impl IntoResponse for RenderError {
    fn into_response(self) -> Response {
        static WARNINGS: LogLimit = LogLimit::new();
        if let Some(suppressed) = WARNINGS.admit() {
            let error = spoor_runtime::with_causes(&self);
            tracing::warn!(error, suppressed, "cannot render a page");
        }
        let status = match self {
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Panic(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut response = (status, self.to_string()).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let seconds = HeaderValue::from_static("5");
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}
