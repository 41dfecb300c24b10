//! The preview of a change: the sampling before and after, and the form that applies it.

use axum::{extract::State, response::Response};
use http::{StatusCode, Uri};
use maud::{Markup, html};
use serde::Deserialize;
use spoor_api::{
    SamplingPolicy,
    changes::{Comparison, Difference, Document, PlaceSetting},
};
use spoor_policy::{PolicyKey, Probability};

use super::{
    MAX_NAME_CHARS, Named, apply, commands, copyable, document, editor, error, key_link,
    manifest::{Manifest, with_line_feeds},
    named_policy,
    rate::{self, RateField},
    token, with_status,
};
use crate::{backend::BackendError, console::Console, layout::Site, text, tokens::Form};

/// The most differences that are listed.
const MAX_DIFFERENCES: usize = 200;
/// The most characters of a warning.
const MAX_WARNING_CHARS: usize = 1_000;

/// The text of a policy in a form.
#[derive(Debug, Deserialize)]
pub(super) struct TextField {
    pub yaml: String,
    /// The generation of the policy that the editor began with; unset for a new policy.
    pub generation: Option<i64>,
}

/// A change to preview.
pub(super) struct Planned {
    pub manifest: Manifest,
    /// The equivalent command.
    pub command: String,
    /// The policy's generation before, or `None` if it does not exist.
    pub generation: Option<i64>,
}

/// `POST /policies/preview`, from the editor.
pub(super) async fn of_text(
    State(console): State<Console>,
    uri: Uri,
    Form(TextField { yaml, generation }): Form<TextField>,
) -> Response {
    let yaml = with_line_feeds(&yaml);
    let source = console.backend().source();
    let planned = match Manifest::read(source, yaml.clone()).await {
        Ok(manifest) => with_generation(&console, manifest).await,
        Err(problem) => Err(problem),
    };
    let shown = match planned {
        // A policy without a generation does not exist: the text has another name.
        Ok(Planned {
            manifest,
            generation: now @ Some(_),
            ..
        }) if generation.is_some() && now != generation => {
            let reason = apply::describe(generation, now);
            return apply::conflict(&console, &uri, &manifest, &reason);
        }
        Ok(planned) => show(&console, &uri, planned).await,
        Err(problem) => Err(problem),
    };
    shown.unwrap_or_else(|problem| editor::refused(&console, &uri, &yaml, generation, &problem))
}

/// `POST /policies/{namespace}/{name}/preview`, from the table and the policy's page.
pub(super) async fn of_rate(
    State(console): State<Console>,
    uri: Uri,
    named: Named,
    Form(RateField { rate }): Form<RateField>,
) -> Response {
    let (key, policy) = match named_policy(&console, named).await {
        Ok(found) => found,
        Err(problem) => return error(&console, &uri, &problem),
    };
    let read = match rate::read(&rate) {
        Ok(read) => read,
        Err(problem) => return invalid_rate(&console, &uri, &key, &rate, &problem),
    };
    let shown = match with_rate(&console, key, policy, read) {
        Ok(planned) => show(&console, &uri, planned).await,
        Err(problem) => Err(problem),
    };
    shown.unwrap_or_else(|problem| error(&console, &uri, &problem))
}

/// The change to a policy that is already read, with the generation that is in force now.
pub(super) async fn with_generation(
    console: &Console,
    manifest: Manifest,
) -> Result<Planned, BackendError> {
    let before = match console.backend().policy(&manifest.key).await {
        Ok(before) => Some(before),
        Err(BackendError::Find(_)) => None,
        Err(error) => return Err(error),
    };
    Ok(Planned {
        command: commands::apply(console.backend().source(), &manifest.text),
        generation: before.and_then(|before| before.metadata.generation),
        manifest,
    })
}

/// The page of a preview.
///
/// # Errors
/// The backend's, if it cannot compare.
pub(super) async fn show(
    console: &Console,
    uri: &Uri,
    planned: Planned,
) -> Result<Response, BackendError> {
    let sent = Document {
        source: "policy".to_owned(),
        text: planned.manifest.text.clone(),
    };
    let comparison = console.backend().diff(sent).await?;
    let site = Site::of(console, uri);
    let token = token(console);
    let render = move || {
        let content = content(&site, &planned, &comparison, token.as_deref());
        (StatusCode::OK, document(&site, "Preview", content))
    };
    Ok(console.render(render).await)
}

fn with_rate(
    console: &Console,
    key: PolicyKey,
    mut policy: SamplingPolicy,
    rate: Probability,
) -> Result<Planned, BackendError> {
    let generation = policy.metadata.generation;
    let head = policy.spec.head.as_mut();
    let Some(probability) = head.and_then(|head| head.probability.as_mut()) else {
        let message = "the policy has no probability to change; edit it instead";
        return Err(BackendError::Validate(vec![message.to_owned()]));
    };
    *probability = rate.to_string();
    policy.metadata.namespace = Some(key.namespace.to_string());
    let manifest = Manifest::new(key, policy);
    let source = console.backend().source();
    let command = commands::change_rate(source, &manifest.key, rate, &manifest.text);
    Ok(Planned {
        manifest,
        command,
        generation,
    })
}

