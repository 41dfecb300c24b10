//! The pages of policies: the table of places, a policy, and the change of one. All text from policies
//! and requests is escaped.

mod apply;
mod chart;
mod commands;
mod delete;
mod editor;
mod fields;
mod list;
mod manifest;
mod overrides;
mod page;
mod preview;
mod rate;
pub(crate) mod table;
#[cfg(test)]
mod tests;
mod words;

use axum::{
    Router,
    extract::{Path, rejection::PathRejection},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use http::{StatusCode, Uri};
use maud::{Markup, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use spoor_api::SamplingPolicy;
use spoor_policy::{Namespace, PolicyKey, PolicyName};

use crate::{
    backend::BackendError,
    console::Console,
    layout::{Section, Site},
};

/// The most characters shown of a name.
const MAX_NAME_CHARS: usize = 120;
/// The characters of a name that are encoded in a path. Valid names need no encoding.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// `/policies` and all pages below it, except the stream of events.
pub(crate) fn router() -> Router<Console> {
    Router::new()
        .route("/policies", get(list::list))
        .route("/policies/new", get(editor::new))
        .route("/policies/form", post(editor::write_yaml))
        .route("/policies/yaml", post(editor::fill_in_form))
        .route("/policies/preview", post(preview::of_text))
        .route("/policies/apply", post(apply::apply))
        .route(
            "/policies/override",
            get(overrides::form).post(overrides::preview),
        )
        .route("/policies/{namespace}/{name}", get(page::page))
        .route("/policies/{namespace}/{name}/edit", get(editor::edit))
        .route(
            "/policies/{namespace}/{name}/preview",
            post(preview::of_rate),
        )
        .route(
            "/policies/{namespace}/{name}/delete",
            get(delete::confirm).post(delete::delete),
        )
}

/// The namespace and name in a path.
type Named = Result<Path<(String, String)>, PathRejection>;

/// The policy that a path names.
fn key(named: Named) -> Result<PolicyKey, BackendError> {
    let missing = || BackendError::Find("no policy can have this name".to_owned());
    let Path((namespace, name)) = named.map_err(|_| missing())?;
    Ok(PolicyKey {
        namespace: Namespace::new(namespace).map_err(|_| missing())?,
        name: PolicyName::new(name).map_err(|_| missing())?,
    })
}

/// The policy that a path names, with its key.
async fn named_policy(
    console: &Console,
    named: Named,
) -> Result<(PolicyKey, SamplingPolicy), BackendError> {
    let key = key(named)?;
    let policy = console.backend().policy(&key).await?;
    Ok((key, policy))
}

fn namespace_of(policy: &SamplingPolicy) -> &str {
    policy.metadata.namespace.as_deref().unwrap_or("default")
}

/// The policy's probability as written.
fn rate_of(policy: &SamplingPolicy) -> Option<&str> {
    policy.spec.head.as_ref()?.probability.as_deref()
}

/// The link to a policy's page.
fn policy_link(site: &Site, namespace: &str, name: &str) -> String {
    let namespace = utf8_percent_encode(namespace, ENCODED);
    let name = utf8_percent_encode(name, ENCODED);
    site.link(&format!("policies/{namespace}/{name}"))
}

fn key_link(site: &Site, key: &PolicyKey) -> String {
    policy_link(site, key.namespace.as_str(), key.name.as_str())
}

/// The token for the forms of a page. A read-only console has no forms.
fn token(console: &Console) -> Option<String> {
    (!console.is_read_only()).then(|| console.tokens().issue())
}

fn document(site: &Site, title: &str, content: Markup) -> Html<String> {
    site.document_with(Section::Policies, title, "policies", content)
}

fn error(console: &Console, uri: &Uri, error: &BackendError) -> Response {
    Site::of(console, uri).error(Section::Policies, error)
}

/// A page with a status.
fn with_status(status: StatusCode, page: Html<String>) -> Response {
    (status, page).into_response()
}

/// A command with a button that copies it. The ID must be unique on its page.
fn copyable(id: &str, command: &str) -> Markup {
    html! {
        div .copyable {
            button .small .quiet type="button" data-copy=(id) hidden { "Copy" }
            pre tabindex="0" { code id=(id) { (command) } }
        }
    }
}
