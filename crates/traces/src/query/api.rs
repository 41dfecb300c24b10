//! Routes of the APIs over HTTP: from a request's parameters to a response in JSON.

use axum::{
    extract::State,
    response::IntoResponse,
    routing::{self, MethodRouter},
};
use http::header;
use serde::Serialize;
use spoor_runtime::{PathParameters, Problem};

use super::{
    limits::{Queries, Reader, TraceQueryError},
    parameters::{self, Parameters},
    response::{Buffer, refused, respond_with},
};

/// A request, with everything that its response is built from.
#[derive(Debug)]
pub struct ApiRequest {
    pub reader: Reader,
    /// The response, for results that read the store while they are encoded.
    pub buffer: Buffer,
    pub parameters: Parameters,
    /// The variable part of the path, or the reason that it cannot be read.
    pub path: Result<String, String>,
    /// In nanoseconds since the Unix epoch; a query may start later, since it waits for its turn.
    pub received_at: u64,
}

/// A route that runs a query and encodes its result, within the bounds. The result may read the
/// store while it is encoded, so that no two traces need be in memory at the same time.
pub fn get<T, E>(query: fn(ApiRequest) -> Result<T, E>) -> MethodRouter<Queries>
where
    T: Serialize + 'static,
    E: From<TraceQueryError> + IntoResponse + Send + 'static,
{
    let respond = async move |State(queries): State<Queries>,
                              path: Result<PathParameters<String>, Problem>,
                              parameters: Parameters| {
        let received_at = parameters::now();
        let work = move |reader| {
            let buffer = Buffer::default();
            let pretty = parameters.is_pretty();
            let request = ApiRequest {
                reader,
                buffer: buffer.clone(),
                parameters,
                path: path
                    .map(|PathParameters(part)| part)
                    .map_err(|refusal| refusal.detail),
                received_at,
            };
            buffer.encode(&query(request)?, pretty)?;
            Ok::<_, E>(buffer.take())
        };
        let body = match queries.run(work).await {
            Ok(Ok(body)) => respond_with(&queries, body),
            Ok(Err(error)) => return error.into_response(),
            Err(error) => Err(error),
        };
        match body {
            Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
            Err(error) => refused::<E>(error),
        }
    };
    routing::get(respond)
}
