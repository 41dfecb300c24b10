//! One service: its operations with exemplars, its callers and callees.

use maud::{Markup, html};
use spoor_traces::figures::{CallFigures, Exemplar, OperationFigures, ServiceFigures};

use super::{MAX_NAME_CHARS, Period, figures, origin};
use crate::{layout::Site, text};

/// Returns whether there are figures or calls of a service.
pub(super) fn is_known(figures: &ServiceFigures, name: &str) -> bool {
    let mut calls = figures.calls.keys();
    figures.services.contains_key(name) || calls.any(|(from, to)| from == name || to == name)
}

/// The contents of the page.
pub(super) fn service(site: &Site, period: Period, figures: &ServiceFigures, name: &str) -> Markup {
    let calls = figures.calls.iter();
    let (mut callers, mut callees) = (Vec::new(), Vec::new());
    for ((from, to), call) in calls {
        if to == name {
            callers.push((from.as_str(), *call));
        } else if from == name {
            callees.push((to.as_str(), *call));
        }
    }
    html! {
        p .crumbs { a href=(site.link("services")) { "Services" } }
        div .heading {
            h1 { (text::cut(name, MAX_NAME_CHARS)) }
            (period.form())
        }
        (origin(figures))
        (operations(site, figures, name))
        (neighbours(site, period, figures, ("callers", "Callers"), &callers))
        (neighbours(site, period, figures, ("callees", "Callees"), &callees))
    }
}

fn operations(site: &Site, figures: &ServiceFigures, name: &str) -> Markup {
    let service = figures.services.get(name);
    html! {
        h2 #operations { "Requests by operation" }
        @if let Some(service) = service {
            div .scroll tabindex="0" role="region" aria-labelledby="operations" {
                table .table {
                    thead {
                        tr {
                            th scope="col" { "Operation" }
                            (figures::headers())
                            th scope="col" { "Slow traces" }
                            th scope="col" { "Failed traces" }
                        }
                    }
                    tbody {
                        @for (name, operation) in &service.operations {
                            tr {
                                th scope="row" { (text::cut(name, MAX_NAME_CHARS)) }
                                (figures::cells(&operation.requests, figures.period))
                                (exemplars(site, operation))
                            }
                        }
                    }
                }
            }
        } @else {
            p .soft { "It received no requests; it only calls other services." }
        }
    }
}

fn exemplars(site: &Site, operation: &OperationFigures) -> Markup {
    html! {
        @for traces in [&operation.slowest, &operation.failed] {
            td .exemplars { @for exemplar in traces { (exemplar_link(site, exemplar)) " " } }
        }
    }
}

fn exemplar_link(site: &Site, exemplar: &Exemplar) -> Markup {
    let duration = text::duration(exemplar.duration);
    let label = format!("Trace {}, {duration}", text::short(exemplar.id));
    html! {
        a href=(site.link(&format!("trace/{}", exemplar.id))) aria-label=(label) { (duration) }
    }
}

fn neighbours(
    site: &Site,
    period: Period,
    figures: &ServiceFigures,
    (id, heading): (&str, &str),
    calls: &[(&str, CallFigures)],
) -> Markup {
    html! {
        h2 id=(id) { (heading) }
        @if calls.is_empty() {
            p .soft { "None." }
        } @else {
            div .scroll tabindex="0" role="region" aria-labelledby=(id) {
                table .table {
                    thead {
                        tr {
                            th scope="col" { "Service" }
                            th .number scope="col" { "Calls/s" }
                            th .number scope="col" { "Errors" }
                        }
                    }
                    tbody {
                        @for (name, call) in calls {
                            tr {
                                th scope="row" {
                                    a href=(period.link(site, name)) {
                                        (text::cut(name, MAX_NAME_CHARS))
                                    }
                                }
                                td .number { (figures::rate(call.count, figures.period)) }
                                (figures::errors_cell(call.errors, call.count))
                            }
                        }
                    }
                }
            }
        }
    }
}
