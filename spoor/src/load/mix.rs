//! The operations that each scenario sends to each service.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, Uri};

use super::{Body, LoadError, Operation, Scenario, images};
use crate::service::Service;

const JSON: &str = "application/json";

/// The operations of a scenario, which take turns.
///
/// # Errors
/// [`LoadError::Picture`] if an image to send cannot be drawn.
pub(super) fn operations(
    scenario: Scenario,
    urls: &BTreeMap<Service, Uri>,
    path: &str,
) -> Result<Vec<Operation>, LoadError> {
    if scenario.accepts_path() {
        let get = |(service, url): (&Service, &Uri)| {
            Operation::get(format!("{service} GET {path}"), url.clone(), path)
        };
        return Ok(urls.iter().map(get).collect());
    }
    let mut by_service: Vec<_> = vec![];
    for (service, url) in urls {
        by_service.push(of_service(*service, url)?.into_iter());
    }
    // Services alternate, so that none receives its requests in a row.
    let mut operations = vec![];
    loop {
        let before = operations.len();
        operations.extend(by_service.iter_mut().filter_map(Iterator::next));
        if operations.len() == before {
            return Ok(operations);
        }
    }
}

fn of_service(service: Service, url: &Uri) -> Result<Vec<Operation>, LoadError> {
    let get = |path: &str| Operation::get(format!("{service} GET {path}"), url.clone(), path);
    let post = |path: &str, bodies: Vec<Body>| {
        Operation::post(format!("{service} POST {path}"), url.clone(), path, bodies)
    };
    Ok(match service {
        Service::ServiceA => vec![get("/")],
        Service::Gateway => vec![
            get("/"),
            get("/api/wishes"),
            get("/api/offers"),
            post("/api/wishes", vec![json(r#"{"name":"a kettle"}"#)]).followed_by(
                "gateway DELETE /api/wishes/{id}",
                Method::DELETE,
                "",
            ),
        ],
        Service::Bands => {
            let mut bands = vec![get("/bands")];
            bands.extend(spoor_bands::bands::known().map(|uuid| Operation {
                name: "bands GET /bands/{uuid}".into(),
                ..get(&format!("/bands/{uuid}"))
            }));
            bands
        }
        Service::Tasks => vec![
            get("/tasks"),
            post(
                "/tasks",
                vec![json(r#"{"title":"water the plants","priority":"high"}"#)],
            )
            .followed_by("tasks POST /tasks/{id}/complete", Method::POST, "/complete")
            .followed_by("tasks DELETE /tasks/{id}", Method::DELETE, ""),
        ],
        Service::Preprocessing => vec![post("/classify", images::bodies()?)],
        // Only edges receive requests from outside.
        _ => vec![],
    })
}

fn json(text: &'static str) -> Body {
    Body {
        content_type: JSON,
        bytes: Bytes::from_static(text.as_bytes()),
    }
}
