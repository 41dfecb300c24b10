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
use spoor_telemetry::{
    http::{ConnectionTurn, Problem, assets},
    trace_id,
};

use super::{
    Gateway, traces,
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
#[derive(Clone, Copy, Debug, Deserialize, derive_more::Display)]
#[display(rename_all = "lowercase")]
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
        .merge(assets([
            ("/style.css", "text/css; charset=utf-8", STYLE),
            ("/offers.js", "text/javascript; charset=utf-8", SCRIPT),
            ("/icon.svg", "image/svg+xml", ICON),
        ]))
}

async fn show(
    State(gateway): State<Gateway>,
    connection: ConnectionTurn,
    redirected: Result<Query<Redirected>, QueryRejection>,
) -> Response {
    // Invalid parameters are ignored, since a page is more useful than an error.
    let Query(redirected) = redirected.unwrap_or_default();
    let notice = redirected.done.map(|change| Notice::Done {
        text: change.text(),
        trace: redirected.trace.as_deref().and_then(traces::parse_id),
    });
    let content = Content {
        notice,
        ..Content::default()
    };
    page(gateway, &connection, content).await
}

async fn add(
    State(gateway): State<Gateway>,
    connection: ConnectionTurn,
    form: Result<Form<NewWish>, FormRejection>,
) -> Response {
    let Form(NewWish { name }) = match form {
        Ok(form) => form,
        Err(rejection) => {
            let content = Content {
                status: rejection.status(),
                notice: Some(Notice::Failed(Problem::from(rejection).detail)),
                ..Content::default()
            };
            return page(gateway, &connection, content).await;
        }
    };
    let added = match WishName::new(&name) {
        Ok(valid) => gateway.add_wish(&valid).await.map(|_| ()),
        Err(error) => Err(WishError::Name(error)),
    };
    match added {
        Ok(()) => Change::Added.redirect(),
        Err(failure) => page(gateway, &connection, Content::failed(&failure, name)).await,
    }
}

async fn remove(
    State(gateway): State<Gateway>,
    connection: ConnectionTurn,
    id: Result<Path<String>, PathRejection>,
) -> Response {
    let removed = match id {
        Ok(Path(id)) => gateway.delete_wish(&id).await,
        Err(_) => Err(WishError::NotFound),
    };
    match removed {
        Ok(()) => Change::Deleted.redirect(),
        Err(failure) => {
            let content = Content::failed(&failure, String::new());
            page(gateway, &connection, content).await
        }
    }
}

/// Renders the page with the current wishes, or without them if they are unavailable.
async fn page(gateway: Gateway, connection: &ConnectionTurn, mut content: Content) -> Response {
    let _reserved = match gateway.reserve(connection).await {
        Ok(reserved) => reserved,
        Err(error) => return Problem::from(error).into_response(),
    };
    let (wishes, offers) = tokio::join!(gateway.wishes.list(), gateway.offers.list_for_page());
    match wishes {
        Ok(wishes) => content.wishes = Some((wishes, offers)),
        Err(failure) => {
            content.status = failure.status();
            content.notice = Some(Notice::Failed(failure.to_string()));
        }
    }
    let html = view::page(&content, trace_id(), &gateway.trace_url).into_string();
    let mut response = (content.status, Html(html)).into_response();
    if content.status == StatusCode::SERVICE_UNAVAILABLE {
        let soon = HeaderValue::from_static("1");
        response.headers_mut().insert(header::RETRY_AFTER, soon);
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
        let trace = trace_id().map(|id| format!("&trace={id}"));
        Redirect::to(&format!("/?done={self}{}", trace.unwrap_or_default())).into_response()
    }
}
