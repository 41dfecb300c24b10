//! The documents in a request: a list in a JSON object, or one YAML document as the body.

use axum::{
    RequestExt,
    body::Bytes,
    extract::{FromRequest, Request, rejection::BytesRejection},
};
use http::{StatusCode, header};
use serde::Deserialize;
use spoor_api::{changes::Document, read};
use spoor_runtime::{JsonBody, QueryParameters, RequestBody};

use super::problem::{body_too_large, problem, refuse_compressed, too_large};
use crate::wire::{Documents, Problem};

/// The longest name of a document, in bytes. Each of its errors repeats the name.
const MAX_SOURCE_BYTES: usize = 1024;

/// The most documents in a request, as many as the lab accepts policies. The time to read them is
/// bounded by [`read::MAX_VALUES`].
const MAX_DOCUMENTS: usize = 1_000;

/// The query parameter that names the body in errors.
#[derive(Deserialize)]
struct Named {
    source: Option<String>,
}

impl RequestBody for Documents {
    const EXAMPLE: &'static str = r#"{"documents": [{"source": …, "text": …}]}"#;
}

impl<S: Send + Sync> FromRequest<S> for Documents {
    type Rejection = Problem;

    async fn from_request(mut request: Request, _state: &S) -> Result<Self, Problem> {
        let encoding = refuse_compressed(request.headers());
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|kind| kind.to_str().ok());
        // Without parameters such as `charset=utf-8`.
        let media_type = content_type.and_then(|kind| kind.split(';').next());
        let media_type = media_type.unwrap_or_default().trim().to_owned();
        let QueryParameters(named): QueryParameters<Named> = request
            .extract_parts()
            .await
            .map_err(|refusal: Problem| refusal.with_title("Invalid query"))?;
        let body: Result<Bytes, BytesRejection> = request.extract().await;
        let body = body.map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => body_too_large(),
            status => problem(status, "Unreadable body", error.body_text()),
        })?;
        encoding?;
        match media_type.as_str() {
            "application/json" => {
                let JsonBody(documents) = JsonBody::from_bytes(&body)
                    .map_err(|refusal| bad_request("Invalid list of documents", refusal.detail))?;
                within_limits(documents)
            }
            "application/yaml" | "application/x-yaml" | "text/yaml" => {
                let text = std::str::from_utf8(&body)
                    .map_err(|error| bad_request("Body is not UTF-8", error))?
                    .to_owned();
                let source = named.source.unwrap_or_else(|| "body".into());
                within_limits(Self {
                    documents: vec![Document { source, text }],
                })
            }
            _ => {
                let form = Self::EXAMPLE;
                let detail =
                    format!("send application/yaml, or application/json of the form {form}");
                let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                Err(problem(status, "Unsupported media type", detail))
            }
        }
    }
}

/// Returns the documents if there are not too many, and neither their names nor their texts are too
/// long.
fn within_limits(documents: Documents) -> Result<Documents, Problem> {
    let count = documents.documents.len();
    if count > MAX_DOCUMENTS {
        let detail = format!(
            "a request may have at most {MAX_DOCUMENTS} documents, not {count}; send fewer"
        );
        return Err(too_large(detail));
    }
    let max = read::MAX_BYTES;
    for Document { source, text } in &documents.documents {
        if source.len() > MAX_SOURCE_BYTES {
            let len = source.len();
            let detail = format!(
                "the source of a document must be at most {MAX_SOURCE_BYTES} bytes, not {len}"
            );
            return Err(bad_request("Invalid source", detail));
        }
        if text.len() > max {
            let len = text.len();
            let detail = format!("{source}: must be at most {max} bytes, not {len}");
            return Err(too_large(detail));
        }
    }
    Ok(documents)
}

fn bad_request(title: &'static str, error: impl std::fmt::Display) -> Problem {
    problem(StatusCode::BAD_REQUEST, title, error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn too_many_documents_are_refused() {
        let document = Document {
            source: "a.yaml".to_owned(),
            text: String::new(),
        };
        let within = |count| {
            let documents = vec![document.clone(); count];
            within_limits(Documents { documents })
        };
        assert!(within(MAX_DOCUMENTS).is_ok());
        let refusal = within(MAX_DOCUMENTS + 1).unwrap_err();
        assert_eq!(refusal.status, 413);
        let expected = "a request may have at most 1000 documents, not 1001; send fewer";
        assert_eq!(refusal.detail, expected);
    }

    #[rstest::rstest]
    #[case("", "the body is empty")]
    #[case("[]", "must be an object, not a list")]
    #[case(r#"{"documents": [7]}"#, "documents[0]: must be an object, not 7")]
    #[case(
        r#"{"document": []}"#,
        "unknown field `document`, expected `documents`"
    )]
    #[tokio::test]
    async fn invalid_lists_are_refused(#[case] body: &'static str, #[case] wrong: &str) {
        let request = Request::builder().header(header::CONTENT_TYPE, "application/json");
        let request = request.body(body.into()).unwrap();
        let refusal = Documents::from_request(request, &()).await.unwrap_err();
        let form = "send a JSON object such as {\"documents\": [{\"source\": …, \"text\": …}]}";
        assert_eq!(
            (refusal.status, refusal.detail),
            (400, format!("{wrong}; {form}"))
        );
    }
}
