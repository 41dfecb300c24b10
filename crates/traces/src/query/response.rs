//! JSON answers, made off the threads that serve connections.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Serialize;
use serde_json::ser::PrettyFormatter;

/// Runs a query and encodes its answer on a thread that may block: decoding thousands of spans
/// must not hold up other connections.
pub async fn json<T, F>(
    pretty: bool,
    query: impl FnOnce() -> Result<T, F> + Send + 'static,
    internal: impl FnOnce(String) -> F,
) -> Response
where
    T: Serialize,
    F: IntoResponse + Send + 'static,
{
    let work = move || query().map(|answer| encode(&answer, pretty));
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(Ok(body))) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Ok(Ok(Err(error))) => internal(format!("encoding the answer: {error}")).into_response(),
        Ok(Err(fault)) => fault.into_response(),
        Err(error) => internal(format!("answering: {error}")).into_response(),
    }
}

/// The status for failures that are ours.
pub const INTERNAL: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;

fn encode<T: Serialize>(answer: &T, pretty: bool) -> Result<Vec<u8>, serde_json::Error> {
    let mut body = Vec::new();
    if pretty {
        let formatter = PrettyFormatter::with_indent(b"    ");
        answer.serialize(&mut serde_json::Serializer::with_formatter(
            &mut body, formatter,
        ))?;
    } else {
        serde_json::to_writer(&mut body, answer)?;
    }
    Ok(body)
}
