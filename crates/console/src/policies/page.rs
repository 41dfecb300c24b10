//! The page of a policy.

mod evidence;

use axum::{extract::State, response::Response};
use http::{StatusCode, Uri};
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use spoor_api::{SamplingPolicy, status::Condition};
use spoor_policy::PolicyKey;
use spoor_traces::tree::value::visible_line;

use super::{
    MAX_NAME_CHARS, Named, copyable, document, error, key_link, manifest, named_policy,
    policy_link, rate_of, token, words,
};
use crate::{console::Console, layout::Site, text};

/// The most places, targets and rules that are listed.
const MAX_LISTED: usize = 256;
/// The most characters of a message.
const MAX_MESSAGE_CHARS: usize = 4_000;

/// A policy, with everything that its page shows.
struct View<'a> {
    site: &'a Site,
    key: &'a PolicyKey,
    policy: &'a SamplingPolicy,
}

/// `GET /policies/{namespace}/{name}`.
pub(super) async fn page(State(console): State<Console>, uri: Uri, named: Named) -> Response {
    let (key, policy) = match named_policy(&console, named).await {
        Ok(found) => found,
        Err(problem) => return error(&console, &uri, &problem),
    };
    let site = Site::of(&console, &uri);
    let token = token(&console);
    let of_render = console.clone();
    let render = move || {
        let view = View {
            site: &site,
            key: &key,
            policy: &policy,
        };
        let content = html! {
            div .policy data-policy=(key) data-events=(site.link("policies/events")) {
                (view.heading(token.is_some()))
                @if let Some(token) = &token { (view.rate_form(token)) }
                div #facts {
                    (view.progress())
                    (view.strategy())
                    (view.places())
                    (view.conditions())
                    (evidence::evidence(&policy, &of_render.history().observed(&key)))
                    (evidence::changes(of_render.history(), &key))
                }
                h2 { "YAML" }
                (copyable("yaml", &manifest::shown(&policy)))
            }
        };
        (StatusCode::OK, document(&site, key.name.as_str(), content))
    };
    console.render(render).await
}

impl View<'_> {
    fn heading(&self, can_write: bool) -> Markup {
        let link = key_link(self.site, self.key);
        html! {
            div .heading {
                h1 { (text::cut(&self.key.to_string(), MAX_NAME_CHARS)) }
                @if can_write {
                    div .row {
                        a .button href=(format!("{link}/edit")) { "Edit" }
                        a .button .quiet href=(self.override_link()) { "Override for 15 minutes" }
                        a .button .quiet href=(format!("{link}/delete")) { "Delete" }
                    }
                }
            }
        }
    }

    /// The link to the form of an override of the policy's first service.
    fn override_link(&self) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let namespace = encoded(self.key.namespace.as_str());
        let first = self.policy.spec.targets.first();
        let service = first.map_or_else(String::new, |target| encoded(&target.service));
        let path = format!("policies/override?namespace={namespace}&service={service}");
        self.site.link(&path)
    }

    fn rate_form(&self, token: &str) -> Markup {
        let link = key_link(self.site, self.key);
        html! {
            @if let Some(rate) = rate_of(self.policy) {
                form .rate .wide method="post" action=(format!("{link}/preview")) {
                    input type="hidden" name="token" value=(token);
                    label for="rate" { "Rate in percent" }
                    input #rate type="number" name="rate" min="0" max="100" step="any" required
                        value=(rate.trim_end_matches('%'));
                    button .quiet { "Change rate" }
                }
            }
        }
    }

    fn progress(&self) -> Markup {
        html! {
            p .progress { (words::progress(self.policy)) }
            @if let Some(until) = &self.policy.spec.expires_at {
                p {
                    "Expires " time data-countdown datetime=(text::cut(until, 40)) {
                        (words::written_time(until))
                    }
                    "."
                }
            }
        }
    }

    fn strategy(&self) -> Markup {
        let spec = &self.policy.spec;
        html! {
            h2 { "What it does" }
            ul {
                @if let Some(head) = &spec.head { li { (words::head(head)) } }
                @if let Some(tail) = &spec.tail {
                    @for rule in tail.keep.iter().take(MAX_LISTED) {
                        li {
                            "Keeps complete traces if " (text::cut(&words::rule(rule), 1_000))
                            " (rule " (text::cut(&rule.name, MAX_NAME_CHARS)) ")."
                        }
                    }
                    li { (words::otherwise(tail)) }
                }
                li { (self.targets()) "; priority " (spec.priority) "." }
            }
        }
    }

    fn targets(&self) -> Markup {
        let targets = &self.policy.spec.targets;
        html! {
            @if targets.is_empty() {
                "Applies to all services of the namespace"
            } @else {
                "Applies to "
                @for (index, target) in targets.iter().take(MAX_LISTED).enumerate() {
                    @if index > 0 { ", " }
                    b { (text::cut(&target.service, MAX_NAME_CHARS)) }
                    @if !target.operations.is_empty() {
                        " (only " (text::cut(&operations(&target.operations), 1_000)) ")"
                    }
                }
            }
        }
    }

    fn places(&self) -> Markup {
        let status = self.policy.status.as_ref();
        let effective = status.map(|it| it.effective.as_slice()).unwrap_or_default();
        let overridden = status
            .map(|it| it.overridden.as_slice())
            .unwrap_or_default();
        html! {
            h2 { "Where it decides" }
            @if effective.is_empty() {
                p { "Nowhere." }
            } @else {
                ul {
                    @for at in effective.iter().take(MAX_LISTED) {
                        li {
                            (place(at.service.as_deref(), at.operation.as_deref()))
                            ": " strong { (text::cut(&at.strategy, MAX_NAME_CHARS)) }
                        }
                    }
                }
            }
            @if !overridden.is_empty() {
                h2 { "Where another policy decides" }
                ul {
                    @for at in overridden.iter().take(MAX_LISTED) {
                        li {
                            (place(at.service.as_deref(), at.operation.as_deref())) ": "
                            a href=(policy_link(self.site, self.key.namespace.as_str(), &at.by)) {
                                (text::cut(&at.by, MAX_NAME_CHARS))
                            }
                        }
                    }
                }
            }
        }
    }

    fn conditions(&self) -> Markup {
        let status = self.policy.status.as_ref();
        let conditions = status
            .map(|it| it.conditions.as_slice())
            .unwrap_or_default();
        html! {
            h2 { "Conditions" }
            @if conditions.is_empty() { p .soft { "None yet." } }
            ul { @for it in conditions { li { (condition(it)) } } }
        }
    }
}

fn condition(condition: &Condition) -> Markup {
    html! {
        strong { (text::cut(&words::condition(condition), MAX_NAME_CHARS)) }
        @if !condition.message.is_empty() {
            ": " (text::cut(&condition.message, MAX_MESSAGE_CHARS))
        }
        " "
        span .hint {
            "(" (text::cut(&condition.reason, MAX_NAME_CHARS)) ", since "
            (words::written_time(&condition.last_transition_time)) ")"
        }
    }
}

fn place(service: Option<&str>, operation: Option<&str>) -> Markup {
    html! {
        (service.map_or_else(|| "all services that no policy names".to_owned(), short))
        ", "
        (operation.map_or_else(|| "all operations that no policy names".to_owned(), short))
    }
}

fn short(name: &str) -> String {
    text::cut(name, MAX_NAME_CHARS)
}

fn operations(operations: &[String]) -> String {
    let names = operations.iter().take(MAX_LISTED);
    let names = names.map(|name| visible_line(name).into_owned());
    names.collect::<Vec<_>>().join(", ")
}
