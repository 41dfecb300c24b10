//! The controls above a trace: the critical path, search, collapsing, zoom, and the keys for them.

use maud::{Markup, html};

/// The keys, which are those of Jaeger's page, and what they do.
const SHORTCUTS: [(&[&str], &str); 17] = [
    (&["f"], "Next span"),
    (&["b"], "Previous span"),
    (&["s"], "Scroll down"),
    (&["w"], "Scroll up"),
    (&["↑"], "Zoom in"),
    (&["Shift ↑"], "Zoom in further"),
    (&["↓"], "Zoom out"),
    (&["Shift ↓"], "Zoom out further"),
    (&["←", "a"], "Earlier"),
    (&["→", "d"], "Later"),
    (&["Shift ←", "Shift →"], "Much earlier, much later"),
    (&["]"], "Collapse all"),
    (&["["], "Expand all"),
    (&["p"], "Collapse one level"),
    (&["o"], "Expand one level"),
    (&["Ctrl b"], "Search in this trace"),
    (&["Esc"], "Clear the search"),
];

/// The controls. Those that need the script are hidden until it runs.
pub fn tools() -> Markup {
    html! {
        div .tools {
            label .check { input #critical type="checkbox" checked; "Critical path" }
            div .live hidden {
                span .find {
                    label .hidden for="find" { "Search in this trace" }
                    input #find type="search" placeholder="Search in this trace"
                        autocomplete="off" spellcheck="false";
                    output #matches for="find" aria-live="polite" {}
                    button #previous-match .quiet type="button" aria-label="Previous match" { "‹" }
                    button #next-match .quiet type="button" aria-label="Next match" { "›" }
                }
                button #collapse .quiet type="button" { "Collapse all" }
                button #expand .quiet type="button" { "Expand all" }
                button #reset .quiet type="button" hidden { "Show all of the time" }
                button #keys .quiet type="button" aria-label="Keyboard shortcuts" { "?" }
            }
        }
        (shortcuts())
    }
}

fn shortcuts() -> Markup {
    html! {
        dialog #shortcuts aria-labelledby="shortcuts-title" {
            h2 #shortcuts-title { "Keyboard shortcuts" }
            table {
                tbody {
                    @for (keys, effect) in SHORTCUTS {
                        tr {
                            th scope="row" { @for key in keys { kbd { (key) } " " } }
                            td { (effect) }
                        }
                    }
                    tr { th scope="row" { kbd { "?" } } td { "This list" } }
                }
            }
            label .check { input #keys-on type="checkbox" checked; "Keys without Ctrl are shortcuts" }
            button #close-shortcuts type="button" { "Close" }
        }
    }
}
