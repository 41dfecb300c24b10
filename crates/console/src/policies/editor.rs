//! The editor of a policy: a form, and the YAML beside it.

use axum::{
    extract::State,
    response::{Html, Response},
};
use http::{StatusCode, Uri};
use maud::{Markup, html};
use serde_json::Value;
use spoor_api::{Head, Metadata, SamplingPolicy, SamplingPolicySpec, TargetSpec};
use spoor_traces::{query::parameters::Parameters, tree::value::visible};

use super::{
    Named, document, error, fields,
    manifest::{self, Manifest, with_line_feeds},
    named_policy,
    preview::TextField,
    token, with_status,
};
use crate::{backend::BackendError, console::Console, layout::Site, text, tokens::Form};

/// The most errors that are listed.
const MAX_ERRORS: usize = 50;
/// The most characters of an error.
const MAX_ERROR_CHARS: usize = 1_000;

/// The content of the editor.
struct Edited {
    yaml: String,
    /// The policy as JSON, for the form. Unset if the YAML is invalid.
    policy: Option<Value>,
    /// The generation of the policy that the editor began with; unset for a new policy.
    generation: Option<i64>,
    errors: Vec<String>,
}

/// `GET /policies/new`, with `from=example` for a complete policy.
pub(super) async fn new(
    State(console): State<Console>,
    uri: Uri,
    parameters: Parameters,
) -> Response {
    let namespace = console.backend().source().namespace.clone();
    let namespace = namespace.unwrap_or_default().to_string();
    let (name, service, rate) = match parameters.get("from") {
        Some("example") => ("service-a", "service-a", Some("10%")),
        _ => ("", "", None),
    };
    let spec = SamplingPolicySpec {
        targets: vec![TargetSpec {
            service: service.to_owned(),
            ..TargetSpec::default()
        }],
        head: Some(Head {
            probability: rate.map(str::to_owned),
            ..Head::default()
        }),
        ..SamplingPolicySpec::default()
    };
    let metadata = Metadata {
        namespace: Some(namespace),
        ..Metadata::named(name)
    };
    let policy = SamplingPolicy::new(metadata, spec);
    let edited = Edited::of(manifest::text(&policy), &policy, None);
    with_status(StatusCode::OK, page(&console, &uri, &edited))
}

/// `GET /policies/{namespace}/{name}/edit`.
pub(super) async fn edit(State(console): State<Console>, uri: Uri, named: Named) -> Response {
    match named_policy(&console, named).await {
        Ok((_, policy)) => {
            let generation = policy.metadata.generation;
            let policy = manifest::without_server_fields(policy);
            let edited = Edited::of(manifest::text(&policy), &policy, generation);
            with_status(StatusCode::OK, page(&console, &uri, &edited))
        }
        Err(problem) => error(&console, &uri, &problem),
    }
}

/// `POST /policies/form`: the editor with the YAML that the form describes.
pub(super) async fn write_yaml(
    State(console): State<Console>,
    uri: Uri,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Response {
    let policy = fields::policy(&pairs);
    let generation = pairs.iter().find(|(name, _)| name == "generation");
    let edited = Edited {
        yaml: manifest::text(&policy),
        policy: Some(policy),
        generation: generation.and_then(|(_, value)| value.parse().ok()),
        errors: vec![],
    };
    with_status(StatusCode::OK, page(&console, &uri, &edited))
}

/// `POST /policies/yaml`: the editor with the form that the YAML describes.
pub(super) async fn fill_in_form(
    State(console): State<Console>,
    uri: Uri,
    Form(TextField { yaml, generation }): Form<TextField>,
) -> Response {
    let yaml = with_line_feeds(&yaml);
    match Manifest::read(console.backend().source(), yaml.clone()).await {
        Ok(manifest) => {
            let edited = Edited::of(manifest.text, &manifest.policy, generation);
            with_status(StatusCode::OK, page(&console, &uri, &edited))
        }
        Err(problem) => refused(&console, &uri, &yaml, generation, &problem),
    }
}

/// The editor with the errors of a text, or the page for another problem.
pub(super) fn refused(
    console: &Console,
    uri: &Uri,
    yaml: &str,
    generation: Option<i64>,
    problem: &BackendError,
) -> Response {
    let BackendError::Validate(errors) = problem else {
        return error(console, uri, problem);
    };
    let edited = Edited {
        yaml: visible(yaml).into_owned(),
        policy: None,
        generation,
        errors: errors.clone(),
    };
    with_status(StatusCode::BAD_REQUEST, page(console, uri, &edited))
}

impl Edited {
    fn of(yaml: String, policy: &SamplingPolicy, generation: Option<i64>) -> Self {
        let policy = serde_json::to_value(policy).ok();
        Self {
            yaml,
            policy: policy.filter(fields::can_show),
            generation,
            errors: vec![],
        }
    }
}

fn page(console: &Console, uri: &Uri, edited: &Edited) -> Html<String> {
    let site = Site::of(console, uri);
    let content = html! {
        h1 { "Edit a policy" }
        @match token(console) {
            Some(token) => {
                div .editor {
                    (text_form(&site, edited, &token))
                    (field_form(&site, edited, &token))
                }
            },
            None => p .warning { "This console is read-only." },
        }
    };
    document(&site, "Edit a policy", content)
}

fn text_form(site: &Site, edited: &Edited, token: &str) -> Markup {
    let is_invalid = !edited.errors.is_empty();
    html! {
        form #text method="post" action=(site.link("policies/preview")) {
            input type="hidden" name="token" value=(token);
            @if let Some(generation) = edited.generation {
                input type="hidden" name="generation" value=(generation);
            }
            label for="yaml" { "YAML" }
            textarea #yaml name="yaml" rows="24" spellcheck="false"
                aria-invalid=[is_invalid.then_some("true")]
                aria-describedby=[is_invalid.then_some("yaml-problems")] {
                // The first line feed of an element is ignored.
                "\n" (edited.yaml)
            }
            ul #yaml-problems .failure hidden[!is_invalid] {
                @for error in edited.errors.iter().take(MAX_ERRORS) {
                    li { (text::cut(error, MAX_ERROR_CHARS)) }
                }
            }
            div .row {
                button { "Preview" }
                button .quiet formaction=(site.link("policies/yaml")) { "Fill in the form" }
            }
        }
    }
}

fn field_form(site: &Site, edited: &Edited, token: &str) -> Markup {
    html! {
        form #fields method="post" action=(site.link("policies/form")) {
            input type="hidden" name="token" value=(token);
            @if let Some(generation) = edited.generation {
                input type="hidden" name="generation" value=(generation);
            }
            div #controls {
                @match &edited.policy {
                    Some(policy) => (fields::controls(policy)),
                    None if edited.errors.is_empty() => p .warning {
                        "The policy has characters that a form cannot show. Edit the text."
                    },
                    None => p .warning { "The form is shown once the text is valid." },
                }
            }
            @if edited.policy.is_some() { button .quiet { "Write YAML from the form" } }
        }
    }
}
