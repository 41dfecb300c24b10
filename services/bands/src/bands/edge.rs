//! The edge: the list of bands, and a band with its reviews.

use axum::{Json, Router, extract::State, routing::get};
use http::StatusCode;
use serde::Serialize;
use spoor_telemetry::http::Problem;
use uuid::Uuid;

use super::reviews::{Fetched, Reviews};
use crate::{catalogue::BANDS, id::Id, response::Response};

/// A band with its reviews.
#[derive(Debug, Serialize)]
struct Band {
    name: &'static str,
    #[serde(flatten)]
    fetched: Fetched,
}

#[derive(Debug, Serialize)]
struct List {
    bands: Vec<BandSummary>,
}

#[derive(Debug, Serialize)]
struct BandSummary {
    uuid: Uuid,
    name: &'static str,
}

pub(super) fn router(reviews: Reviews) -> Router {
    Router::new()
        .route("/bands", get(list))
        .route("/bands/{uuid}", get(band))
        .with_state(reviews)
}

async fn list() -> Json<List> {
    let bands = BANDS.iter().map(|band| BandSummary {
        uuid: band.id,
        name: band.name,
    });
    Json(List {
        bands: bands.collect(),
    })
}

async fn band(State(reviews): State<Reviews>, Id(id): Id) -> Result<Json<Response<Band>>, Problem> {
    let Some(band) = BANDS.iter().find(|band| band.id == id) else {
        let detail = format!("uuid: no band {id}; GET /bands lists all");
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    };
    let ids = band.reviews.each_ref().map(|it| it.id);
    let result = Band {
        name: band.name,
        fetched: reviews.fetch(ids).await,
    };
    Ok(Json(Response::new(id, band.created, result)))
}
