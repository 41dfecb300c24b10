//! reviews: reviews of bands over HTTP, for services in the mesh.

use std::time::Duration;

use axum::{Json, Router, routing::get};
use http::StatusCode;
use serde::Serialize;
use spoor_telemetry::{
    http::Problem,
    serve::{GRACE, Program, ServeError, Server},
};
use uuid::Uuid;

use crate::{
    catalogue,
    id::Id,
    response::{Response, with_health_and_limits},
};

/// The maximum time for a request, which needs no other service.
const DEADLINE: Duration = Duration::from_secs(1);

/// The settings of reviews.
#[derive(clap::Args, Clone, Debug)]
pub struct ReviewsArgs;

impl Program for ReviewsArgs {
    type Error = ServeError;

    async fn serve(self, server: Server) -> Result<(), ServeError> {
        let router = Router::new().route("/reviews/{uuid}", get(review));
        let router = with_health_and_limits(router, DEADLINE);
        // Callers are services in the mesh, whose trace context is trusted.
        server.serve_http_in_mesh(router, GRACE).await
    }
}

/// The IDs of all reviews.
pub fn ids() -> impl Iterator<Item = Uuid> {
    catalogue::reviews().map(|review| review.id)
}

#[derive(Debug, Serialize)]
struct Text {
    body: &'static str,
}

async fn review(Id(id): Id) -> Result<Json<Response<Text>>, Problem> {
    let Some(review) = catalogue::reviews().find(|review| review.id == id) else {
        let detail = format!("uuid: no review {id}");
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    };
    let result = Text { body: review.body };
    Ok(Json(Response::new(id, review.created, result)))
}
