//! The JSON API: `/api/wishes` and `/api/offers`.

use axum::{
    Json, Router,
    extract::{Path, State, rejection::PathRejection},
    response::IntoResponse,
    routing::{delete, get},
};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use spoor_telemetry::http::{ConnectionTurn, JsonBody, Problem, RequestBody};

use super::{
    Gateway,
    offers::Listing,
    wishes::{Wish, WishError},
};
use crate::WishName;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewWish {
    name: String,
}

impl RequestBody for NewWish {
    const EXAMPLE: &'static str = r#"{"name": "a bicycle"}"#;
}

#[derive(Debug, Serialize)]
struct List {
    /// The wishes, newest first.
    wishes: Vec<Wish>,
}

pub(super) fn router() -> Router<Gateway> {
    Router::new()
        .route("/api/wishes", get(list).post(add))
        .route("/api/wishes/{id}", delete(remove))
        .route("/api/offers", get(offers))
        .route("/api/offers/stream", get(stream))
}

async fn list(
    State(gateway): State<Gateway>,
    connection: ConnectionTurn,
) -> Result<Json<List>, Problem> {
    let _reserved = gateway.reserve(&connection).await?;
    Ok(Json(List {
        wishes: gateway.wishes.list().await?,
    }))
}

async fn add(
    State(gateway): State<Gateway>,
    JsonBody(NewWish { name }): JsonBody<NewWish>,
) -> Result<impl IntoResponse, Problem> {
    let name = WishName::new(&name).map_err(WishError::from)?;
    let wish = gateway.add_wish(&name).await?;
    let location = [(header::LOCATION, format!("/api/wishes/{}", wish.id))];
    Ok((StatusCode::CREATED, location, Json(wish)))
}

async fn remove(
    State(gateway): State<Gateway>,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    // No wish has an ID that is not UTF-8.
    let Path(id) = id.map_err(|_| WishError::NotFound)?;
    gateway.delete_wish(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn offers(
    State(gateway): State<Gateway>,
    connection: ConnectionTurn,
) -> Result<Json<Listing>, Problem> {
    let _reserved = gateway.reserve(&connection).await?;
    Ok(Json(gateway.offers.list().await?))
}

async fn stream(State(gateway): State<Gateway>) -> Result<impl IntoResponse, Problem> {
    let stream = gateway.updates.subscribe();
    stream.map_err(|error| Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
}
