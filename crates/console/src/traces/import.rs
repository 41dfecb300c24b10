//! The page that shows a trace from a file, without storing it.

use std::time::Duration;

use axum::{
    extract::{FromRequest, Request, State},
    response::{Html, Response},
};
use http::{StatusCode, Uri};
use maud::{Markup, html};
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use serde::Deserialize;
use spoor_traces::{TraceId, read_spans, tree::Tree};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    MAX_WAIT, entries::Entries, links::LinkedFrom, tabs::Tab, trace, turns, waterfall::View,
};
use crate::{
    backend::BackendError,
    console::Console,
    layout::{Section, Site},
    palette::Palette,
    text,
    tokens::Form,
};

/// The longest form, in bytes. It encodes some bytes of the file as three.
pub const MAX_BODY_BYTES: usize = 16 << 20;
/// The most objects in a file, and nulls, which are read as empty objects in a list. Each may take a
/// few hundred bytes of memory, and only three of the file.
const MAX_OBJECTS: usize = 200_000;

/// The longest time for which a file may arrive.
const MAX_BODY_TIME: Duration = Duration::from_secs(30);

/// The turn of files, of which one is in memory at a time.
static TURN: Semaphore = Semaphore::const_new(1);

/// The fields of the form.
#[derive(Deserialize)]
struct Fields {
    json: String,
}

/// The error of a file that cannot be shown.
#[derive(Debug, thiserror::Error)]
enum ImportError {
    #[error("the file is not OTLP JSON: {0}")]
    Read(#[from] serde_json::Error),
    #[error("the file has no spans; a trace in OTLP JSON has them below `resourceSpans`")]
    NoSpans,
    #[error("the file is in Jaeger's format; download the trace as OTLP JSON instead")]
    Jaeger,
    #[error("the trace ID of a span has {0} bytes; it must have 16, not all zero")]
    InvalidId(usize),
    #[error("the file has spans of several traces; import a file with one trace")]
    SeveralTraces,
    #[error("the file has more than {max} objects, which is too many to show", max = MAX_OBJECTS)]
    TooLarge,
}

/// `GET /import`.
pub async fn form_page(State(console): State<Console>, uri: Uri) -> Html<String> {
    let site = Site::of(&console, &uri);
    page(&site, &console.tokens().issue(), None)
}

/// `POST /import`.
pub async fn import(State(console): State<Console>, uri: Uri, request: Request) -> Response {
    let site = Site::of(&console, &uri);
    let failed = |message: &str| {
        let error = BackendError::Reach(message.to_owned());
        site.error(Section::Traces, &error)
    };
    let Ok(Ok(_importing)) = timeout(MAX_WAIT, TURN.acquire()).await else {
        return failed("another file is being read; try again in a few seconds");
    };
    let form = Form::<Fields>::from_request(request, &console);
    let json = match timeout(MAX_BODY_TIME, form).await {
        Ok(Ok(Form(Fields { json }))) => json,
        Ok(Err(problem)) => return problem,
        Err(_) => return failed("the file took too long to arrive; try again"),
    };
    let token = console.tokens().issue();
    let turn = match turns(1).await {
        Ok(turn) => turn,
        Err(error) => return site.error(Section::Traces, &error),
    };
    let services = console.backend().services().await.unwrap_or_default();
    let render = move || {
        // Until the spans are dropped.
        let _turn = turn;
        let read = read(&json);
        // The spans have copies.
        drop(json);
        match read {
            Ok((id, spans)) => (StatusCode::OK, trace_page(&site, id, spans, &services)),
            Err(error) => (StatusCode::BAD_REQUEST, page(&site, &token, Some(&error))),
        }
    };
    console.render(render).await
}

fn read(json: &str) -> Result<(TraceId, Vec<ResourceSpans>), ImportError> {
    if json.matches('{').count() + json.matches("null").count() > MAX_OBJECTS {
        return Err(ImportError::TooLarge);
    }
    let batches = read_spans(json.as_bytes())?;
    let scopes = batches.iter().flat_map(|batch| &batch.scope_spans);
    let mut spans = scopes.flat_map(|scope| &scope.spans);
    let Some(first) = spans.next() else {
        return Err(match json.contains("\"traceID\"") {
            true => ImportError::Jaeger,
            false => ImportError::NoSpans,
        });
    };
    if spans.any(|span| span.trace_id != first.trace_id) {
        return Err(ImportError::SeveralTraces);
    }
    let id = <[u8; 16]>::try_from(first.trace_id.as_slice()).ok();
    let id = id.filter(|id| *id != [0; 16]);
    let id = id.ok_or(ImportError::InvalidId(first.trace_id.len()))?;
    Ok((TraceId::from_bytes(id), batches))
}

fn trace_page(
    site: &Site,
    id: TraceId,
    spans: Vec<ResourceSpans>,
    services: &[String],
) -> Html<String> {
    let tree = Tree::new(spans);
    let all = services.iter().map(String::as_str);
    let palette = Palette::new(all.chain(tree.services().into_iter().map(|(name, _)| name)));
    let view = View {
        site,
        palette: &palette,
        tree: &tree,
        id,
        linked_from: LinkedFrom::new(id, &tree),
        entries: Entries::new(&tree, true),
        shows_all: false,
        tab: Tab::Waterfall,
        is_stored: false,
        from: 0,
    };
    let title = format!("Imported trace {}", text::short(id));
    site.document_with(Section::Traces, &title, "trace", trace::trace(&view, None))
}

fn page(site: &Site, token: &str, error: Option<&ImportError>) -> Html<String> {
    let content = html! {
        div .heading { h1 { "Open a trace from a file" } }
        @if let Some(error) = error {
            p .problem role="alert" { (text::cut(&error.to_string(), 1_000)) "." }
        }
        (form(site, token))
    };
    site.document_with(
        Section::Traces,
        "Open a trace from a file",
        "traces",
        content,
    )
}

fn form(site: &Site, token: &str) -> Markup {
    html! {
        form .import method="post" action=(site.link("import")) {
            input type="hidden" name="token" value=(token);
            p .soft {
                "A trace in OTLP JSON, as the page of a trace offers it for download. It is shown, but not "
                "stored."
            }
            // The script copies the file into the text.
            p hidden {
                label for="file" { "File" }
                input #file type="file" accept=".json,application/json";
            }
            label for="json" { "OTLP JSON" }
            textarea #json name="json" rows="12" spellcheck="false" autocomplete="off" required {}
            p { button { "Show" } }
        }
    }
}
