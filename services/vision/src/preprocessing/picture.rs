//! Pictures as they come: what they are is checked before memory is taken for them.

use std::io::Cursor;

use bytes::Bytes;
use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageResult, Limits,
    codecs::{jpeg::JpegDecoder, png::PngDecoder},
    metadata::Orientation,
};

/// A photograph of 12 megapixels has less, of 8 bits for each of three channels.
const MOST_BYTES: u64 = 40 * 1024 * 1024;
/// Beside the decoded picture: what a decoder needs meanwhile, a cut-out of it, and that turned.
const TIMES_IN_MEMORY: u64 = 4;
/// What a decoder may take beside the pixels, also when it only reads the head.
pub(super) const MOST_BESIDE: u64 = 4 * 1024 * 1024;
/// The most memory that a picture will take.
pub(super) const MOST_MEMORY: u64 = MOST_BYTES * TIMES_IN_MEMORY + MOST_BESIDE;

/// What a picture's head says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) facts: Facts,
    /// The most memory that decoding it and what follows will take, in bytes.
    pub(super) memory: u64,
}

/// What a picture says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Facts {
    pub(super) format: &'static str,
    pub(super) width: u32,
    pub(super) height: u32,
    /// As it came.
    pub(super) bytes: usize,
}

/// Why bytes are no picture that can be classified.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidPicture {
    #[error("the body is empty: send a picture, such as with curl --data-binary @picture.png")]
    Empty,
    #[error("only PNG and JPEG are taken; this is {0}")]
    Format(String),
    #[error(
        "{width} x {height} pixels would take {bytes} bytes of memory; at most {MOST_BYTES} are \
         taken, about 13 megapixels: make it smaller"
    )]
    TooLarge { width: u32, height: u32, bytes: u64 },
    /// Its decoder says so, before it knows how large.
    #[error("the {format} would take more memory than a picture may: make it smaller")]
    TooMuch { format: &'static str },
    #[error("the {format} is broken: {source}")]
    Broken {
        format: &'static str,
        source: ImageError,
    },
}

/// Reads a picture's head, and keeps nothing else of it.
pub(super) fn look(bytes: &Bytes) -> Result<Head, InvalidPicture> {
    open(bytes).map(|(head, _)| head)
}

