//! reviews: reviews of bands over HTTP, for services in the mesh.

mod catalogue;

use std::time::Duration;

use axum::{Json, Router, routing::get};
use http::StatusCode;
use serde::Serialize;
use spoor_telemetry::{
    http::Problem,
    serve::{GRACE, Program, ServeError, Server},
};

use crate::{
    Id,
    response::{Response, with_limits},
};

/// The maximum time for a request, which waits for nothing.
const DEADLINE: Duration = Duration::from_secs(1);

/// The settings of reviews.
#[derive(clap::Args, Clone, Debug)]
pub struct ReviewsArgs;

impl Program for ReviewsArgs {
    type Error = ServeError;

    async fn serve(self, server: Server) -> Result<(), ServeError> {
        let router = Router::new().route("/reviews/{uuid}", get(review));
        let router = with_limits(router, DEADLINE);
        // Callers are services in the mesh, whose trace context is trusted.
        server.serve_http_in_mesh(router, GRACE).await
    }
}

/// The IDs of all reviews.
pub fn known() -> impl Iterator<Item = Id> {
    catalogue::ALL.iter().map(|review| review.id)
}

#[derive(Debug, Serialize)]
struct Text {
    body: &'static str,
}

async fn review(id: Id) -> Result<Json<Response<Text>>, Problem> {
    let found = catalogue::ALL.iter().find(|review| review.id == id);
    let Some(review) = found else {
        let detail = format!("uuid: no review {id}");
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    };
    let result = Text { body: review.body };
    Ok(Json(Response::new(id, review.created, result)))
}
