//! IDs of bands and reviews in paths.

use axum::extract::{FromRequestParts, Path};
use http::{StatusCode, request::Parts};
use spoor_telemetry::http::Problem;
use uuid::Uuid;

/// The UUID in a path, in the hyphenated form of RFC 9562.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Id(pub(crate) Uuid);

/// The length of the text, in bytes.
const TEXT_BYTES: usize = 36;
/// The most characters of an invalid ID that an error repeats.
const MAX_SHOWN_CHARS: usize = 64;

/// Parses an ID in upper or lower case.
fn parse(text: &str) -> Option<Uuid> {
    // `Uuid::try_parse` also accepts other forms, such as one without hyphens.
    let id = Uuid::try_parse(text).ok();
    id.filter(|_| text.len() == TEXT_BYTES)
}

/// Extracts `{uuid}` from the path. An invalid one is rejected with a 422, which quotes it unless it
/// is not UTF-8.
impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Ok(Path(text)) = Path::<String>::from_request_parts(parts, state).await else {
            return Err(malformed("text that is not UTF-8"));
        };
        let shown = || text.chars().take(MAX_SHOWN_CHARS).collect::<String>();
        // Quoted as by `Debug`, so that control characters are escaped.
        let id = parse(&text).ok_or_else(|| malformed(&format!("{:?}", shown())))?;
        Ok(Self(id))
    }
}

fn malformed(text: &str) -> Problem {
    let detail =
        format!("uuid: must be a UUID such as 3f2b8c1e-5d6a-4f7b-9c8d-1e2f3a4b5c6d, not {text}");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[rstest::rstest]
    #[case("3f2b8c1e-5d6a-4f7b-9c8d-1e2f3a4b5c6d", true)]
    #[case("3F2B8C1E-5D6A-4F7B-9C8D-1E2F3A4B5C6D", true)]
    #[case("3f2b8c1e5d6a4f7b9c8d1e2f3a4b5c6d", false)]
    #[case("{3f2b8c1e-5d6a-4f7b-9c8d-1e2f3a4b5c6d}", false)]
    #[case("urn:uuid:3f2b8c1e-5d6a-4f7b-9c8d-1e2f3a4b5c6d", false)]
    #[case("3f2b8c1e-5d6a-4f7b-9c8d-1e2f3a4b5c6g", false)]
    #[case("", false)]
    fn only_hyphenated_ids_are_valid(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(parse(text).is_some(), valid);
    }

    proptest! {
        #[test]
        fn displayed_ids_parse_to_the_same(value: u128) {
            let id = Uuid::from_u128(value);
            prop_assert_eq!(parse(&id.to_string()), Some(id));
        }

        #[test]
        fn any_text_is_parsed_without_panic(text in "\\PC{0,40}|[0-9a-f-]{36}") {
            if let Some(id) = parse(&text) {
                prop_assert_eq!(id.to_string(), text.to_lowercase());
            }
        }
    }
}
