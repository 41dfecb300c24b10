//! Decoding of pictures, whose format and size are checked before memory is used for them.

use std::{
    io::Cursor,
    panic::{AssertUnwindSafe, catch_unwind},
};

use bytes::Bytes;
use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageResult, Limits,
    codecs::{jpeg::JpegDecoder, png::PngDecoder},
    metadata::Orientation,
};

/// The most memory for a decoded picture: enough for 13 megapixels with three 8-bit channels.
const MAX_DECODED_BYTES: u64 = 40 * 1024 * 1024;
/// The most copies of the pixels in memory at a time: the decoded picture, the decoder's buffers, a
/// crop, and the rotated picture.
const COPIES_IN_MEMORY: u64 = 4;
/// The most memory that a decoder may use besides the pixels and copies of a JPEG's file, even to read
/// only the header.
pub(super) const MAX_OVERHEAD_BYTES: u64 = 4 * 1024 * 1024;
/// The most memory that processing a picture may use, besides copies of a JPEG's file.
pub(super) const MAX_MEMORY_BYTES: u64 = MAX_DECODED_BYTES * COPIES_IN_MEMORY + MAX_OVERHEAD_BYTES;

/// The most pixels that the scans of a JPEG may visit, for all of their components. Progressive ones
/// usually visit 14 components. Each pixel takes up to 8 ns, even without any data.
const MAX_SCANNED_PIXELS: u64 = 200_000_000;
/// The first and the last marker of a JPEG (ITU-T T.81, table B.1).
const START_OF_IMAGE: [u8; 2] = [0xff, 0xd8];
const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];

/// The properties in a picture's header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) properties: PictureProperties,
    /// The most memory that processing the picture will use, in bytes, besides copies of a JPEG's file.
    pub(super) memory: u64,
}

/// The format and size of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PictureProperties {
    pub(super) format: &'static str,
    pub(super) width: u32,
    pub(super) height: u32,
    /// The size of the file.
    pub(super) bytes: usize,
}

/// The error for a picture that cannot be classified.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidPicture {
    #[error("the body is empty; send a picture, such as with curl --data-binary @picture.png")]
    Empty,
    #[error("the picture must be PNG or JPEG, not {0}")]
    Format(String),
    #[error(
        "{width} x {height} pixels need {bytes} bytes of memory, more than {MAX_DECODED_BYTES} (about \
         13 megapixels); send a smaller picture"
    )]
    TooLarge { width: u32, height: u32, bytes: u64 },
    /// The decoder reached its memory limit before it knew the size.
    #[error("the {format} needs more memory than allowed; send a smaller picture")]
    TooMuchMemory { format: &'static str },
    #[error("the JPEG has too many scans for its size; save it as a baseline JPEG")]
    TooManyScans,
    #[error("the {format} is invalid: {source}")]
    Broken {
        format: &'static str,
        source: ImageError,
    },
    #[error("the picture is invalid: its decoder panicked")]
    DecoderPanicked,
}

/// Reads a picture's header.
pub(super) fn read_header(bytes: &Bytes) -> Result<Header, InvalidPicture> {
    catch_panic(|| open(bytes).map(|(header, _)| header))
}

/// Decodes a picture and applies its orientation.
pub(super) fn decode(bytes: &Bytes) -> Result<DynamicImage, InvalidPicture> {
    catch_panic(|| {
        let (header, mut decoder) = open(bytes)?;
        // An unreadable orientation is not an error: the picture is only rotated wrongly.
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let decoded = DynamicImage::from_decoder(decoder);
        let mut picture =
            decoded.map_err(|error| InvalidPicture::of(header.properties.format, error))?;
        picture.apply_orientation(orientation);
        Ok(picture)
    })
}

/// Calls a decoder, which panics on some invalid JPEGs.
fn catch_panic<T>(decode: impl FnOnce() -> Result<T, InvalidPicture>) -> Result<T, InvalidPicture> {
    // The decoder is dropped by the panic, so its state is not used again.
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or(Err(InvalidPicture::DecoderPanicked))
}

