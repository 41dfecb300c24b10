//! `/docs`: the architecture of Spoor, with a diagram of the mesh drawn from its traces.

mod diagram;
mod layout;
mod markdown;
mod mesh;
mod mesh_reader;
mod view;
mod visible;

use axum::{
    Router,
    extract::{Path, State, rejection::PathRejection},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use http::StatusCode;
use spoor_telemetry::http::{Peer, Problem};

use super::page::asset;
use mesh_reader::MeshReader;

const STYLE: &str = concat!(
    include_str!("../../../palette.css"),
    include_str!("docs/docs.css")
);

/// A document.
struct Document {
    /// The path below `/docs/`, and the name of the file without `.md`.
    name: &'static str,
    /// Markdown that begins with `# TITLE`.
    text: &'static str,
}

const ARCHITECTURE: Document = Document {
    name: "architecture",
    text: include_str!("../../../../docs/architecture.md"),
};

const TAIL_RULES: Document = Document {
    name: "tail-rules",
    text: include_str!("../../../../docs/tail-rules.md"),
};

/// The routes at and below `/docs`.
pub(super) fn router<S: Clone + Send + Sync + 'static>(jaeger: Peer) -> Router<S> {
    Router::new()
        .route("/docs", get(architecture))
        .route("/docs/{name}", get(document))
        .route(
            "/docs.css",
            get(async || asset("text/css; charset=utf-8", STYLE)),
        )
        .with_state(MeshReader::new(jaeger))
}

async fn architecture(State(reader): State<MeshReader>) -> Html<String> {
    let diagram = view::mesh(&reader.mesh().await);
    Html(view::page(&ARCHITECTURE, Some(diagram)).into_string())
}

async fn document(
    reader: State<MeshReader>,
    name: Result<Path<String>, PathRejection>,
) -> Response {
    match name.as_ref().map(|Path(name)| name.as_str()) {
        Ok(name) if name == ARCHITECTURE.name => architecture(reader).await.into_response(),
        Ok(name) if name == TAIL_RULES.name => {
            Html(view::page(&TAIL_RULES, None).into_string()).into_response()
        }
        _ => {
            let detail = "no such document; see /docs";
            Problem::new(StatusCode::NOT_FOUND, detail).into_response()
        }
    }
}

impl Document {
    fn title(&self) -> &'static str {
        let line = self.text.lines().next().unwrap_or_default();
        line.trim_start_matches('#').trim()
    }
}

/// The target of a link in a document: another document, or another host.
fn link(destination: &str) -> Option<String> {
    if destination.starts_with("https://") {
        return Some(destination.to_owned());
    }
    let name = destination.strip_suffix(".md")?;
    [ARCHITECTURE, TAIL_RULES]
        .iter()
        .find(|document| document.name == name)
        .map(|document| format!("/docs/{}", document.name))
}

#[cfg(test)]
mod tests {
    use pulldown_cmark::{Event, Parser, Tag};

    use super::*;

    #[test]
    fn every_link_has_a_target() {
        for document in [ARCHITECTURE, TAIL_RULES] {
            assert!(!document.title().is_empty());
            for event in Parser::new(document.text) {
                if let Event::Start(Tag::Link { dest_url, .. }) = event {
                    assert!(link(&dest_url).is_some(), "{}: {dest_url}", document.name);
                }
            }
        }
    }
}
