//! The newest traces, beside a lesson.

use std::time::Duration;

use jiff::Timestamp;
use maud::{Markup, html};
use spoor_traces::Search;

use crate::{BackendError, ListedTrace, console::Console, layout::Site, text};

/// The most traces in the list, which has the height of a screen.
const MAX_TRACES: usize = 12;
/// The most characters of a service's name.
const MAX_SERVICE_CHARACTERS: usize = 60;
/// The timeout of a search. The page repeats it every two seconds.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(5);

/// The newest traces as a list, or the reason why there are none.
pub(super) async fn newest(console: &Console, site: &Site) -> Result<Markup, BackendError> {
    let search = Search {
        limit: MAX_TRACES,
        ..Search::default()
    };
    let search = console.backend().find_traces(search);
    let found = match tokio::time::timeout(SEARCH_TIMEOUT, search).await {
        Ok(found) => found?,
        Err(_) => {
            let seconds = SEARCH_TIMEOUT.as_secs();
            let message = format!("the search for traces took longer than {seconds} s");
            return Err(BackendError::Reach(message));
        }
    };
    let now = u64::try_from(Timestamp::now().as_nanosecond()).unwrap_or_default();
    Ok(html! {
        @if found.traces.is_empty() {
            p .soft {
                "No traces yet. Send a request, and give its spans a second or two to arrive."
            }
        } @else {
            ol .traces { @for trace in &found.traces { (item(site, trace, now)) } }
        }
    })
}

/// The message of a search that failed.
pub(super) fn failed(error: &BackendError) -> Markup {
    html! { p .problem { "Cannot list traces: " (text::cut(&error.to_string(), 500)) "." } }
}

fn item(site: &Site, trace: &ListedTrace, now: u64) -> Markup {
    html! {
        li .failed[trace.errors > 0] {
            a href=(site.link(&format!("trace/{}", trace.id))) {
                span .service { (text::cut(&trace.service, MAX_SERVICE_CHARACTERS)) ": " }
                (trace.operation)
            }
            p .soft {
                (text::duration(trace.duration)) " · " (text::count(trace.spans, "span"))
                @if trace.errors > 0 { " · " strong { (text::count(trace.errors, "error")) } }
                " · " (text::ago(trace.start, now))
            }
        }
    }
}