fn open(bytes: &Bytes) -> Result<(Header, Decoder), InvalidPicture> {
    let (format, opened) = decoder(bytes.clone())?;
    let decoder = opened.map_err(|error| InvalidPicture::of(format, error))?;
    let (width, height) = decoder.dimensions();
    let decoded = decoder.total_bytes();
    // Before any pixel is decoded: a small file may declare a huge picture.
    if decoded > MAX_DECODED_BYTES {
        return Err(InvalidPicture::TooLarge {
            width,
            height,
            bytes: decoded,
        });
    }
    // Whole blocks are decoded.
    let pixels = u64::from(width.next_multiple_of(8)) * u64::from(height.next_multiple_of(8));
    if format == "jpeg" && decoded_parts(bytes).1.saturating_mul(pixels) > MAX_SCANNED_PIXELS {
        return Err(InvalidPicture::TooManyScans);
    }
    let properties = PictureProperties {
        format,
        width,
        height,
        bytes: bytes.len(),
    };
    let memory = decoded * COPIES_IN_MEMORY + MAX_OVERHEAD_BYTES;
    Ok((Header { properties, memory }, decoder))
}

impl InvalidPicture {
    fn of(format: &'static str, source: ImageError) -> Self {
        match source {
            ImageError::Limits(_) => Self::TooMuchMemory { format },
            source => Self::Broken { format, source },
        }
    }
}

type Decoder = Box<dyn ImageDecoder>;

/// Chooses the decoder by the content, since the sender's Content-Type may be wrong.
fn decoder(bytes: Bytes) -> Result<(&'static str, ImageResult<Decoder>), InvalidPicture> {
    if bytes.is_empty() {
        return Err(InvalidPicture::Empty);
    }
    let guessed = image::guess_format(&bytes);
    match guessed {
        Ok(ImageFormat::Png) => {
            // For data besides the pixels, such as colour profiles and text chunks.
            let mut limits = Limits::no_limits();
            limits.max_alloc = Some(MAX_OVERHEAD_BYTES);
            let decoder = PngDecoder::with_limits(Cursor::new(bytes), limits);
            Ok(("png", decoder.map(|it| Box::new(it) as _)))
        }
        Ok(ImageFormat::Jpeg) => {
            let decoder = JpegDecoder::new(Cursor::new(decoded_parts(&bytes).0));
            Ok(("jpeg", decoder.map(|it| Box::new(it) as _)))
        }
        Ok(other) => Err(InvalidPicture::Format(format!("{other:?}").to_lowercase())),
        Err(_) => Err(InvalidPicture::Format("another format".to_owned())),
    }
}

/// The parts of a JPEG that are decoded, and the sum over its scans of their components.
///
/// The decoder gets nothing else: it interprets some markers differently, so scans could be hidden
/// from the count, and it takes minutes to read thousands of comments beside extended XMP.
fn decoded_parts(mut jpeg: &[u8]) -> (Vec<u8>, u64) {
    let mut parts = START_OF_IMAGE.to_vec();
    let (mut components, mut in_scan) = (0, false);
    while let Some(found) = jpeg.windows(2).position(is_marker) {
        let (data, segment) = jpeg.split_at(found);
        if in_scan {
            parts.extend_from_slice(data);
        }
        in_scan = matches!(segment, [_, 0xda, ..]);
        let length = match *segment {
            // Without a length, and not expected here.
            [_, 0x01 | 0xd8, ..] => 2,
            // The end of the picture. Phones append videos and other pictures.
            [_, 0xd9, ..] => {
                parts.extend_from_slice(&END_OF_IMAGE);
                return (parts, components);
            }
            // The length includes itself, but not the marker.
            [_, _, high, low, ..] => usize::from(u16::from_be_bytes([high, low])) + 2,
            _ => return (parts, components),
        };
        let Some((segment, rest)) = segment.split_at_checked(length) else {
            return (parts, components);
        };
        if let [_, 0xda, _, _, count, ..] = segment {
            components += u64::from(*count);
        }
        if is_decoded(segment) {
            parts.extend_from_slice(segment);
        }
        jpeg = rest;
    }
    if in_scan {
        parts.extend_from_slice(jpeg);
    }
    (parts, components)
}

