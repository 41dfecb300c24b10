//! The search form.

use maud::{Markup, html};
use spoor_traces::tree::value::visible_line;

use super::filter::{Filter, LIMITS, LOOKBACKS};
use crate::{layout::Site, text};

/// The most choices in a list. Another operation can be typed; another service can only be given in
/// the URL.
const MAX_CHOICES: usize = 500;

/// The form, with the values of the request.
pub fn form(site: &Site, filter: &Filter, services: &[String], operations: &[String]) -> Markup {
    html! {
        form .search action=(site.link("search")) role="search" aria-label="Search for traces" {
            div .field .wide {
                label for="service" { "Service" }
                select #service name="service" {
                    option value="" { "All services" }
                    @for service in services.iter().take(MAX_CHOICES) {
                        option value=(service) selected[*service == filter.service] {
                            (text::cut(service, 80))
                        }
                    }
                    @let is_listed = services.iter().take(MAX_CHOICES).any(|it| *it == filter.service);
                    @if !filter.service.is_empty() && !is_listed {
                        option value=(visible_line(&filter.service)) selected {
                            (text::cut(&filter.service, 80))
                            @if !services.contains(&filter.service) { " (no traces)" }
                        }
                    }
                }
            }
            (input(filter, Field {
                name: "operation", label: "Operation", value: &filter.operation,
                hint: "Any", has_list: true, is_wide: true,
            }))
            datalist #operations {
                @for operation in operations.iter().take(MAX_CHOICES) {
                    option value=(text::cut(operation, 200)) {}
                }
            }
            (input(filter, Field {
                name: "tags", label: "Tags", value: &filter.tags,
                hint: "error=true http.response.status_code=500", has_list: false, is_wide: true,
            }))
            (input(filter, Field {
                name: "minDuration", label: "Min duration", value: &filter.min_duration,
                hint: "100ms", has_list: false, is_wide: false,
            }))
            (input(filter, Field {
                name: "maxDuration", label: "Max duration", value: &filter.max_duration,
                hint: "1.2s", has_list: false, is_wide: false,
            }))
            div .field {
                label for="lookback" { "Started" }
                select #lookback name="lookback" {
                    @for (value, label, _) in LOOKBACKS {
                        option value=(value) selected[value == filter.lookback] { (label) }
                    }
                }
                (problem(filter, "lookback"))
            }
            div .field .narrow {
                label for="limit" { "Limit" }
                select #limit name="limit" {
                    @for limit in LIMITS {
                        option value=(limit) selected[limit == filter.search.limit] { (limit) }
                    }
                }
                (problem(filter, "limit"))
            }
            div .field .narrow {
                label for="sort" { "Order" }
                select #sort name="sort" {
                    option value="" { "Newest" }
                    option value="longest" selected[filter.is_longest_first] { "Longest" }
                }
            }
            div .actions {
                button { "Find traces" }
                // With the same fields.
                button .quiet formaction=(site.link("differs")) name="select" value="slow" { "What differs?" }
            }
            label .check .routine {
                input type="checkbox" name="hidden" value="show" checked[filter.shows_routine];
                "Show static files and health checks"
            }
        }
        p .soft .from-file { a href=(site.link("import")) { "Open a trace from a file" } }
    }
}

struct Field<'a> {
    name: &'static str,
    label: &'static str,
    value: &'a str,
    hint: &'static str,
    has_list: bool,
    is_wide: bool,
}

fn input(filter: &Filter, field: Field<'_>) -> Markup {
    let is_invalid = filter.problem(field.name).is_some();
    let described_by = format!("{}-problem", field.name);
    html! {
        div .field .wide[field.is_wide] {
            label for=(field.name) { (field.label) }
            input id=(field.name) name=(field.name) value=(visible_line(field.value))
                placeholder=(field.hint)
                list=[field.has_list.then_some("operations")]
                aria-invalid=[is_invalid.then_some("true")]
                aria-describedby=[is_invalid.then_some(described_by)]
                autocomplete="off" spellcheck="false";
            (problem(filter, field.name))
        }
    }
}

fn problem(filter: &Filter, field: &str) -> Markup {
    html! {
        @if let Some(problem) = filter.problem(field) {
            p .problem id=(format!("{field}-problem")) { (problem) }
        }
    }
}
