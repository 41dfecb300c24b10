//! The form and the table of what differs between selected traces and the others.

use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use spoor_traces::tree::{Feature, Finding, value::visible_line};

use super::{
    details::search_link,
    differs::{Sample, Selection},
    filter::Filter,
    listed::display_name,
};
use crate::{layout::Site, text};

/// The most features in the table.
const MAX_ROWS: usize = 50;
/// The adjusted p-value below which a difference is unlikely to be chance.
const SIGNIFICANT: f64 = 0.05;

pub fn heading() -> Markup {
    html! {
        div .heading { h1 { "What differs" } }
    }
}

/// The form: the fields of the search, hidden, and the traces to select.
pub fn form(
    site: &Site,
    filter: &Filter,
    selection: Selection,
    slower: &str,
    problem: Option<&str>,
) -> Markup {
    let hidden = if filter.shows_routine { "show" } else { "" };
    let fields = [
        ("service", filter.service.as_str()),
        ("operation", filter.operation.as_str()),
        ("tags", filter.tags.as_str()),
        ("minDuration", filter.min_duration.as_str()),
        ("maxDuration", filter.max_duration.as_str()),
        ("lookback", filter.lookback.as_str()),
        ("hidden", hidden),
    ];
    let given = fields.iter().filter(|(_, value)| !value.is_empty());
    let given: Vec<(&str, &str)> = given.copied().collect();
    let named: Vec<&(&str, &str)> = given.iter().filter(|(name, _)| *name != "hidden").collect();
    let is_failed = selection == Selection::Failed;
    html! {
        form .search .differs action=(site.link("differs")) aria-label="Traces to select" {
            @for (name, value) in &given {
                input type="hidden" name=(name) value=(visible_line(value));
            }
            fieldset .field .wide {
                legend { "Select traces that" }
                label .check {
                    input type="radio" name="select" value="slow" checked[!is_failed];
                    "are slow"
                }
                label .check {
                    input type="radio" name="select" value="failed" checked[is_failed];
                    "have an error"
                }
            }
            div .field .wide {
                label for="slower" { "Slow: longer than" }
                input #slower name="slower" value=(visible_line(slower)) placeholder="the median"
                    aria-invalid=[problem.map(|_| "true")]
                    aria-describedby=[problem.map(|_| "slower-problem")]
                    autocomplete="off" spellcheck="false";
                @if let Some(problem) = problem { p #slower-problem .problem { (problem) } }
            }
            div .actions { button { "Compare with the others" } }
            @if !named.is_empty() {
                p .routine .soft {
                    "Among traces with "
                    @for (index, (name, value)) in named.iter().enumerate() {
                        @if index > 0 { ", " }
                        (name) " " code { (text::cut(value, 100)) }
                    }
                }
            }
        }
    }
}

/// The traces compared, and the features found.
pub fn findings(
    site: &Site,
    selection: Selection,
    sample: &Sample,
    findings: &[Finding],
) -> Markup {
    let (selected, rest) = (sample.selected.len(), sample.rest.len());
    html! {
        section aria-label="Differences" {
            p {
                "Based on " (text::count(selected + rest, "trace")) ": " (text::grouped(selected))
                @match selection {
                    Selection::Slow(_) => { " longer than " (text::duration(sample.threshold)) }
                    Selection::Failed => { " with an error" }
                }
                " and " (text::grouped(rest)) " others."
                @if sample.left_out > 0 {
                    " " (text::grouped(sample.left_out)) " more were found but not read."
                }
            }
            p .soft {
                "Sampling decided which traces exist here, so these shares are not those of all requests. "
                "A difference is not a cause."
            }
            @if selected == 0 || rest == 0 {
                p { "There is nothing to compare: " @if selected == 0 { "no" } @else { "each" } " trace is selected." }
            } @else if findings.first().is_none_or(|finding| finding.adjusted_p >= SIGNIFICANT) {
                p { "Nothing differs by more than chance explains." }
            }
            @if selected > 0 && rest > 0 && !findings.is_empty() { (table(site, sample, findings)) }
        }
    }
}

fn table(site: &Site, sample: &Sample, findings: &[Finding]) -> Markup {
    let (selected, rest) = (sample.selected.len(), sample.rest.len());
    html! {
        div .scroll tabindex="0" role="region" aria-label="Features" {
            table .statistics {
                thead {
                    tr {
                        th scope="col" { "Found more often in the selected traces" }
                        th scope="col" { "In selected" }
                        th scope="col" { "In others" }
                        th scope="col" { "Evidence" }
                    }
                }
                tbody {
                    @for finding in findings.iter().take(MAX_ROWS) {
                        tr {
                            th scope="row" { (feature(site, &finding.feature)) }
                            td { (text::grouped(finding.selected)) " of " (text::grouped(selected)) }
                            td { (text::grouped(finding.rest)) " of " (text::grouped(rest)) }
                            td { (evidence(finding.adjusted_p)) span .soft { " (p " (probability(finding.adjusted_p)) ")" } }
                        }
                    }
                }
            }
        }
        p .soft {
            "p is the probability of so large a difference by chance (Fisher's exact test), adjusted for the "
            "number of features tested."
        }
    }
}

/// A feature, as a link to the traces that have it.
fn feature(site: &Site, feature: &Feature) -> Markup {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let (kind, name, link) = match feature {
        Feature::Service(service) => (
            "Service",
            text::cut(service, 120),
            Some(site.link(&format!("search?service={}", encoded(service)))),
        ),
        Feature::Operation { service, operation } => {
            let query = format!(
                "search?service={}&operation={}",
                encoded(service),
                encoded(operation)
            );
            (
                "Operation",
                format!(
                    "{} · {}",
                    text::cut(display_name(operation), 160),
                    text::cut(service, 80)
                ),
                (!operation.is_empty()).then(|| site.link(&query)),
            )
        }
        Feature::Attribute { key, value } => (
            "Attribute",
            format!("{} = {}", text::cut(key, 120), text::cut(value, 160)),
            search_link(&site.link("search?tags="), key, value),
        ),
    };
    html! {
        span .service { (kind) } " "
        @if let Some(link) = link { a href=(link) { (name) } } @else { (name) }
    }
}

fn evidence(p: f64) -> &'static str {
    if p < 0.001 {
        "very strong"
    } else if p < 0.01 {
        "strong"
    } else if p < SIGNIFICANT {
        "moderate"
    } else {
        "may be chance"
    }
}

fn probability(p: f64) -> String {
    match p < 0.0001 {
        true => "< 0.0001".to_owned(),
        false => format!("= {p:.4}"),
    }
}
