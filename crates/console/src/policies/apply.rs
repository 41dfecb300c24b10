//! The change itself, after its preview.

use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use http::{StatusCode, Uri};
use maud::{Markup, html};
use serde::Deserialize;
use spoor_api::changes::Document;

use super::{
    MAX_NAME_CHARS, document, editor, error, key_link,
    manifest::{Manifest, with_line_feeds},
    token, with_status,
};
use crate::{backend::BackendError, console::Console, layout::Site, text, tokens::Form};

/// The fields of the preview's form.
#[derive(Debug, Deserialize)]
pub(super) struct Fields {
    yaml: String,
    /// The generation that the preview was compared with; unset if the policy did not exist.
    generation: Option<i64>,
}

/// `POST /policies/apply`.
pub(super) async fn apply(
    State(console): State<Console>,
    uri: Uri,
    Form(Fields { yaml, generation }): Form<Fields>,
) -> Response {
    let yaml = with_line_feeds(&yaml);
    let manifest = match Manifest::read(console.backend().source(), yaml.clone()).await {
        Ok(manifest) => manifest,
        Err(problem) => return editor::refused(&console, &uri, &yaml, generation, &problem),
    };
    match apply_to(&console, &manifest, generation).await {
        Ok(()) => {
            let site = Site::of(&console, &uri);
            Redirect::to(&key_link(&site, &manifest.key)).into_response()
        }
        Err(BackendError::Conflict(reason)) => conflict(&console, &uri, &manifest, &reason),
        Err(problem @ BackendError::Validate(_)) => {
            editor::refused(&console, &uri, &yaml, generation, &problem)
        }
        Err(problem) => error(&console, &uri, &problem),
    }
}

/// Applies the manifest if the policy still has the generation that was previewed.
async fn apply_to(
    console: &Console,
    manifest: &Manifest,
    previewed: Option<i64>,
) -> Result<(), BackendError> {
    let backend = console.backend();
    let now = match backend.policy(&manifest.key).await {
        Ok(policy) => policy.metadata.generation,
        Err(BackendError::Find(_)) => None,
        Err(error) => return Err(error),
    };
    if now != previewed {
        return Err(BackendError::Conflict(describe(previewed, now)));
    }
    let sent = Document {
        source: "policy".to_owned(),
        text: manifest.text.clone(),
    };
    backend.apply(sent).await?;
    Ok(())
}

pub(super) fn describe(previewed: Option<i64>, now: Option<i64>) -> String {
    match (previewed, now) {
        (Some(previewed), Some(now)) => {
            format!("the change is of generation {previewed}, and the policy now has {now}")
        }
        (None, _) => "the policy did not exist at the time of the preview".to_owned(),
        (_, None) => "the policy was deleted after the preview".to_owned(),
    }
}

/// The page of a policy that someone else has changed since the preview, or since it was read for
/// the editor.
pub(super) fn conflict(
    console: &Console,
    uri: &Uri,
    manifest: &Manifest,
    reason: &str,
) -> Response {
    let site = Site::of(console, uri);
    let page = document(&site, "Changed in the meantime", {
        let name = text::cut(&manifest.key.to_string(), MAX_NAME_CHARS);
        html! {
            section .notice {
                h1 { (name) " has changed in the meantime" }
                p { "Nothing was applied: " (text::cut(reason, 1_000)) "." }
                (again(&site, manifest, token(console).as_deref()))
                p { a href=(key_link(&site, &manifest.key)) { "See the policy as it is now" } }
            }
        }
    });
    with_status(StatusCode::CONFLICT, page)
}

fn again(site: &Site, manifest: &Manifest, token: Option<&str>) -> Markup {
    html! {
        @if let Some(token) = token {
            form method="post" action=(site.link("policies/preview")) {
                input type="hidden" name="token" value=(token);
                input type="hidden" name="yaml" value=(manifest.text);
                button { "Preview again" }
            }
        }
    }
}
