//! reviews: what was written about the bands, over HTTP, for the mesh.

mod catalogue;

use std::time::Duration;

use axum::{Json, Router, routing::get};
use http::StatusCode;
use serde::Serialize;
use spoor_telemetry::{
    Telemetry,
    http::Problem,
    serve::{GRACE, Listen, Ports, Program, ServeError},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Id,
    answer::{Answer, served},
};

/// Nothing is waited for.
const DEADLINE: Duration = Duration::from_secs(1);

/// What can be set about reviews.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where it listens.
    #[command(flatten)]
    pub listen: Listen,
}

impl Program for Args {
    type Error = ServeError;

    fn listen(&mut self) -> &mut Listen {
        &mut self.listen
    }

    async fn serve(
        self,
        ports: Ports,
        telemetry: &Telemetry,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        let router = Router::new().route("/reviews/{uuid}", get(review));
        let router = served(router, DEADLINE);
        ports
            .serve_http_in_mesh(router, GRACE, telemetry, shutdown)
            .await
    }
}

/// Every review's id.
pub fn known() -> impl Iterator<Item = Id> {
    catalogue::ALL.iter().map(|review| review.id)
}

#[derive(Debug, Serialize)]
struct Written {
    body: &'static str,
}

async fn review(id: Id) -> Result<Json<Answer<Written>>, Problem> {
    let found = catalogue::ALL.iter().find(|review| review.id == id);
    let Some(review) = found else {
        let detail = format!("uuid: there is no review {id}");
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    };
    let result = Written { body: review.body };
    Ok(Json(Answer::now(id, review.created, result)))
}
