//! The documents in a request: a JSON list, or one YAML document as the body.

use axum::{
    RequestExt,
    body::Bytes,
    extract::{FromRequest, Query, Request},
};
use http::{StatusCode, header};
use serde::Deserialize;

use super::problem::problem;
use crate::wire::{Document, Documents, Problem};

/// The query parameter that names the body in errors.
#[derive(Deserialize)]
struct Named {
    source: Option<String>,
}

impl<S: Send + Sync> FromRequest<S> for Documents {
    type Rejection = Problem;

    async fn from_request(mut request: Request, _state: &S) -> Result<Self, Problem> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let content_type = content_type
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or_default();
        // Without parameters such as `charset=utf-8`.
        let essence = content_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned();
        let Query(named): Query<Named> = request
            .extract_parts()
            .await
            .map_err(|error| bad_request("Invalid query", error))?;
        let body: Bytes = request.extract().await.map_err(|error| {
            let error: axum::extract::rejection::BytesRejection = error;
            let detail = match error.status() {
                StatusCode::PAYLOAD_TOO_LARGE => "send at most 4 MiB at once".to_owned(),
                _ => error.body_text(),
            };
            problem(error.status(), "Unreadable body", detail)
        })?;
        match essence.as_str() {
            "application/json" => serde_json::from_slice(&body)
                .map_err(|error| bad_request("Invalid list of documents", error)),
            "application/yaml" | "application/x-yaml" | "text/yaml" => {
                let text = std::str::from_utf8(&body)
                    .map_err(|error| bad_request("Body is not UTF-8", error))?
                    .to_owned();
                let source = named.source.unwrap_or_else(|| "body".into());
                Ok(Self {
                    documents: vec![Document { source, text }],
                })
            }
            _ => {
                let detail = "send application/yaml, or application/json of the form \
                              {\"documents\": [{\"source\": …, \"text\": …}]}";
                let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                Err(problem(status, "Unsupported media type", detail))
            }
        }
    }
}

fn bad_request(title: &'static str, error: impl std::fmt::Display) -> Problem {
    problem(StatusCode::BAD_REQUEST, title, error.to_string())
}
