//! A picture in a form, as `curl -F image=@picture.png` and browsers without scripts send it.
//!
//! The body is in memory already, so the picture is a slice of it.
//!
//! Sources: RFC 7578, RFC 2046 section 5.1.1.

use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_TYPE};

/// The error for a form without a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidForm {
    #[error("the form's Content-Type has no valid boundary")]
    NoBoundary,
    #[error(
        "the form has no file; send one with curl -F image=@picture.png, or the picture alone with \
         curl --data-binary @picture.png"
    )]
    NoFile,
    #[error("the form is incomplete")]
    Incomplete,
}

/// The first file of a form, or the whole body if it is not a form.
pub(super) fn picture(headers: &HeaderMap, body: Bytes) -> Result<Bytes, InvalidForm> {
    let Some(parameters) = multipart(headers) else {
        return Ok(body);
    };
    let boundary = boundary(parameters).ok_or(InvalidForm::NoBoundary)?;
    file(&body, &format!("\r\n--{boundary}"))
}

/// The parameters of `multipart/form-data`.
fn multipart(headers: &HeaderMap) -> Option<&str> {
    const TYPE: &str = "multipart/form-data";
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    essence
        .trim()
        .eq_ignore_ascii_case(TYPE)
        .then_some(parameters)
}

fn boundary(parameters: &str) -> Option<&str> {
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then_some(value)
    });
    let value = value?.trim_matches('"');
    // RFC 2046 allows 70 characters.
    (1..=70).contains(&value.len()).then_some(value)
}

fn file(body: &Bytes, delimiter: &str) -> Result<Bytes, InvalidForm> {
    let delimiter = delimiter.as_bytes();
    // The first delimiter may be at the very beginning, without the line break before it.
    let starts_with_delimiter = delimiter.get(2..).is_some_and(|it| body.starts_with(it));
    let mut at = match starts_with_delimiter {
        true => delimiter.len() - 2,
        false => after(body, 0, delimiter).ok_or(InvalidForm::NoFile)?,
    };
    loop {
        let head_end = after(body, at, b"\r\n\r\n").ok_or(InvalidForm::NoFile)?;
        let head = body.get(at..head_end).unwrap_or_default();
        let next = after(body, head_end, delimiter);
        if is_of_file(head) {
            let next = next.ok_or(InvalidForm::Incomplete)?;
            return Ok(body.slice(head_end..next - delimiter.len()));
        }
        at = next.ok_or(InvalidForm::NoFile)?;
    }
}

/// True if a part has a file name, which makes it a file.
fn is_of_file(head: &[u8]) -> bool {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let mut lines = head.lines();
    lines.any(|line| line.starts_with("content-disposition:") && line.contains("filename"))
}

/// The position after the next occurrence of a pattern.
fn after(body: &[u8], from: usize, pattern: &[u8]) -> Option<usize> {
    let position = memchr::memmem::find(body.get(from..)?, pattern)?;
    Some(from + position + pattern.len())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use rstest::rstest;

    use super::*;

    fn read(content_type: &'static str, body: &str) -> Result<String, InvalidForm> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        let file = picture(&headers, Bytes::copy_from_slice(body.as_bytes()))?;
        Ok(String::from_utf8_lossy(&file).into_owned())
    }

    const FORM: &str = "multipart/form-data; boundary=xyz";
    const FILE: &str = "--xyz\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\n\
                        Content-Type: image/png\r\n\r\nPNG\r\n--x\r\n\r\n--xyz--\r\n";
    const FIELD: &str = "--xyz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n";

    #[rstest]
    #[case::not_a_form("image/png", FILE, Ok(FILE))]
    #[case::file(FORM, FILE, Ok("PNG\r\n--x\r\n"))]
    #[case::quoted(
        "Multipart/Form-Data; charset=x; Boundary=\"xyz\"",
        FILE,
        Ok("PNG\r\n--x\r\n")
    )]
    #[case::after_a_field(FORM, &format!("{FIELD}{FILE}"), Ok("PNG\r\n--x\r\n"))]
    #[case::after_a_preamble(FORM, &format!("for people\r\n{FILE}"), Ok("PNG\r\n--x\r\n"))]
    #[case::no_boundary("multipart/form-data", FILE, Err(InvalidForm::NoBoundary))]
    #[case::no_file(FORM, &format!("{FIELD}--xyz--"), Err(InvalidForm::NoFile))]
    #[case::empty(FORM, "", Err(InvalidForm::NoFile))]
    #[case::cut(FORM, &FILE[..FILE.len() - 10], Err(InvalidForm::Incomplete))]
    #[case::cut_in_its_head(FORM, &FILE[..40], Err(InvalidForm::NoFile))]
    fn finds_the_file(
        #[case] content_type: &'static str,
        #[case] body: &str,
        #[case] expected: Result<&str, InvalidForm>,
    ) {
        assert_eq!(read(content_type, body), expected.map(str::to_owned));
    }
}
