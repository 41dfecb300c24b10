//! The deletion of a policy, after a confirmation.

use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use http::{StatusCode, Uri};
use maud::html;
use serde::Deserialize;

use super::{
    MAX_NAME_CHARS, Named, commands, copyable, document, error, key, key_link, named_policy, token,
    with_status, words,
};
use crate::{console::Console, layout::Site, text, tokens::Form};

/// The fields of the form besides its token: none.
#[derive(Debug, Deserialize)]
pub(super) struct NoFields {}

/// `GET /policies/{namespace}/{name}/delete`.
pub(super) async fn confirm(State(console): State<Console>, uri: Uri, named: Named) -> Response {
    let (key, policy) = match named_policy(&console, named).await {
        Ok(found) => found,
        Err(problem) => return error(&console, &uri, &problem),
    };
    let site = Site::of(&console, &uri);
    let content = html! {
        section .preview {
            h1 { "Delete " (text::cut(&key.to_string(), MAX_NAME_CHARS)) "?" }
            @if words::is_accepted(&policy) {
                p {
                    "The policies that it overrides decide in its place. Where there are none, each \
                     service decides by its own default."
                }
            } @else {
                p { "It is in force nowhere, so the sampling does not change." }
            }
            @if let Some(token) = token(&console) {
                form method="post" action=(format!("{}/delete", key_link(&site, &key))) {
                    input type="hidden" name="token" value=(token);
                    button .danger { "Delete" }
                }
            }
            h2 { "The same by command" }
            (copyable("command", &commands::delete(console.backend().source(), &key)))
            p { a href=(key_link(&site, &key)) { "Back without a change" } }
        }
    };
    with_status(StatusCode::OK, document(&site, "Delete", content))
}

/// `POST /policies/{namespace}/{name}/delete`.
pub(super) async fn delete(
    State(console): State<Console>,
    uri: Uri,
    named: Named,
    Form(NoFields {}): Form<NoFields>,
) -> Response {
    let deleted = match key(named) {
        Ok(key) => console.backend().delete(&key).await,
        Err(missing) => Err(missing),
    };
    match deleted {
        Ok(_) => {
            let site = Site::of(&console, &uri);
            Redirect::to(&site.link("policies")).into_response()
        }
        Err(problem) => error(&console, &uri, &problem),
    }
}
