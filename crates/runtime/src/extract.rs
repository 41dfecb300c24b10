//! Extractors for axum whose rejections are [`Problem`]s in the terms of the API: they name the
//! field, the value received, and what is valid.

#[cfg(test)]
mod tests;

use std::error::Error;

use axum::{
    Json,
    extract::{
        FromRequest, FromRequestParts, Path, Query, Request,
        path::ErrorKind,
        rejection::{FormRejection, JsonRejection, PathRejection},
    },
};
use http::{HeaderMap, StatusCode, Uri, header, request::Parts};
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, value::MapAccessDeserializer},
};

use crate::{Problem, with_causes};

/// The most characters of a received value that a problem repeats.
const MAX_SHOWN_CHARS: usize = 64;
/// The most characters of an error, which may repeat a received name.
const MAX_ERROR_CHARS: usize = 256;

/// A JSON object that an API accepts.
pub trait RequestBody: DeserializeOwned {
    /// An example, which refusals show.
    const EXAMPLE: &'static str;
}

/// A JSON object as the body. Its refusals have the statuses of [`Json`].
#[derive(Clone, Copy, Debug)]
pub struct JsonBody<T>(pub T);

/// The query parameters: text and whole numbers. Refusals have the status 400.
#[derive(Clone, Copy, Debug)]
pub struct QueryParameters<T>(pub T);

/// The parameters in the path. Refusals have the status 400.
#[derive(Clone, Copy, Debug)]
pub struct PathParameters<T>(pub T);

impl<T: RequestBody> JsonBody<T> {
    /// Reads a body.
    ///
    /// # Errors
    /// The refusal: 400 if the body is not JSON, and 422 if it is JSON but not a valid `T`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Problem> {
        let object = Json::<Object<T>>::from_bytes(bytes);
        let Json(Object(body)) = object.map_err(|rejection| refused_body::<T>(&rejection, None))?;
        Ok(Self(body))
    }
}

impl<T: RequestBody, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let received = content_type(request.headers());
        let object = Json::<Object<T>>::from_request(request, state).await;
        let Json(Object(body)) =
            object.map_err(|rejection| refused_body::<T>(&rejection, received))?;
        Ok(Self(body))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for QueryParameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(parameters)| Self(parameters))
            .map_err(|rejection| {
                let detail = invalid_pair(&rejection, |name| value_in(&parts.uri, name));
                Problem::new(rejection.status(), detail)
            })
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for PathParameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(parameters)| Self(parameters))
            .map_err(|rejection| {
                let detail = match &rejection {
                    PathRejection::FailedToDeserializePathParams(error) => match error.kind() {
                        ErrorKind::InvalidUtf8InPathParam { key } => {
                            format!("{key} in the path must be UTF-8 once decoded")
                        }
                        other => other.to_string(),
                    },
                    other => other.body_text(),
                };
                Problem::new(rejection.status(), detail)
            })
    }
}

impl From<FormRejection> for Problem {
    fn from(rejection: FormRejection) -> Self {
        let detail = match &rejection {
            FormRejection::InvalidFormContentType(_) => {
                "Content-Type must be application/x-www-form-urlencoded".to_owned()
            }
            FormRejection::BytesRejection(error) => unreadable(error.status(), error),
            other => invalid_pair(other, |_| None),
        };
        Self::new(rejection.status(), detail)
    }
}

/// A value that is read from a JSON object only. The implementations that serde derives accept a
/// list of the fields' values too, and name the Rust type where they expect an object.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Visitor(std::marker::PhantomData))
    }
}

struct Visitor<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Visitor<T> {
    type Value = Object<T>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, fields: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields)).map(Object)
    }
}

fn refused_body<T: RequestBody>(
    rejection: &JsonRejection,
    content_type: Option<String>,
) -> Problem {
    let wrong = match rejection {
        JsonRejection::MissingJsonContentType(_) => match content_type {
            Some(received) => format!("Content-Type must be application/json, not {received}"),
            None => "the header Content-Type is missing; set it to application/json".to_owned(),
        },
        JsonRejection::JsonSyntaxError(error) => invalid_syntax(error),
        JsonRejection::JsonDataError(error) => invalid_data(error),
        JsonRejection::BytesRejection(error) => unreadable(error.status(), error),
        other => other.body_text(),
    };
    let detail = format!("{wrong}; send a JSON object such as {}", T::EXAMPLE);
    Problem::new(rejection.status(), detail)
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::CONTENT_TYPE)?.as_bytes();
    Some(shortened(&text.escape_ascii().to_string(), MAX_SHOWN_CHARS))
}

