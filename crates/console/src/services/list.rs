//! The map of all services, and their figures as a table.

use maud::{Markup, html};
use spoor_map::ServiceMap;
use spoor_traces::figures::ServiceFigures;

use super::{MAX_NAME_CHARS, Period, figures, length, origin};
use crate::{layout::Site, text};

/// The contents of the page.
pub(super) fn list(site: &Site, period: Period, figures: &ServiceFigures) -> Markup {
    html! {
        div .heading {
            h1 { "Services" }
            (period.form())
        }
        @if figures.services.is_empty() {
            (empty(period))
        } @else {
            (origin(figures))
            (map(site, period, figures))
            (table(site, period, figures))
        }
    }
}

fn empty(period: Period) -> Markup {
    html! {
        section .notice {
            h2 { "No requests" }
            p {
                "There are no traces of the last " (length(period.minutes))
                ". Choose a longer period, or send requests and reload this page."
            }
        }
    }
}

fn map(site: &Site, period: Period, figures: &ServiceFigures) -> Markup {
    let map = service_map(figures);
    html! {
        section .map {
            h2 #map { "Map" }
            div .scroll tabindex="0" role="region" aria-labelledby="map" {
                (spoor_map::linked_svg(&map, &|name: &str| period.link(site, name)))
            }
            @if map.left_out > 0 {
                p .soft { "Services not on the map: " (text::grouped(map.left_out)) "." }
            }
            @if map.calls.is_empty() {
                p .soft { "There are no calls between services." }
            } @else {
                details {
                    summary { "Calls as a table" }
                    (spoor_map::table(&map))
                }
            }
        }
    }
}

fn service_map(figures: &ServiceFigures) -> ServiceMap {
    let names = figures.services.keys().cloned();
    let calls = figures.calls.iter().map(|((from, to), call)| {
        // Saturates. A call that was seen is at least one.
        (from.clone(), to.clone(), call.count.round() as u64)
    });
    let mut map = ServiceMap::new(names, calls);
    for (name, service) in &figures.services {
        if service.total.errors > 0.0 {
            map.mark_service_failed(name);
        }
    }
    for ((from, to), call) in &figures.calls {
        if call.errors > 0.0 {
            map.mark_call_failed(from, to);
        }
    }
    map
}

fn table(site: &Site, period: Period, figures: &ServiceFigures) -> Markup {
    html! {
        h2 #figures { "Requests by service" }
        div .scroll tabindex="0" role="region" aria-labelledby="figures" {
            table .table {
                thead { tr { th scope="col" { "Service" } (figures::headers()) } }
                tbody {
                    @for (name, service) in &figures.services {
                        tr {
                            th scope="row" {
                                a href=(period.link(site, name)) { (text::cut(name, MAX_NAME_CHARS)) }
                            }
                            (figures::cells(&service.total, figures.period))
                        }
                    }
                }
            }
        }
    }
}
