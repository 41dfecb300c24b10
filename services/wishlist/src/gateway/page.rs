//! The web page with its forms. A script adds new offers, and the page works without it.

use axum::{
    Form, Router,
    extract::{
        Path, Query, State,
        rejection::{FormRejection, PathRejection, QueryRejection},
    },
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;

use super::{
    Gateway,
    traces::TraceId,
    view::{self, Content, Notice},
    wishes::WishError,
};
use crate::WishName;

const SCRIPT: &str = include_str!("offers.js");
const STYLE: &str = concat!(
    include_str!("../../../palette.css"),
    include_str!("style.css")
);
const ICON: &str = include_str!("icon.svg");

#[derive(Debug, Deserialize)]
struct NewWish {
    #[serde(default)]
    name: String,
}

/// The query parameters that the redirect after a change adds.
#[derive(Debug, Default, Deserialize)]
struct Redirected {
    done: Option<Change>,
    trace: Option<String>,
}

/// The change that was made.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Change {
    Added,
    Deleted,
}

pub(super) fn router() -> Router<Gateway> {
    Router::new()
        .route("/", get(show))
        .route("/wishes", post(add))
        .route("/wishes/{id}/delete", post(remove))
        .route(
            "/style.css",
            get(async || asset("text/css; charset=utf-8", STYLE)),
        )
        .route(
            "/offers.js",
            get(async || asset("text/javascript; charset=utf-8", SCRIPT)),
        )
        .route("/icon.svg", get(async || asset("image/svg+xml", ICON)))
}

async fn show(
    State(gateway): State<Gateway>,
    redirected: Result<Query<Redirected>, QueryRejection>,
) -> Response {
    // Invalid parameters are ignored, since a page is more useful than an error.
    let redirected = redirected
        .map(|Query(redirected)| redirected)
        .unwrap_or_default();
    let notice = redirected.done.map(|change| Notice::Done {
        text: change.text(),
        trace: redirected.trace.as_deref().and_then(TraceId::new),
    });
    page(
        gateway,
        Content {
            notice,
            ..Content::default()
        },
    )
    .await
}

async fn add(
    State(gateway): State<Gateway>,
    form: Result<Form<NewWish>, FormRejection>,
) -> Response {
    let Form(NewWish { name }) = match form {
        Ok(form) => form,
        Err(rejection) => {
            let notice = Some(Notice::Failed(rejection.body_text()));
            let status = rejection.status();
            return page(
                gateway,
                Content {
                    status,
                    notice,
                    ..Content::default()
                },
            )
            .await;
        }
    };
    let added = match WishName::new(&name) {
        Ok(valid) => gateway.add_wish(&valid).await.map(|_| ()),
        Err(error) => Err(WishError::Name(error)),
    };
    match added {
        Ok(()) => Change::Added.redirect(),
        Err(failure) => page(gateway, Content::failed(&failure, name)).await,
    }
}

async fn remove(
    State(gateway): State<Gateway>,
    id: Result<Path<String>, PathRejection>,
) -> Response {
    let removed = match id {
        Ok(Path(id)) => gateway.delete_wish(&id).await,
        Err(_) => Err(WishError::NotFound),
    };
    match removed {
        Ok(()) => Change::Deleted.redirect(),
        Err(failure) => page(gateway, Content::failed(&failure, String::new())).await,
    }
}

/// A response with a file that is built into the program.
pub(super) fn asset(kind: &'static str, body: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (
            header::CACHE_CONTROL,
            // Not longer, since the URLs stay the same when the content changes.
            HeaderValue::from_static("max-age=300"),
        ),
    ];
    (headers, body)
}

/// Renders the page with the current wishes, or without them if they are unavailable.
async fn page(gateway: Gateway, mut content: Content) -> Response {
    let (wishes, offers) = tokio::join!(gateway.wishes.list(), gateway.offers.list());
    content.offers = offers;
    match wishes {
        Ok(wishes) => content.wishes = Some(wishes),
        Err(failure) => {
            content.status = failure.status();
            content.notice = Some(Notice::Failed(failure.to_string()));
        }
    }
    let trace = TraceId::current();
    let html = view::page(&content, trace.as_ref(), &gateway.trace_url).into_string();
    let mut response = (content.status, Html(html)).into_response();
    if content.status == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

impl Change {
    fn text(self) -> &'static str {
        match self {
            Self::Added => "Added to your wishes.",
            Self::Deleted => "Deleted.",
        }
    }

    /// Redirects to the page, so that reloading it does not repeat the change.
    fn redirect(self) -> Response {
        let done = match self {
            Self::Added => "added",
            Self::Deleted => "deleted",
        };
        let trace = TraceId::current().map(|id| format!("&trace={}", id.as_str()));
        Redirect::to(&format!("/?done={done}{}", trace.unwrap_or_default())).into_response()
    }
}
