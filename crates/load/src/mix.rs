//! The operations that each scenario sends to each service.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Method;

use super::{
    base_url::BaseUrl,
    edge::Edge,
    error::DriveError,
    images,
    operation::{Body, LoadOperation},
    scenario::Scenario,
};

/// The operations of a scenario, which take turns.
///
/// # Errors
/// [`DriveError::DrawImage`] if an image to send cannot be drawn.
pub fn operations(
    scenario: Scenario,
    urls: &BTreeMap<Edge, BaseUrl>,
    path: &str,
) -> Result<Vec<LoadOperation>, DriveError> {
    if scenario.accepts_path() {
        let get = |(edge, url): (&Edge, &BaseUrl)| {
            LoadOperation::get(format!("{edge} GET {path}"), url.clone(), path)
        };
        return Ok(urls.iter().map(get).collect());
    }
    let mut numbered: Vec<(usize, LoadOperation)> = vec![];
    for (edge, url) in urls {
        numbered.extend(of_edge(*edge, url)?.into_iter().enumerate());
    }
    // Edges alternate, so that none receives its requests in a row: the sort is stable.
    numbered.sort_by_key(|(position, _)| *position);
    Ok(numbered.into_iter().map(|(_, it)| it).collect())
}

fn of_edge(edge: Edge, url: &BaseUrl) -> Result<Vec<LoadOperation>, DriveError> {
    let get = |path: &str| LoadOperation::get(format!("{edge} GET {path}"), url.clone(), path);
    let post = |path: &str, bodies: Vec<Body>| LoadOperation {
        method: Method::POST,
        bodies: bodies.into(),
        ..LoadOperation::get(format!("{edge} POST {path}"), url.clone(), path)
    };
    Ok(match edge {
        Edge::ServiceA => vec![get("/")],
        Edge::Gateway => vec![
            get("/"),
            get("/api/wishes"),
            get("/api/offers"),
            // Follow-ups delete the wishes that the load creates, so that a long load does not fill the
            // store.
            post("/api/wishes", vec![json(r#"{"name":"a kettle"}"#)]).followed_by(
                "gateway DELETE /api/wishes/{id}",
                Method::DELETE,
                "",
            ),
        ],
        Edge::Bands => {
            let mut bands = vec![get("/bands")];
            // One name for all UUIDs, so that the table has one row for the route.
            bands.extend(spoor_bands::bands::ids().map(|uuid| LoadOperation {
                name: "bands GET /bands/{uuid}".into(),
                ..get(&format!("/bands/{uuid}"))
            }));
            bands
        }
        Edge::Tasks => vec![
            get("/tasks"),
            post(
                "/tasks",
                vec![json(r#"{"title":"water the plants","priority":"high"}"#)],
            )
            .followed_by("tasks POST /tasks/{id}/complete", Method::POST, "/complete")
            .followed_by("tasks DELETE /tasks/{id}", Method::DELETE, ""),
        ],
        Edge::Preprocessing => vec![post("/classify", images::bodies()?)],
    })
}

fn json(text: &'static str) -> Body {
    Body {
        content_type: "application/json",
        bytes: Bytes::from_static(text.as_bytes()),
    }
}