fn unreadable(status: StatusCode, error: &dyn Error) -> String {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => "the body is longer than this path accepts".to_owned(),
        _ => format!("the body cannot be read: {}", with_causes(error)),
    }
}

fn invalid_syntax(rejection: &(dyn Error + 'static)) -> String {
    // The error of text after the end of the value belongs to no field, so it has no path.
    let error = find::<serde_path_to_error::Error<serde_json::Error>>(rejection)
        .map(serde_path_to_error::Error::inner)
        .or_else(|| find(rejection));
    match error {
        Some(error) if error.is_eof() && (error.line(), error.column()) == (1, 0) => {
            "the body is empty".to_owned()
        }
        Some(error) if error.is_eof() => "the JSON in the body is incomplete".to_owned(),
        Some(error) => format!("the body is not JSON: {error}"),
        None => format!("the body is not JSON: {}", with_causes(rejection)),
    }
}

fn invalid_data(rejection: &(dyn Error + 'static)) -> String {
    let Some(error) = find::<serde_path_to_error::Error<serde_json::Error>>(rejection) else {
        return with_causes(rejection);
    };
    let message = error.inner().to_string();
    // A position helps with syntax only, and the body is often on one line.
    let message = message
        .rsplit_once(" at line ")
        .map_or(&*message, |(message, _)| message);
    with_path(error.path(), &in_terms_of_json(message))
}

/// The error in a query or a form, which are pairs of names and values.
fn invalid_pair(
    rejection: &(dyn Error + 'static),
    value: impl FnOnce(&str) -> Option<String>,
) -> String {
    let Some(error) = find::<serde_path_to_error::Error<de::value::Error>>(rejection) else {
        return with_causes(rejection);
    };
    let message = error.inner().to_string();
    let name = error.path().to_string();
    let problem = match (message.split_once(" field "), value(&name)) {
        (Some(("duplicate", name)), _) => format!("duplicate parameter {name}; pass it once"),
        (Some((wrong, rest)), _) => format!("{wrong} parameter {rest}"),
        // Text is always accepted, and the only other parameters are whole numbers.
        (None, Some(value)) => {
            let value = shortened(&value, MAX_SHOWN_CHARS);
            format!("{name}: must be a whole number, not {value:?}")
        }
        (None, None) => with_path(error.path(), &message),
    };
    shortened(&problem, MAX_ERROR_CHARS)
}

fn value_in(uri: &Uri, name: &str) -> Option<String> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).ok()?;
    let found = pairs.into_iter().find(|(other, _)| other == name);
    found.map(|(_, value)| value)
}

/// A message of [`de::Error`] without the words of Rust and serde: `must be a string, not 5`.
fn in_terms_of_json(message: &str) -> String {
    let mismatch = ["invalid type: ", "invalid value: "]
        .iter()
        .find_map(|kind| message.strip_prefix(kind))
        // From the right, since a received text may contain the words.
        .and_then(|rest| rest.rsplit_once(", expected "));
    let Some((received, expected)) = mismatch else {
        return shortened(message, MAX_ERROR_CHARS);
    };
    let expected = match expected {
        "u8" | "u16" | "u32" | "u64" => "a whole number",
        expected if expected.starts_with("struct ") => "an object",
        expected => expected,
    };
    let received = match received {
        "map" => "an object",
        "sequence" => "a list",
        // A value follows its type: integer `5`, string "x".
        received => received
            .find(['`', '"'])
            .map_or(received, |at| received.split_at(at).1),
    };
    format!(
        "must be {expected}, not {}",
        shortened(received.trim_matches('`'), MAX_SHOWN_CHARS)
    )
}

/// An error with the path of its field, unless it names the field itself.
fn with_path(path: &serde_path_to_error::Path, message: &str) -> String {
    let is_named = || message.contains(&format!("`{path}`"));
    match path.iter().next() {
        Some(_) if !is_named() => shortened(&format!("{path}: {message}"), MAX_ERROR_CHARS),
        _ => message.to_owned(),
    }
}

fn shortened(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}…", text.split_at(end).0),
        None => text.to_owned(),
    }
}

/// Finds the first error of type `E` among an error and its causes.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    error
        .downcast_ref()
        .or_else(|| error.source().and_then(find))
}
