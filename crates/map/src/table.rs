//! The calls as a table, for readers who cannot see the diagram.

use maud::{Markup, html};

use crate::{service_map::ServiceMap, visible::visible};

/// Renders the calls as a table.
#[must_use]
pub fn table(map: &ServiceMap) -> Markup {
    html! {
        table {
            thead { tr { th { "from" } th { "to" } th { "calls" } th { "errors" } } }
            tbody {
                @for ((from, to), call) in &map.calls {
                    tr {
                        td { (visible(from)) } td { (visible(to)) } td.number { (call.count) }
                        td { @if call.failed { "yes" } @else { "none found" } }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_visible() {
        let call = ("<b>".to_owned(), "a\u{202e}".to_owned(), 3);
        let table = table(&ServiceMap::new([], [call])).into_string();
        assert!(
            table.contains("<td>&lt;b&gt;</td><td>a\\u{202e}</td>"),
            "{table}"
        );
        assert!(table.contains("<td class=\"number\">3</td>"), "{table}");
    }
}
