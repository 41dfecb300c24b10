//! The page with the table of places.

use axum::{extract::State, response::Response};
use http::{StatusCode, Uri};
use jiff::Timestamp;
use maud::{Markup, html};
use spoor_api::{SamplingPolicy, status::Condition};

use super::{MAX_NAME_CHARS, document, error, namespace_of, policy_link, table, token, words};
use crate::{
    backend::{Source, SourceKind},
    console::Console,
    layout::Site,
    text,
};

/// The most policies without effect that are listed.
const MAX_WITHOUT_EFFECT: usize = 200;
/// The most characters of a message.
const MAX_MESSAGE_CHARS: usize = 400;

/// `GET /policies`.
pub(super) async fn list(State(console): State<Console>, uri: Uri) -> Response {
    let policies = match console.backend().policies().await {
        Ok(policies) => policies,
        Err(problem) => return error(&console, &uri, &problem),
    };
    let site = Site::of(&console, &uri);
    let token = token(&console);
    let of_render = console.clone();
    let render = move || {
        let rows = table::rows(&policies, of_render.history());
        let content = html! {
            div .policies .read-only[token.is_none()] data-events=(site.link("policies/events")) {
                (heading(&site, token.as_deref()))
                (summary(&policies, of_render.backend().source()))
                div #places {
                    @if rows.is_empty() {
                        (no_places(&site, &policies, token.is_some()))
                    } @else {
                        (table::table(&site, &rows, token.as_deref().unwrap_or_default()))
                    }
                }
                (without_effect(&site, &policies))
            }
        };
        (StatusCode::OK, document(&site, "Policies", content))
    };
    console.render(render).await
}

fn heading(site: &Site, token: Option<&str>) -> Markup {
    html! {
        // Outside of the table, since rows that arrive later get this token.
        @if let Some(token) = token {
            form #token hidden { input type="hidden" name="token" value=(token); }
        }
        div .heading {
            h1 { "Policies" }
            @if token.is_some() {
                div .row {
                    a .button href=(site.link("policies/new")) { "New policy" }
                    a .button .quiet href=(site.link("policies/override")) { "Override" }
                }
            }
        }
    }
}

/// The counts, and how current the page is.
fn summary(policies: &[SamplingPolicy], source: &Source) -> Markup {
    let places = table::number_of_places(policies);
    let left_out = places.saturating_sub(table::MAX_ROWS);
    let source_kind = match source.kind {
        SourceKind::Lab => "the lab",
        SourceKind::Cluster => "the cluster",
    };
    html! {
        p #summary {
            (policy_count(policies.len()))
            " in " (source_kind) " " code { (text::cut(&source.name, MAX_NAME_CHARS)) }
            "; sampling is decided at " (text::count(places, "place")) "."
            @if left_out > 0 { " The last " (text::grouped(left_out)) " places are not shown." }
        }
        p #live .soft role="status" {
            "As of " (words::time(Timestamp::now())) "; reload the page for newer values."
        }
    }
}

fn policy_count(number: usize) -> String {
    match number {
        1 => "1 policy".to_owned(),
        number => format!("{} policies", text::grouped(number)),
    }
}

/// The explanation in place of an empty table.
fn no_places(site: &Site, policies: &[SamplingPolicy], can_write: bool) -> Markup {
    html! {
        section .panel {
            @if policies.is_empty() {
                h2 { "There are no policies" }
                p {
                    "Without a policy, each service decides by its own default which traces to \
                     keep, and complete traces are kept as they arrive. A policy changes that for \
                     some services while they run."
                }
            } @else {
                h2 { "No policy decides anywhere" }
                p { "The list below has the reasons." }
            }
            @if can_write {
                p { a .button href=(site.link("policies/new?from=example")) { "Start from an example" } }
            }
        }
    }
}

fn without_effect(site: &Site, policies: &[SamplingPolicy]) -> Markup {
    let refused = policies.iter().filter(|policy| !words::is_accepted(policy));
    let refused: Vec<&SamplingPolicy> = refused.collect();
    html! {
        div #without-effect {
            @if !refused.is_empty() {
                h2 { "Policies without effect" }
                ul {
                    @for policy in refused.iter().take(MAX_WITHOUT_EFFECT) {
                        li { (reason(site, policy)) }
                    }
                }
                @if refused.len() > MAX_WITHOUT_EFFECT {
                    p { "and " (text::grouped(refused.len() - MAX_WITHOUT_EFFECT)) " more" }
                }
            }
        }
    }
}

fn reason(site: &Site, policy: &SamplingPolicy) -> Markup {
    let (namespace, name) = (namespace_of(policy), &policy.metadata.name);
    let accepted = policy.condition(Condition::ACCEPTED);
    html! {
        a href=(policy_link(site, namespace, name)) {
            (text::cut(&format!("{namespace}/{name}"), MAX_NAME_CHARS))
        }
        @if let Some(accepted) = accepted {
            ": " (text::cut(&accepted.message, MAX_MESSAGE_CHARS))
        }
    }
}
