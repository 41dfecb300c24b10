//! The pictures that are sent to be classified: drawn before the load starts, the same ones
//! every time.

use std::num::NonZeroU16;

use bytes::Bytes;
use spoor_vision::samples::{EncodeError, Sample};

use super::{Body, LoadError};

/// How many different ones.
const PICTURES: u64 = 24;
/// Pixels on each side.
const SIDE: NonZeroU16 = NonZeroU16::MIN.saturating_add(127);

/// Pictures as they are uploaded, PNG and JPEG in turn.
///
/// # Errors
/// [`LoadError::Picture`] when one can't be encoded.
pub(super) fn bodies() -> Result<Vec<Body>, LoadError> {
    (0..PICTURES).map(body).map(|it| Ok(it?)).collect()
}

fn body(seed: u64) -> Result<Body, EncodeError> {
    let sample = Sample::new(seed, SIDE);
    let (content_type, bytes) = if seed.is_multiple_of(2) {
        ("image/png", sample.png()?)
    } else {
        ("image/jpeg", sample.jpeg()?)
    };
    Ok(Body {
        content_type,
        bytes: Bytes::from(bytes),
    })
}