fn content(site: &Site, planned: &Planned, comparison: &Comparison, token: Option<&str>) -> Markup {
    let Planned {
        manifest,
        command,
        generation,
    } = planned;
    let is_new = generation.is_none();
    html! {
        section .preview {
            h1 {
                @if is_new { "Create " } @else { "Change " }
                (text::cut(&manifest.key.to_string(), MAX_NAME_CHARS)) "?"
            }
            (differences(&comparison.differences))
            @for warning in warnings(comparison, &manifest.key) {
                p .warning { "Warning: " (text::cut(warning, MAX_WARNING_CHARS)) }
            }
            @if let Some(token) = token { (apply_form(site, planned, token)) }
            h2 { "The same by command" }
            (copyable("command", command))
            details {
                summary { "The whole policy" }
                (copyable("manifest", &manifest.text))
            }
            p { a href=(back(site, planned)) { "Back without a change" } }
        }
    }
}

fn apply_form(site: &Site, planned: &Planned, token: &str) -> Markup {
    let Manifest { text, .. } = &planned.manifest;
    html! {
        div .row {
            form method="post" action=(site.link("policies/apply")) {
                input type="hidden" name="token" value=(token);
                input type="hidden" name="yaml" value=(text);
                @if let Some(generation) = planned.generation {
                    input type="hidden" name="generation" value=(generation);
                }
                button { "Apply" }
            }
            form method="post" action=(site.link("policies/yaml")) {
                input type="hidden" name="token" value=(token);
                input type="hidden" name="yaml" value=(text);
                button .quiet { "Edit" }
            }
        }
    }
}

fn back(site: &Site, planned: &Planned) -> String {
    match planned.generation {
        Some(_) => key_link(site, &planned.manifest.key),
        None => site.link("policies"),
    }
}

fn warnings<'a>(comparison: &'a Comparison, key: &PolicyKey) -> impl Iterator<Item = &'a String> {
    comparison
        .warnings
        .get(&key.to_string())
        .into_iter()
        .flatten()
}

fn differences(differences: &[Difference]) -> Markup {
    html! {
        @if differences.is_empty() {
            p { "Applying it changes the sampling nowhere." }
        } @else {
            div .scroll tabindex="0" role="region" aria-label="Sampling before and after" {
                table .table {
                    thead {
                        tr {
                            th scope="col" { "Place" }
                            th scope="col" { "Before" }
                            th scope="col" { "After" }
                        }
                    }
                    tbody {
                        @for difference in differences.iter().take(MAX_DIFFERENCES) {
                            tr {
                                th scope="row" { (place(difference)) }
                                td { (setting(difference.before.as_ref())) }
                                td { (setting(difference.after.as_ref())) }
                            }
                        }
                    }
                }
            }
            @if differences.len() > MAX_DIFFERENCES {
                p { "and " (text::grouped(differences.len() - MAX_DIFFERENCES)) " more" }
            }
        }
    }
}

fn place(difference: &Difference) -> Markup {
    html! {
        @match &difference.service {
            Some(service) => (text::cut(service, MAX_NAME_CHARS)),
            None => span .rest { "all other services" },
        }
        ", "
        @match &difference.operation {
            Some(operation) => (text::cut(operation, MAX_NAME_CHARS)),
            None => span .rest { "all other operations" },
        }
        span .hint { " (" (difference.namespace) ", " (difference.part) ")" }
    }
}

fn setting(setting: Option<&PlaceSetting>) -> Markup {
    html! {
        @match setting {
            Some(setting) => {
                strong { (text::cut(&setting.setting, MAX_NAME_CHARS)) }
                span .hint { " by " (text::cut(&setting.policy, MAX_NAME_CHARS)) }
            },
            None => span .soft { "no policy" },
        }
    }
}

/// The form of the rate again, with its problem.
fn invalid_rate(
    console: &Console,
    uri: &Uri,
    key: &PolicyKey,
    rate: &str,
    problem: &str,
) -> Response {
    let site = Site::of(console, uri);
    let content = html! {
        section .preview {
            h1 { "The rate of " (text::cut(key.name.as_str(), MAX_NAME_CHARS)) " is unchanged" }
            @if let Some(token) = token(console) {
                form .row method="post" action=(format!("{}/preview", key_link(&site, key))) {
                    input type="hidden" name="token" value=(token);
                    label for="invalid-rate" { "Rate in percent" }
                    input #invalid-rate .narrow name="rate" value=(text::cut(rate, 40))
                        aria-invalid="true" aria-describedby="rate-problem" autocomplete="off";
                    button { "Preview" }
                }
            }
            p #rate-problem .problem { (text::cut(problem, MAX_WARNING_CHARS)) }
            p { a href=(key_link(&site, key)) { "Back without a change" } }
        }
    };
    let page = document(&site, "Invalid rate", content);
    with_status(StatusCode::BAD_REQUEST, page)
}
