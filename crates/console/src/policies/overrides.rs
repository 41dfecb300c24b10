//! The override of a service's rate for some minutes.

use std::time::Duration;

use axum::{extract::State, response::Response};
use http::{StatusCode, Uri};
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;
use spoor_api::{OverrideFields, override_policy};
use spoor_policy::{Namespace, PolicyKey, PolicyName, ServiceName};
use spoor_traces::{query::parameters::Parameters, tree::value::visible_line};

use super::{document, error, manifest::Manifest, preview, rate, token, with_status};
use crate::{backend::BackendError, console::Console, layout::Site, text, tokens::Form};

const DEFAULT_MINUTES: u64 = 15;
/// The longest override that the form accepts: one week.
const MAX_MINUTES: u64 = 7 * 24 * 60;
/// The most services that the form suggests.
const MAX_SUGGESTIONS: usize = 500;

/// The fields of the form, as they were typed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    namespace: String,
    service: String,
    rate: String,
    minutes: String,
}

/// The fields whose values are invalid, with their problems.
type Problems = Vec<(&'static str, String)>;

/// `GET /policies/override`, where the parameters `namespace` and `service` fill in the form.
pub(super) async fn form(
    State(console): State<Console>,
    uri: Uri,
    parameters: Parameters,
) -> Response {
    let parameter = |name: &str| parameters.get(name).unwrap_or_default().to_owned();
    let fields = Fields {
        namespace: parameter("namespace"),
        service: parameter("service"),
        rate: "100%".to_owned(),
        minutes: DEFAULT_MINUTES.to_string(),
    };
    show(&console, &uri, fields, vec![]).await
}

/// `POST /policies/override`.
pub(super) async fn preview(
    State(console): State<Console>,
    uri: Uri,
    Form(fields): Form<Fields>,
) -> Response {
    let default = console.backend().source().namespace.clone();
    let manifest = match manifest(&fields, &default.unwrap_or_default()) {
        Ok(manifest) => manifest,
        Err(problems) => return show(&console, &uri, fields, problems).await,
    };
    let shown = match preview::with_generation(&console, manifest).await {
        Ok(planned) => preview::show(&console, &uri, planned).await,
        Err(problem) => Err(problem),
    };
    match shown {
        Ok(page) => page,
        Err(BackendError::Validate(errors)) => {
            let problems = errors.into_iter().map(|it| ("service", it)).collect();
            show(&console, &uri, fields, problems).await
        }
        Err(problem) => error(&console, &uri, &problem),
    }
}

/// The policy of the override, which begins now.
fn manifest(fields: &Fields, default: &Namespace) -> Result<Manifest, Problems> {
    let namespace = match fields.namespace.trim() {
        "" => Ok(default.clone()),
        namespace => Namespace::new(namespace),
    };
    let namespace = namespace.map_err(|it| problem("namespace", &it))?;
    let service = ServiceName::new(fields.service.trim());
    let service = service.map_err(|it| problem("service", &it))?;
    let probability = rate::read(&fields.rate).map_err(|it| vec![("rate", it)])?;
    let lifetime = minutes(&fields.minutes).map_err(|it| vec![("minutes", it)])?;
    let fields = OverrideFields {
        namespace: namespace.clone(),
        service,
        operations: vec![],
        probability,
        lifetime,
    };
    let policy = override_policy(&fields, Timestamp::now());
    let policy = policy.map_err(|it| problem("service", &it))?;
    let name = PolicyName::new(&policy.metadata.name);
    let name = name.map_err(|it| problem("service", &it))?;
    Ok(Manifest::new(PolicyKey { namespace, name }, policy))
}

fn problem(field: &'static str, problem: &dyn std::fmt::Display) -> Problems {
    vec![(field, format!("{field}: {problem}"))]
}

fn minutes(text: &str) -> Result<Duration, String> {
    let text = match text.trim() {
        "" => return Ok(Duration::from_secs(DEFAULT_MINUTES * 60)),
        text => text,
    };
    let minutes = text.parse::<u64>().ok();
    let minutes = minutes.filter(|minutes| (1..=MAX_MINUTES).contains(minutes));
    minutes
        .map(|minutes| Duration::from_secs(minutes * 60))
        .ok_or_else(|| format!("minutes: must be a whole number from 1 to {MAX_MINUTES}"))
}

async fn show(console: &Console, uri: &Uri, fields: Fields, problems: Problems) -> Response {
    // Without suggestions the form still works.
    let services = console.backend().services().await.unwrap_or_default();
    let site = Site::of(console, uri);
    let namespace = console.backend().source().namespace.as_ref();
    let shown = Shown {
        fields: &fields,
        problems: &problems,
        namespace: namespace.map_or("default", Namespace::as_str),
        services: &services,
    };
    let status = match problems.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::BAD_REQUEST,
    };
    let content = html! {
        section .preview {
            h1 { "Override a rate" }
            p {
                "Samples a service at another rate for some minutes. Then the policies that are in \
                 force now decide again."
            }
            @match token(console) {
                Some(token) => (shown.form(&site, &token)),
                None => p .warning { "This console is read-only." },
            }
        }
    };
    with_status(status, document(&site, "Override", content))
}