/// A picture's pixels, the right way up.
pub(super) fn decode(bytes: &Bytes) -> Result<DynamicImage, InvalidPicture> {
    let (head, mut decoder) = open(bytes)?;
    // Without it a picture lies on its side, nothing worse.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let decoded = DynamicImage::from_decoder(decoder);
    let mut picture = decoded.map_err(|error| InvalidPicture::of(head.facts.format, error))?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

fn open(bytes: &Bytes) -> Result<(Head, Decoder), InvalidPicture> {
    let (format, opened) = decoder(bytes.clone())?;
    let decoder = opened.map_err(|error| InvalidPicture::of(format, error))?;
    let (width, height) = decoder.dimensions();
    let decoded = decoder.total_bytes();
    if decoded > MOST_BYTES {
        return Err(InvalidPicture::TooLarge {
            width,
            height,
            bytes: decoded,
        });
    }
    let facts = Facts {
        format,
        width,
        height,
        bytes: bytes.len(),
    };
    let memory = decoded * TIMES_IN_MEMORY + MOST_BESIDE;
    Ok((Head { facts, memory }, decoder))
}

impl InvalidPicture {
    fn of(format: &'static str, source: ImageError) -> Self {
        match source {
            ImageError::Limits(_) => Self::TooMuch { format },
            source => Self::Broken { format, source },
        }
    }
}

type Decoder = Box<dyn ImageDecoder>;

/// What the bytes are is seen on the bytes: what a sender calls them proves nothing.
fn decoder(bytes: Bytes) -> Result<(&'static str, ImageResult<Decoder>), InvalidPicture> {
    if bytes.is_empty() {
        return Err(InvalidPicture::Empty);
    }
    let guessed = image::guess_format(&bytes);
    match guessed {
        Ok(ImageFormat::Png) => {
            let decoder = PngDecoder::with_limits(Cursor::new(bytes), limits());
            Ok(("png", decoder.map(|it| Box::new(it) as _)))
        }
        Ok(ImageFormat::Jpeg) => {
            let decoder = JpegDecoder::new(Cursor::new(bytes));
            Ok(("jpeg", decoder.map(|it| Box::new(it) as _)))
        }
        Ok(other) => Err(InvalidPicture::Format(format!("{other:?}").to_lowercase())),
        Err(_) => Err(InvalidPicture::Format("something else".to_owned())),
    }
}

/// For what is beside the pixels: lines, colour profiles, texts.
fn limits() -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MOST_BESIDE);
    limits
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use image::{
        ExtendedColorType, GrayImage, ImageEncoder, RgbImage,
        codecs::{
            jpeg::JpegEncoder,
            png::{CompressionType, FilterType, PngEncoder},
        },
    };

    use super::*;

    /// The largest square that is taken, of one byte for each pixel.
    const GREY_SIDE: u32 = 6476;
    /// The same of three.
    const RGB_SIDE: u32 = 3739;

    /// Black, with every byte of its lines 0.
    fn grey(width: u32, height: u32) -> Vec<u8> {
        let mut png = Vec::new();
        PngEncoder::new_with_quality(&mut png, CompressionType::Default, FilterType::NoFilter)
            .write_image(
                &GrayImage::new(width, height),
                width,
                height,
                ExtendedColorType::L8,
            )
            .unwrap();
        png
    }

    /// As PNG has it: the polynomial of ISO 3309.
    fn crc(bytes: &[u8]) -> u32 {
        let step = |sum: u32, _| (sum >> 1) ^ (0xedb8_8320 * (sum & 1));
        !bytes.iter().fold(u32::MAX, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), step)
        })
    }

    /// Interlaced, a picture has more lines, but all are 0 as well.
    fn interlaced(side: u32) -> Vec<u8> {
        let mut png = grey(side, side + 2);
        png[20..24].copy_from_slice(&side.to_be_bytes());
        png[28] = 1;
        let sum = crc(&png[12..29]);
        png[29..33].copy_from_slice(&sum.to_be_bytes());
        png
    }

    fn jpeg() -> Vec<u8> {
        let mut jpeg = Vec::new();
        let picture = RgbImage::new(RGB_SIDE, RGB_SIDE);
        picture
            .write_with_encoder(JpegEncoder::new(&mut jpeg))
            .unwrap();
        jpeg
    }

    #[rstest::rstest]
    #[case::png(grey(GREY_SIDE, GREY_SIDE))]
    #[case::interlaced(interlaced(GREY_SIDE))]
    #[case::jpeg(jpeg())]
    fn the_largest_are_decoded(#[case] bytes: Vec<u8>) {
        let bytes = Bytes::from(bytes);
        let head = look(&bytes).unwrap();
        assert!(head.memory <= MOST_MEMORY, "{}", head.memory);
        let picture = decode(&bytes).unwrap();
        assert_eq!(picture.width(), head.facts.width);
    }

    #[rstest::rstest]
    #[case::usual(64 * 1024, true)]
    #[case::as_large_as_a_picture(39 * 1024 * 1024, false)]
    fn a_colour_profile(#[case] unfolded: usize, #[case] is_kept: bool) {
        let mut png = Vec::new();
        let mut encoder = PngEncoder::new(&mut png);
        encoder.set_icc_profile(vec![0; unfolded]).unwrap();
        encoder
            .write_image(&[0], 1, 1, ExtendedColorType::L8)
            .unwrap();
        let bytes = Bytes::from(png);
        let (_, mut decoder) = open(&bytes).unwrap();
        assert_eq!(decoder.icc_profile().unwrap().is_some(), is_kept);
        assert_eq!(decode(&bytes).unwrap().width(), 1);
    }
}
