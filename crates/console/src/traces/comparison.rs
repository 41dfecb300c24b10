//! The page that compares two traces: its form, and the calls of both side by side.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, Uri};
use maud::{Markup, html};
use spoor_traces::{
    InvalidTraceId, TraceId,
    query::parameters::Parameters,
    tree::{Tree, value::visible_line},
};

use super::{compared_paths, read_all};
use crate::{
    backend::TraceSpans,
    console::Console,
    layout::{Section, Site},
    palette::Palette,
    text,
};

/// The fields of the form, as they were sent.
#[derive(Debug)]
struct Fields {
    ids: [String; 2],
    /// The number of traces selected in a list.
    selected: usize,
}

/// `GET /compare?a=ID&b=ID`, or with two values of `id`, as a list of traces sends them.
pub async fn page(State(console): State<Console>, uri: Uri, parameters: Parameters) -> Response {
    let site = Site::of(&console, &uri);
    let fields = Fields::read(&parameters);
    let ids = match fields.parse() {
        Ok(Some(ids)) => ids,
        Ok(None) => return form_page(&site, &fields, StatusCode::OK, None),
        Err(problem) => return form_page(&site, &fields, StatusCode::BAD_REQUEST, Some(&problem)),
    };
    let (traces, turn) = match read_all(&console, ids).await {
        Ok(read) => read,
        Err(error) => return site.error(Section::Traces, &error),
    };
    let [Some(first), Some(second)] = traces else {
        let problem = "One of these traces is not stored. It was not kept, has not arrived yet, or \
                       was evicted to make room for newer ones.";
        return form_page(&site, &fields, StatusCode::NOT_FOUND, Some(problem));
    };
    let services = console.backend().services().await.unwrap_or_default();
    let render = move || {
        // Until the spans are dropped, even if the client disconnects.
        let _turn = turn;
        let content = comparison(&site, &fields, &services, [first, second]);
        (
            StatusCode::OK,
            site.document_with(Section::Traces, "Compare traces", "traces", content),
        )
    };
    console.render(render).await
}

impl Fields {
    fn read(parameters: &Parameters) -> Self {
        let selected: Vec<&str> = parameters.all("id").collect();
        let field = |name: &str, number: usize| {
            let text = parameters.get(name).or(selected.get(number).copied());
            text.unwrap_or_default().trim().to_owned()
        };
        Self {
            ids: [field("a", 0), field("b", 1)],
            selected: selected.len(),
        }
    }

    /// The IDs; none if a field is empty, as it is before the form is sent.
    fn parse(&self) -> Result<Option<[TraceId; 2]>, String> {
        if self.selected > 2 {
            return Err(format!("Select two traces, not {}.", self.selected));
        }
        if self.selected == 1 {
            return Err("Select a second trace, or enter its ID.".to_owned());
        }
        let [a, b] = &self.ids;
        if a.is_empty() || b.is_empty() {
            return Ok(None);
        }
        let parse = |id: &String| {
            let invalid = |error: InvalidTraceId| format!("{}: {error}.", text::cut(id, 100));
            id.parse::<TraceId>().map_err(invalid)
        };
        Ok(Some([parse(a)?, parse(b)?]))
    }
}

fn form_page(site: &Site, fields: &Fields, status: StatusCode, problem: Option<&str>) -> Response {
    let content = html! {
        div .heading { h1 { "Compare traces" } }
        @if let Some(problem) = problem { p .problem role="alert" { (problem) } }
        (form(site, fields))
    };
    let page = site.document_with(Section::Traces, "Compare traces", "traces", content);
    (status, page).into_response()
}

fn form(site: &Site, fields: &Fields) -> Markup {
    html! {
        form .search action=(site.link("compare")) aria-label="Traces to compare" {
            @for ((name, label), id) in [("a", "Trace A"), ("b", "Trace B")].into_iter().zip(&fields.ids) {
                div .field .wide {
                    label for=(name) { (label) }
                    input id=(name) name=(name) value=(visible_line(id)) placeholder="Trace ID"
                        autocomplete="off" spellcheck="false" required;
                }
            }
            div .actions { button { "Compare" } }
        }
    }
}

fn comparison(
    site: &Site,
    fields: &Fields,
    services: &[String],
    traces: [TraceSpans; 2],
) -> Markup {
    let ids = [traces[0].id, traces[1].id];
    let trees = traces.map(|trace| Tree::new(trace.resource_spans));
    let [first, second] = &trees;
    let named = trees.iter().flat_map(Tree::services);
    let all = services.iter().map(String::as_str);
    let palette = Palette::new(all.chain(named.map(|(name, _)| name)));
    let comparison = first.compare(second);
    html! {
        div .heading { h1 { "Compare traces" } }
        (form(site, fields))
        dl .facts .compared {
            @for ((label, id), duration) in [("A", ids[0]), ("B", ids[1])]
                .into_iter()
                .zip(comparison.root_durations)
            {
                div {
                    dt { "Trace " (label) }
                    dd {
                        (text::duration(duration)) " "
                        a href=(site.link(&format!("trace/{id}"))) { code { (text::short(id)) } }
                    }
                }
            }
        }
        (compared_paths::sentences(&comparison))
        (compared_paths::table(&comparison, &palette))
    }
}
