//! The pages of services: their map and figures, and each one's operations, callers and callees. All
//! text from spans and requests is escaped.

mod figures;
mod list;
mod sampling;
mod service;
#[cfg(test)]
mod tests;

use std::time::Duration;

use axum::{
    Router,
    extract::{Path, State, rejection::PathRejection},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, Uri};
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use spoor_traces::{figures::ServiceFigures, query::parameters::Parameters};

use crate::{
    console::Console,
    layout::{Section, Site},
    text,
};

/// `/services` and `/services/{name}`.
pub(crate) fn router() -> Router<Console> {
    Router::new()
        .route("/services", get(all))
        .route("/services/{name}", get(one))
}

/// The periods that a user can choose, in minutes.
const PERIODS: [u64; 4] = [5, 15, 60, 360];
const DEFAULT_PERIOD: u64 = 15;
/// The most characters shown of the name of a service or an operation.
const MAX_NAME_CHARS: usize = 120;

/// The period that a request chose.
#[derive(Clone, Copy, Debug)]
struct Period {
    minutes: u64,
}

impl Period {
    fn read(parameters: &Parameters) -> Self {
        let chosen = parameters.get("minutes").and_then(|it| it.parse().ok());
        let chosen = chosen.filter(|minutes| PERIODS.contains(minutes));
        Self {
            minutes: chosen.unwrap_or(DEFAULT_PERIOD),
        }
    }

    fn duration(self) -> Duration {
        Duration::from_secs(self.minutes * 60)
    }

    /// The page of a service with the same period.
    fn link(self, site: &Site, service: &str) -> String {
        let name = utf8_percent_encode(service, NON_ALPHANUMERIC);
        site.link(&format!("services/{name}?minutes={}", self.minutes))
    }

    /// A form to choose another period.
    fn form(self) -> Markup {
        html! {
            form .row method="get" {
                label for="minutes" { "Period" }
                select #minutes name="minutes" {
                    @for minutes in PERIODS {
                        option value=(minutes) selected[minutes == self.minutes] {
                            "Last " (length(minutes))
                        }
                    }
                }
                button .quiet { "Show" }
            }
        }
    }
}

async fn all(State(console): State<Console>, uri: Uri, parameters: Parameters) -> Response {
    let site = Site::of(&console, &uri);
    let period = Period::read(&parameters);
    let figures = match console.backend().figures(period.duration()).await {
        Ok(figures) => figures,
        Err(error) => return site.error(Section::Services, &error),
    };
    let render = move || {
        let content = list::list(&site, period, &figures);
        let page = site.document(Section::Services, "Services", content);
        (StatusCode::OK, page)
    };
    console.render(render).await
}

async fn one(
    State(console): State<Console>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
    parameters: Parameters,
) -> Response {
    let site = Site::of(&console, &uri);
    let period = Period::read(&parameters);
    let Ok(Path(name)) = name else {
        return missing(&site, period, "");
    };
    let backend = console.backend();
    let (figures, policies) = tokio::join!(backend.figures(period.duration()), backend.policies());
    let figures = match figures {
        Ok(figures) => figures,
        Err(error) => return site.error(Section::Services, &error),
    };
    if !service::is_known(&figures, &name) {
        return missing(&site, period, &name);
    }
    let render = move || {
        let content = html! {
            (service::service(&site, period, &figures, &name))
            (sampling::section(&site, &policies, &name))
        };
        let title = text::cut(&name, MAX_NAME_CHARS);
        let page = site.document(Section::Services, &title, content);
        (StatusCode::OK, page)
    };
    console.render(render).await
}

fn missing(site: &Site, period: Period, name: &str) -> Response {
    let message = html! {
        p {
            "No trace of the last " (length(period.minutes)) " has the service "
            code { (text::cut(name, MAX_NAME_CHARS)) } "."
        }
    };
    let title = "Service not found";
    let page = site.notice(Section::Services, title, title, message);
    (StatusCode::NOT_FOUND, page).into_response()
}

/// The sentence that says where the figures come from.
fn origin(figures: &ServiceFigures) -> Markup {
    html! {
        p .soft {
            "Computed from " (text::count(figures.traces, "trace"))
            " of the last " (covered(figures.period)) ". Sampled traces are weighted: \
             one that was kept with a probability of 10 % counts as 10."
            @if figures.is_partial {
                " There are more traces in the period that you chose; these are the newest."
            }
            @if figures.too_large > 0 {
                " Too large to be counted: " (text::count(figures.too_large, "trace")) "."
            }
        }
    }
}

fn covered(period: Duration) -> String {
    match period.as_secs() {
        seconds if seconds > 0 && seconds.is_multiple_of(60) => length(seconds / 60),
        seconds => text::duration(Duration::from_secs(seconds.max(1))),
    }
}

fn length(minutes: u64) -> String {
    match minutes {
        1 => "minute".to_owned(),
        60 => "hour".to_owned(),
        minutes if minutes.is_multiple_of(60) => format!("{} hours", minutes / 60),
        minutes => format!("{minutes} minutes"),
    }
}
