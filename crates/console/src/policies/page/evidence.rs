//! What is known about a policy's effect: observed rate, counts of the tail, and changes.

use maud::{Markup, html};
use spoor_api::{
    SamplingPolicy,
    status::{Observed, ObservedTail},
};
use spoor_policy::{PolicyKey, Probability};

use crate::{
    history::{History, ObservedPoint, PolicyChange},
    policies::{MAX_NAME_CHARS, chart, rate_of, table::cells, words},
    text,
};

/// The sections about the observed rate and the tail.
pub(super) fn evidence(policy: &SamplingPolicy, points: &[ObservedPoint]) -> Markup {
    let status = policy.status.as_ref();
    let observed = status.and_then(|status| status.observed.as_ref());
    let tail = status.and_then(|status| status.tail.as_ref());
    let rate: Option<Probability> = rate_of(policy).and_then(|rate| rate.parse().ok());
    html! {
        @if let Some(observed) = observed {
            h2 { "Observed rate" }
            (cells::rate(observed))
            (counts(observed))
            (chart::chart(points, rate.map(Probability::as_f64), chart::LARGE))
        }
        @if let Some(tail) = tail { (tail_counts(tail)) }
    }
}

fn counts(observed: &Observed) -> Markup {
    html! {
        @if observed.rate.is_some() {
            p {
                (observed.sampled) " of " (observed.started) " traces in "
                (observed.window_seconds) " s: " (cells::per_second(observed))
                " kept per second."
            }
        }
    }
}

/// The traces kept by each rule, with their share of all on which the tail decided.
fn tail_counts(tail: &ObservedTail) -> Markup {
    let by_rules: u64 = tail.by_rule.iter().map(|rule| rule.kept).sum();
    // Counts of rules that no longer exist are in the total, too.
    let otherwise = tail.kept.saturating_sub(by_rules);
    let row = |name: &str, kept: u64| {
        html! {
            tr {
                th scope="row" { (text::cut(name, MAX_NAME_CHARS)) }
                td .number { (kept) }
                td .number { (share(kept, tail.decided)) }
            }
        }
    };
    html! {
        h2 { "Complete traces" }
        div .scroll tabindex="0" role="region" aria-label="Traces kept by rule" {
            table .table {
                thead {
                    tr {
                        th scope="col" { "Kept because of" }
                        th scope="col" { "Traces" }
                        th scope="col" { "Share of " (tail.decided) }
                    }
                }
                tbody {
                    @for rule in &tail.by_rule { (row(&rule.name, rule.kept)) }
                    (row("otherwise, or a former rule", otherwise))
                    (row("all", tail.kept))
                }
            }
        }
        @if let Some(rate) = &tail.otherwise.rate {
            p {
                "Of the recent traces that match no rule, " (text::cut(rate, 32)) " are kept ("
                (text::cut(&tail.otherwise.verdict, 32)) ")."
            }
        }
    }
}

fn share(part: u64, whole: u64) -> String {
    match whole {
        0 => "–".to_owned(),
        whole => chart::percentage(part as f64 / whole as f64),
    }
}

/// The changes since the console started, the newest first.
pub(super) fn changes(history: &History, key: &PolicyKey) -> Markup {
    let changes = history.changes(key);
    html! {
        h2 { "Changes" }
        @if changes.is_empty() {
            p .soft { "None since the console started at " (words::time(history.started())) "." }
        } @else {
            div .scroll tabindex="0" role="region" aria-label="Changes" {
                table .table {
                    caption { "Since the console started at " (words::time(history.started())) }
                    thead {
                        tr {
                            th scope="col" { "Time" }
                            th scope="col" { "Generation" }
                            th scope="col" { "Change" }
                            th scope="col" { "Strategy" }
                            th scope="col" { "By" }
                            th scope="col" { "Everywhere after" }
                        }
                    }
                    tbody { @for change in &changes { (change_row(change)) } }
                }
            }
        }
    }
}

fn change_row(change: &PolicyChange) -> Markup {
    html! {
        tr {
            td { (words::time(change.time)) }
            td .number { @if let Some(generation) = change.generation { (generation) } }
            td { (change.kind) }
            td { (text::cut(&change.strategy, MAX_NAME_CHARS)) }
            td {
                @if let Some(by) = &change.by {
                    (text::cut(by, MAX_NAME_CHARS))
                } @else {
                    span .soft { "not known" }
                }
            }
            td .number {
                @if let Some(milliseconds) = change.milliseconds { (milliseconds) " ms" }
            }
        }
    }
}
