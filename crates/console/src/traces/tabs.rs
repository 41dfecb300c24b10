//! The views of a trace, as links.

use maud::{Markup, html};
use spoor_traces::query::parameters::Parameters;

use super::{operations::Order, waterfall::View};

/// A view of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    Waterfall,
    /// The statistics by operation.
    Operations(Order),
    /// The flame graph, from one of its frames on.
    Flame(Option<usize>),
}

impl Tab {
    /// Reads the requested view; the waterfall if there is no such view.
    pub fn read(parameters: &Parameters) -> Self {
        match parameters.get("view") {
            Some("operations") => Self::Operations(Order::read(parameters.get("sort"))),
            Some("flame") => {
                let frame = parameters.get("frame");
                Self::Flame(frame.and_then(|frame| frame.parse().ok()))
            }
            _ => Self::Waterfall,
        }
    }

    fn is_same_view(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

/// The links to all views.
pub fn tabs(view: &View<'_>) -> Markup {
    let tabs = [
        (Tab::Waterfall, "Waterfall", ""),
        (
            Tab::Operations(Order::default()),
            "Operations",
            "?view=operations",
        ),
        (Tab::Flame(None), "Flame graph", "?view=flame"),
    ];
    html! {
        nav .views aria-label="Views of the trace" {
            @for (tab, label, query) in tabs {
                a href=(view.site.link(&format!("trace/{}{query}", view.id)))
                    aria-current=[tab.is_same_view(view.tab).then_some("page")] { (label) }
            }
        }
    }
}
