//! The JSON API: `/api/wishes`.

use axum::{
    Json, Router,
    extract::{Path, State, rejection::JsonRejection},
    response::IntoResponse,
    routing::{delete, get},
};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use spoor_telemetry::http::Problem;

use super::{
    Gateway,
    wishes::{Failure, Wish},
};
use crate::WishName;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewWish {
    name: String,
}

#[derive(Debug, Serialize)]
struct List {
    /// The newest first.
    wishes: Vec<Wish>,
}

pub(super) fn router() -> Router<Gateway> {
    Router::new()
        .route("/api/wishes", get(list).post(add))
        .route("/api/wishes/{id}", delete(remove))
}

async fn list(State(gateway): State<Gateway>) -> Result<Json<List>, Problem> {
    Ok(Json(List {
        wishes: gateway.wishes.list().await?,
    }))
}

async fn add(
    State(gateway): State<Gateway>,
    wish: Result<Json<NewWish>, JsonRejection>,
) -> Result<impl IntoResponse, Problem> {
    let Json(NewWish { name }) = wish?;
    let name = WishName::new(&name).map_err(Failure::from)?;
    let wish = gateway.wishes.add(&name).await?;
    let location = [(header::LOCATION, format!("/api/wishes/{}", wish.id))];
    Ok((StatusCode::CREATED, location, Json(wish)))
}

async fn remove(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    gateway.wishes.delete(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}
