//! The images sent for classification. They are drawn before the load starts, and are the same
//! in every run.

use std::num::NonZeroU16;

use bytes::Bytes;
use spoor_vision::samples::{EncodeError, SamplePicture};

use super::{error::DriveError, operation::Body};

/// The number of different images.
const IMAGE_COUNT: u64 = 24;
/// The width and height in pixels.
const SIDE_PIXELS: NonZeroU16 = NonZeroU16::MIN.saturating_add(127);

/// The request bodies, PNG and JPEG in turn.
///
/// # Errors
/// [`DriveError::DrawImage`] if an image cannot be encoded.
pub(super) fn bodies() -> Result<Vec<Body>, DriveError> {
    (0..IMAGE_COUNT).map(body).map(|it| Ok(it?)).collect()
}

fn body(seed: u64) -> Result<Body, EncodeError> {
    let sample = SamplePicture::new(seed, SIDE_PIXELS);
    // Both formats in turn, so that the load covers both decoders.
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