/// True for the two bytes of a marker. In the data of a scan, 0xff is followed by 0 or by the number
/// of a restart marker.
fn is_marker(pair: &[u8]) -> bool {
    matches!(pair, [0xff, kind] if !matches!(kind, 0x00 | 0xd0..=0xd7 | 0xff))
}

/// True for frames, tables, restart intervals, scans, Adobe's colour transform, and the orientation.
fn is_decoded(segment: &[u8]) -> bool {
    match segment {
        [_, 0xe1, _, _, rest @ ..] => rest.starts_with(b"Exif\0\0"),
        [_, kind, ..] => matches!(kind, 0xc0..=0xcf | 0xda | 0xdb | 0xdd | 0xee),
        _ => false,
    }
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

    /// The side of the largest square accepted, with one byte per pixel.
    const GREY_SIDE: u32 = 6476;
    /// The same with three bytes per pixel.
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

    /// The checksum of PNG, with the polynomial of ISO 3309.
    fn crc(bytes: &[u8]) -> u32 {
        let step = |sum: u32, _| (sum >> 1) ^ (0xedb8_8320 * (sum & 1));
        !bytes.iter().fold(u32::MAX, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), step)
        })
    }

    /// An interlaced picture has more lines, which are all 0 as well.
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
    fn the_largest_pictures_are_decoded(#[case] bytes: Vec<u8>) {
        let bytes = Bytes::from(bytes);
        let header = read_header(&bytes).unwrap();
        assert!(header.memory <= MAX_MEMORY_BYTES, "{}", header.memory);
        let picture = decode(&bytes).unwrap();
        assert_eq!(picture.width(), header.properties.width);
    }

    /// The header of a scan of one component.
    const SCAN: [u8; 10] = [0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0];

    #[test]
    fn jpeg_with_many_scans_is_refused() {
        let mut jpeg = jpeg();
        let end = jpeg.len() - 2;
        jpeg.splice(end..end, SCAN.repeat(13));
        let refused = read_header(&jpeg.into()).unwrap_err();
        assert!(matches!(refused, InvalidPicture::TooManyScans));
    }

    #[rstest::rstest]
    #[case::preview(&[0xff, 0xe2, 0, 42], &SCAN.repeat(4), &[])]
    #[case::length_after_a_marker_without_one(&[0xff, 1], &[0, 4, 0xff, 0xd7], &[])]
    #[case::second_start(&[0xff, 0xd8], &[0, 4, 0xff, 0xd0], &[])]
    #[case::video(&[], &[], &SCAN)]
    fn only_parts_of_the_picture_are_decoded(
        #[case] marker: &[u8],
        #[case] data: &[u8],
        #[case] after: &[u8],
    ) {
        let mut plain = Vec::new();
        JpegEncoder::new(&mut plain)
            .encode(&[0, 255], 2, 1, ExtendedColorType::L8)
            .unwrap();
        let expected = decoded_parts(&plain);
        assert_eq!(expected.1, 1);
        let (start, rest) = plain.split_at(2);
        let hidden = [start, marker, data, rest, after].concat();
        assert_eq!(decoded_parts(&hidden), expected);
        assert_eq!(
            decode(&hidden.into()).unwrap(),
            decode(&plain.into()).unwrap()
        );
    }

    #[rstest::rstest]
    #[case::usual(64 * 1024, true)]
    #[case::as_large_as_a_picture(39 * 1024 * 1024, false)]
    fn only_small_colour_profiles_are_kept(#[case] size: usize, #[case] is_kept: bool) {
        let mut png = Vec::new();
        let mut encoder = PngEncoder::new(&mut png);
        encoder.set_icc_profile(vec![0; size]).unwrap();
        encoder
            .write_image(&[0], 1, 1, ExtendedColorType::L8)
            .unwrap();
        let bytes = Bytes::from(png);
        let (_, mut decoder) = open(&bytes).unwrap();
        assert_eq!(decoder.icc_profile().unwrap().is_some(), is_kept);
        assert_eq!(decode(&bytes).unwrap().width(), 1);
    }
}
