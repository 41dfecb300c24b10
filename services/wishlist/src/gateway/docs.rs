//! `/docs`: the architecture of Spoor, with a diagram of the mesh drawn from its traces.

mod documents;
mod markdown;
mod mesh_reader;
mod view;

use axum::{
    Router,
    extract::{Path, State, rejection::PathRejection},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use http::StatusCode;
use spoor_telemetry::http::{Peer, Problem, assets};

use documents::{ARCHITECTURE, TAIL_RULES};
use mesh_reader::MeshReader;

const STYLE: &str = concat!(
    include_str!("../../../palette.css"),
    include_str!("docs/docs.css")
);

/// The routes at and below `/docs`.
pub(super) fn router<S: Clone + Send + Sync + 'static>(jaeger: Peer) -> Router<S> {
    Router::new()
        .route("/docs", get(architecture))
        .route("/docs/{name}", get(document))
        .merge(assets([("/docs.css", "text/css; charset=utf-8", STYLE)]))
        .with_state(MeshReader::new(jaeger))
}

async fn architecture(State(reader): State<MeshReader>) -> Html<String> {
    let mesh = reader.draw().await;
    Html(view::page(&ARCHITECTURE, Some(&*mesh)).into_string())
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
