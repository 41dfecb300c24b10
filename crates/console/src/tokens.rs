//! The tokens of pages with forms, and the forms that carry them.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
};
use http::{StatusCode, Uri, request::Parts};
use maud::html;
use parking_lot::Mutex;
use serde::{Deserialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{
    console::Console,
    layout::{Section, Site},
    text,
};

/// The most pages whose forms are accepted. Each takes about 100 bytes.
const MAX_TOKENS: usize = 4_096;
/// The time for which a page's forms are accepted.
const MAX_AGE: Duration = Duration::from_secs(12 * 3_600);

/// The tokens of the latest pages.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<Issued>);

#[derive(Default)]
struct Issued {
    times: HashMap<Uuid, Instant>,
    /// In the order in which they were issued.
    order: VecDeque<Uuid>,
}

/// The error for a token that is unknown, too old, or displaced by those of newer pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this page is outdated; reload it")]
pub(crate) struct OutdatedPage;

impl Tokens {
    /// Creates the token of a page.
    pub(crate) fn issue(&self) -> String {
        self.issue_at(Instant::now())
    }

    /// Checks that a page of this console has a token. A page may send several forms.
    ///
    /// # Errors
    /// [`OutdatedPage`].
    pub(crate) fn check(&self, token: &str) -> Result<(), OutdatedPage> {
        self.check_at(token, Instant::now())
    }

    fn issue_at(&self, now: Instant) -> String {
        let token = Uuid::new_v4();
        let mut issued = self.0.lock();
        issued.times.insert(token, now);
        issued.order.push_back(token);
        while issued.order.len() > MAX_TOKENS {
            if let Some(oldest) = issued.order.pop_front() {
                issued.times.remove(&oldest);
            }
        }
        token.to_string()
    }

    fn check_at(&self, token: &str, now: Instant) -> Result<(), OutdatedPage> {
        let token: Uuid = token.parse().map_err(|_| OutdatedPage)?;
        let issued = self.0.lock();
        let time = issued.times.get(&token).ok_or(OutdatedPage)?;
        match now.saturating_duration_since(*time) <= MAX_AGE {
            true => Ok(()),
            false => Err(OutdatedPage),
        }
    }
}

/// A form in the body, in URL encoding, from a page whose token is in its field `token`. The fields of
/// `T` are the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form<T>(pub T);

#[derive(Deserialize)]
struct WithToken {
    #[serde(default)]
    token: String,
}

impl<T: DeserializeOwned> FromRequest<Console> for Form<T> {
    /// A page with the problem.
    type Rejection = Response;

    async fn from_request(request: Request, console: &Console) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        let whole = Request::from_parts(parts.clone(), body);
        let problem = |status, text: &str| problem(console, &parts.uri, status, text);
        let bytes = Bytes::from_request(whole, console).await;
        let bytes = bytes.map_err(|error| problem(error.status(), &error.body_text()))?;
        // Twice, since fields beside a flattened struct could only be text.
        let WithToken { token } = read::<WithToken>(&parts, &bytes)
            .await
            .map_err(|(status, text)| problem(status, &text))?;
        console.tokens().check(&token).map_err(|error| {
            let text = format!("Nothing was changed: {error}.");
            problem(StatusCode::FORBIDDEN, &text)
        })?;
        let form = read::<T>(&parts, &bytes).await;
        form.map(Self)
            .map_err(|(status, text)| problem(status, &text))
    }
}

/// Reads some of the fields of a form.
async fn read<T: DeserializeOwned>(
    parts: &Parts,
    bytes: &Bytes,
) -> Result<T, (StatusCode, String)> {
    let request = Request::from_parts(parts.clone(), Body::from(bytes.clone()));
    let form = axum::Form::<T>::from_request(request, &()).await;
    let axum::Form(fields) = form.map_err(|error| (error.status(), error.body_text()))?;
    Ok(fields)
}

fn problem(console: &Console, uri: &Uri, status: StatusCode, text: &str) -> Response {
    let message = html! { p { (text::cut(text, 1_000)) } };
    let site = Site::of(console, uri);
    let heading = "The form was not accepted";
    let page = site.notice(Section::at(uri), heading, heading, message);
    (status, page).into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use super::*;
    use crate::{console::ConsoleSettings, fake::FakeBackend};

    #[test]
    fn issued_token_is_valid_until_it_expires() {
        let (tokens, start) = (Tokens::default(), Instant::now());
        let token = tokens.issue_at(start);
        assert_eq!(tokens.check_at(&token, start + MAX_AGE), Ok(()));
        let later = start + MAX_AGE + Duration::from_secs(1);
        assert_eq!(tokens.check_at(&token, later), Err(OutdatedPage));
    }

    #[rstest::rstest]
    #[case("")]
    #[case("nonsense")]
    #[case("67e55044-10b1-426f-9247-bb680e5fe0c8")]
    fn unknown_token_is_refused(#[case] token: &str) {
        let tokens = Tokens::default();
        tokens.issue();
        assert_eq!(tokens.check(token), Err(OutdatedPage));
    }

    #[test]
    fn oldest_token_is_displaced() {
        let tokens = Tokens::default();
        let first = tokens.issue();
        let second = tokens.issue();
        for _ in 0..MAX_TOKENS - 1 {
            tokens.issue();
        }
        assert_eq!(tokens.check(&first), Err(OutdatedPage));
        assert_eq!(tokens.check(&second), Ok(()));
        assert_eq!(tokens.0.lock().times.len(), MAX_TOKENS);
    }

    #[derive(Debug, Deserialize)]
    struct Minutes {
        minutes: u32,
    }

    async fn minutes(console: &Console, body: String) -> Result<u32, StatusCode> {
        let request = http::Request::post("/policies/override")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(body))
            .unwrap();
        let form = Form::<Minutes>::from_request(request, console).await;
        let fields = form.map(|Form(fields)| fields.minutes);
        fields.map_err(|page| page.status())
    }

    #[tokio::test]
    async fn form_needs_a_token() {
        let backend = Arc::new(FakeBackend::default());
        let console = Console::new(backend, ConsoleSettings::default());
        let token = console.tokens().issue();
        let valid = format!("minutes=15&token={token}");
        assert_eq!(minutes(&console, valid.clone()).await, Ok(15));
        // The page may send it again.
        assert_eq!(minutes(&console, valid).await, Ok(15));
        let without = "minutes=15".to_owned();
        assert_eq!(minutes(&console, without).await, Err(StatusCode::FORBIDDEN));
        let invalid = format!("minutes=x&token={token}");
        assert_eq!(
            minutes(&console, invalid).await,
            Err(StatusCode::UNPROCESSABLE_ENTITY)
        );
    }
}