/// The form with its values and problems.
struct Shown<'a> {
    fields: &'a Fields,
    problems: &'a Problems,
    /// The namespace if none is typed.
    namespace: &'a str,
    services: &'a [String],
}

impl Shown<'_> {
    fn form(&self, site: &Site, token: &str) -> Markup {
        let fields = self.fields;
        html! {
            form .override method="post" action=(site.link("policies/override")) {
                input type="hidden" name="token" value=(token);
                (self.input("service", "Service", &fields.service, ""))
                datalist #services {
                    @for service in self.services.iter().take(MAX_SUGGESTIONS) {
                        option value=(visible_line(service)) {}
                    }
                }
                (self.input("rate", "Rate, such as 100% or 0.5%", &fields.rate, "100%"))
                (self.input("minutes", "Minutes", &fields.minutes, "15"))
                (self.input("namespace", "Namespace", &fields.namespace, self.namespace))
                button { "Preview" }
            }
        }
    }

    fn input(&self, name: &'static str, label: &str, value: &str, placeholder: &str) -> Markup {
        let problem = self.problems.iter().find(|(field, _)| *field == name);
        let id = format!("override-{name}");
        let described_by = format!("{id}-problem");
        html! {
            div .field {
                label for=(id) { (label) }
                input id=(id) name=(name) value=(visible_line(value)) placeholder=(placeholder)
                    list=[(name == "service").then_some("services")]
                    required[name == "service"]
                    aria-invalid=[problem.map(|_| "true")]
                    aria-describedby=[problem.map(|_| &described_by)]
                    autocomplete="off" spellcheck="false";
                @if let Some((_, problem)) = problem {
                    p .problem id=(described_by) { (text::cut(problem, 400)) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn fields(service: &str, rate: &str, minutes: &str) -> Fields {
        Fields {
            namespace: String::new(),
            service: service.to_owned(),
            rate: rate.to_owned(),
            minutes: minutes.to_owned(),
        }
    }

    #[test]
    fn minutes_default_to_a_quarter_of_an_hour() {
        for text in ["", "15"] {
            assert_eq!(minutes(text), Ok(Duration::from_secs(900)));
        }
    }

    #[rstest::rstest]
    #[case(fields("", "1", "15"), "service")]
    #[case(fields("Shop Service", "1", "15"), "service")]
    #[case(fields("a", "x", "15"), "rate")]
    #[case(fields("a", "1", "0"), "minutes")]
    #[case(fields("a", "1", "20000"), "minutes")]
    fn problem_names_its_field(#[case] fields: Fields, #[case] expected: &str) {
        let problems = manifest(&fields, &Namespace::default()).unwrap_err();
        let (field, problem) = &problems[0];
        assert_eq!(*field, expected);
        assert!(problem.starts_with(&format!("{expected}: ")), "{problem}");
    }
}
