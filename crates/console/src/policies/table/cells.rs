//! The cells of a row.

use maud::{Markup, html};
use spoor_api::status::{Condition, ConditionStatus, Observed};
use spoor_policy::Probability;

use super::Row;
use crate::{
    layout::Site,
    policies::{MAX_NAME_CHARS, chart, namespace_of, policy_link, rate_of, words},
    text,
};

/// The most characters of a message in a cell. The policy's page has all of it.
const MAX_MESSAGE_CHARS: usize = 200;
/// The most overridden policies that a cell names.
const MAX_OVERRIDDEN: usize = 5;

pub(super) fn service(row: &Row<'_>) -> Markup {
    html! {
        @if row.shows_namespace {
            span .namespace { (text::cut(namespace_of(row.policy), MAX_NAME_CHARS)) }
        }
        @match &row.place.service {
            Some(service) => (text::cut(service, MAX_NAME_CHARS)),
            None if row.is_rest => span .rest { "all other services" },
            None => span .rest { "all services" },
        }
    }
}

pub(super) fn operation(row: &Row<'_>) -> Markup {
    html! {
        @match &row.place.operation {
            Some(operation) => (text::cut(operation, MAX_NAME_CHARS)),
            None if row.is_rest && row.place.service.is_some() => {
                span .rest { "all other operations" }
            },
            None => span .rest { "all operations" },
        }
    }
}

pub(super) fn strategy(row: &Row<'_>) -> Markup {
    html! {
        strong { (text::cut(&row.place.strategy, MAX_NAME_CHARS)) }
        @if let Some(until) = &row.policy.spec.expires_at {
            p .hint {
                "until " time data-countdown datetime=(text::cut(until, 40)) {
                    (words::written_time(until))
                }
            }
        }
    }
}

pub(super) fn policy(site: &Site, row: &Row<'_>) -> Markup {
    let namespace = namespace_of(row.policy);
    let link = |name: &str| {
        let href = policy_link(site, namespace, name);
        html! { a href=(href) { (text::cut(name, MAX_NAME_CHARS)) } }
    };
    let more = row.overrides.len().saturating_sub(MAX_OVERRIDDEN);
    html! {
        (link(&row.policy.metadata.name))
        @if !row.overrides.is_empty() {
            p .hint {
                "overrides "
                @for (index, name) in row.overrides.iter().take(MAX_OVERRIDDEN).enumerate() {
                    @if index > 0 { ", " }
                    (link(name))
                }
                @if more > 0 { " and " (more) " more" }
            }
        }
    }
}

/// The instances that have the policy, and, if not all of them do, which ones and since when.
pub(super) fn instances(row: &Row<'_>) -> Markup {
    let status = row.policy.status.as_ref();
    let clients = status.and_then(|status| status.clients.as_ref());
    let converged = row.policy.condition(Condition::CONVERGED);
    let open = converged.filter(|it| it.status != ConditionStatus::True);
    html! {
        @if words::is_tail(&row.place.strategy) {
            "none needed"
        } @else if let Some(clients) = clients {
            @let confirming = clients.expected.saturating_sub(clients.polling);
            @let exceptions = words::exceptions(clients);
            (clients.current) "/" (confirming)
            @if !exceptions.is_empty() { ", " (exceptions) }
        } @else {
            span .soft { "not known yet" }
        }
        @if let Some(open) = open {
            p .hint {
                (text::cut(&open.message, MAX_MESSAGE_CHARS))
                " (since " (words::written_time(&open.last_transition_time)) ")"
            }
        }
    }
}

pub(super) fn observed(row: &Row<'_>) -> Markup {
    let status = row.policy.status.as_ref();
    let summary = status.and_then(|status| status.summary.as_ref());
    let tail = summary.and_then(|summary| summary.tail.as_deref());
    let observed = status.and_then(|status| status.observed.as_ref());
    html! {
        @if words::is_tail(&row.place.strategy) {
            (text::cut(tail.unwrap_or("no counts yet"), MAX_NAME_CHARS))
        } @else if let Some(observed) = observed {
            (rate(observed))
            (chart::chart(&row.points, target(row), chart::SMALL))
        } @else {
            span .soft { "no counts yet" }
        }
    }
}

/// An observed rate with its interval and verdict.
pub(in crate::policies) fn rate(observed: &Observed) -> Markup {
    let text = |part: &Option<String>| part.as_deref().map(|it| text::cut(it, 32));
    html! {
        @if let Some(rate) = text(&observed.rate) {
            strong { (rate) }
            @if let (Some(lower), Some(upper)) = (text(&observed.lower), text(&observed.upper)) {
                " (" (lower) " to " (upper) ")"
            }
        }
        p .hint { (text::cut(&words::verdict(observed), MAX_MESSAGE_CHARS)) }
    }
}

pub(super) fn kept_per_second(row: &Row<'_>) -> Markup {
    let status = row.policy.status.as_ref();
    let observed = status.and_then(|status| status.observed.as_ref());
    let observed = observed.filter(|it| it.rate.is_some());
    let is_tail = words::is_tail(&row.place.strategy);
    html! {
        @if let Some(observed) = observed.filter(|_| !is_tail) {
            (per_second(observed))
        } @else {
            span .soft { "–" }
        }
    }
}

/// The traces kept per second in the window, with at most three digits.
pub(in crate::policies) fn per_second(observed: &Observed) -> String {
    let kept = observed.sampled as f64 / f64::from(observed.window_seconds.max(1));
    match kept {
        100.0.. => format!("{kept:.0}"),
        10.0.. => format!("{kept:.1}"),
        _ => format!("{kept:.2}"),
    }
}

/// The form that previews another rate, if the policy's head is a probability.
pub(super) fn rate_form(site: &Site, row: &Row<'_>, token: &str) -> Markup {
    let rate = rate_of(row.policy).filter(|_| !words::is_tail(&row.place.strategy));
    let Some(rate) = rate else {
        return html! { span .soft { "–" } };
    };
    let metadata = &row.policy.metadata;
    let path = policy_link(site, namespace_of(row.policy), &metadata.name);
    let label = format!("Rate of {} in percent", text::cut(&metadata.name, 80));
    html! {
        form .rate method="post" action=(format!("{path}/preview")) {
            input type="hidden" name="token" value=(token);
            input type="number" name="rate" min="0" max="100" step="any" required
                value=(rate.trim_end_matches('%')) aria-label=(label);
            span { "%" }
            button .small .quiet { "Preview" }
        }
    }
}

/// The policy's probability as a share.
fn target(row: &Row<'_>) -> Option<f64> {
    let rate: Option<Probability> = rate_of(row.policy).and_then(|rate| rate.parse().ok());
    rate.map(Probability::as_f64)
}
