//! The edge: a band with its reviews, and which bands there are.

use axum::{Json, Router, extract::State, routing::get};
use http::StatusCode;
use serde::Serialize;
use spoor_telemetry::http::Problem;

use super::{
    catalogue,
    reviews::{Found, Review, Reviews},
};
use crate::{Id, answer::Answer};

/// A band, and what was written about it.
#[derive(Debug, Serialize)]
struct Band {
    name: &'static str,
    /// Null when none can be had.
    reviews: Option<Vec<Review>>,
    /// What is missing, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<String>,
}

#[derive(Debug, Serialize)]
struct List {
    bands: Vec<Listed>,
}

#[derive(Debug, Serialize)]
struct Listed {
    uuid: Id,
    name: &'static str,
}

pub(super) fn router(reviews: Reviews) -> Router {
    Router::new()
        .route("/bands", get(list))
        .route("/bands/{uuid}", get(band))
        .with_state(reviews)
}

async fn list() -> Json<List> {
    let bands = catalogue::ALL.iter().map(|band| Listed {
        uuid: band.id,
        name: band.name,
    });
    Json(List {
        bands: bands.collect(),
    })
}

async fn band(State(reviews): State<Reviews>, id: Id) -> Result<Json<Answer<Band>>, Problem> {
    let Some(band) = catalogue::ALL.iter().find(|band| band.id == id) else {
        let detail = format!("uuid: there is no band {id}; GET /bands lists them");
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    };
    let Found { reviews, degraded } = reviews.of(&band.reviews).await;
    let result = Band {
        name: band.name,
        reviews,
        degraded,
    };
    Ok(Json(Answer::now(id, band.created, result)))
}
