//! The statistics of a trace by service and operation, as a table.

use std::cmp::Reverse;

use maud::{Markup, html};
use spoor_traces::tree::OperationStatistics;

use super::{listed::display_name, waterfall::View};
use crate::text;

/// The most operations in the table.
const MAX_OPERATIONS: usize = 1_000;

/// The column by which the table is sorted: by name ascending, by a number descending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    Name,
    Count,
    Errors,
    Total,
    #[default]
    SelfTime,
    CriticalTime,
    Median,
    P95,
    Max,
}

/// The columns: the order, its name in a URL, and the heading.
const COLUMNS: [(Order, &str, &str); 9] = [
    (Order::Name, "name", "Operation"),
    (Order::Count, "count", "Spans"),
    (Order::Errors, "errors", "Errors"),
    (Order::Total, "total", "Total"),
    (Order::SelfTime, "self", "Self time"),
    (Order::CriticalTime, "critical", "On critical path"),
    (Order::Median, "p50", "Median"),
    (Order::P95, "p95", "95th percentile"),
    (Order::Max, "max", "Longest"),
];

impl Order {
    /// Reads the name of a column; the self time if there is no such column.
    pub fn read(name: Option<&str>) -> Self {
        let known = COLUMNS.iter().find(|(_, known, _)| Some(*known) == name);
        known.map_or_else(Self::default, |(order, ..)| *order)
    }

    fn sort(self, operations: &mut [OperationStatistics<'_>]) {
        match self {
            Self::Name => operations.sort_by_key(|it| (it.service, it.operation)),
            Self::Count => operations.sort_by_key(|it| Reverse(it.count)),
            Self::Errors => operations.sort_by_key(|it| Reverse(it.errors)),
            Self::Total => operations.sort_by_key(|it| Reverse(it.total)),
            Self::SelfTime => operations.sort_by_key(|it| Reverse(it.self_time)),
            Self::CriticalTime => operations.sort_by_key(|it| Reverse(it.critical_time)),
            Self::Median => operations.sort_by_key(|it| Reverse(it.p50)),
            Self::P95 => operations.sort_by_key(|it| Reverse(it.p95)),
            Self::Max => operations.sort_by_key(|it| Reverse(it.max)),
        }
    }
}

/// The table in an order.
pub fn operations(view: &View<'_>, order: Order) -> Markup {
    let mut operations = view.tree.operations();
    order.sort(&mut operations);
    let link = |name: &str| {
        let path = format!("trace/{}?view=operations&sort={name}", view.id);
        view.site.link(&path)
    };
    html! {
        div .scroll tabindex="0" role="region" aria-label="Operations" {
            table .statistics {
                thead {
                    tr {
                        @for (column, name, heading) in COLUMNS {
                            @let direction = if column == Order::Name { "ascending" } else { "descending" };
                            th scope="col" aria-sort=[(column == order).then_some(direction)] {
                                a href=(link(name)) { (heading) }
                            }
                        }
                    }
                }
                tbody { @for operation in operations.iter().take(MAX_OPERATIONS) { (row(view, operation)) } }
            }
        }
        @if operations.len() > MAX_OPERATIONS {
            p .cut {
                (text::grouped(operations.len() - MAX_OPERATIONS)) " more are not shown."
            }
        }
        p .soft {
            "The self time of a span is its duration without the time in which a child ran. "
            "Select a heading to sort by its column."
        }
    }
}

fn row(view: &View<'_>, operation: &OperationStatistics<'_>) -> Markup {
    let class = view.palette.class(operation.service);
    html! {
        tr .failed[operation.errors > 0] {
            th scope="row" {
                span class=(format!("dot {class}")) {} " "
                (text::cut(display_name(operation.operation), 160)) " "
                span .service { (text::cut(operation.service, 80)) }
            }
            td { (text::grouped(operation.count)) }
            td .errors { (text::grouped(operation.errors)) }
            td { (text::duration(operation.total)) }
            td { (text::duration(operation.self_time)) }
            td { (text::duration(operation.critical_time)) }
            td { (text::duration(operation.p50)) }
            td { (text::duration(operation.p95)) }
            td { (text::duration(operation.max)) }
        }
    }
}
