//! Decoding of pictures, whose format and size are checked before memory is used for them.

use std::io::Cursor;

use bytes::Bytes;
use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageResult, Limits,
    codecs::{jpeg::JpegDecoder, png::PngDecoder},
    metadata::Orientation,
};

/// The most memory for a decoded picture: enough for 13 megapixels with three 8-bit channels.
const MAX_DECODED_BYTES: u64 = 40 * 1024 * 1024;
/// The copies of the pixels in memory at a time: the decoded picture, the decoder's buffers, a crop,
/// and the rotated picture.
const COPIES_IN_MEMORY: u64 = 4;
/// The most memory that a decoder may use besides the pixels, even to read only the header.
pub(super) const MAX_OVERHEAD_BYTES: u64 = 4 * 1024 * 1024;
/// The most memory that processing a picture may use.
pub(super) const MAX_MEMORY_BYTES: u64 = MAX_DECODED_BYTES * COPIES_IN_MEMORY + MAX_OVERHEAD_BYTES;

/// The most pixels that the scans of a JPEG may visit in total: ten scans, as progressive ones usually
/// have, of 15 megapixels. Each takes up to 8 ns for a pixel, even without any data.
const MAX_SCANNED_PIXELS: u64 = 150_000_000;

/// The properties in a picture's header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) properties: PictureProperties,
    /// The most memory that processing the picture will use, in bytes.
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
    #[error("the JPEG has {scans} scans of {pixels} pixels each; save it as a baseline JPEG")]
    TooManyScans { scans: u64, pixels: u64 },
    #[error("the {format} is invalid: {source}")]
    Broken {
        format: &'static str,
        source: ImageError,
    },
}

/// Reads a picture's header.
pub(super) fn read_header(bytes: &Bytes) -> Result<Header, InvalidPicture> {
    open(bytes).map(|(header, _)| header)
}

/// Decodes a picture and applies its orientation.
pub(super) fn decode(bytes: &Bytes) -> Result<DynamicImage, InvalidPicture> {
    let (header, mut decoder) = open(bytes)?;
    // An unreadable orientation is not an error: the picture is only rotated wrongly.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let decoded = DynamicImage::from_decoder(decoder);
    let mut picture =
        decoded.map_err(|error| InvalidPicture::of(header.properties.format, error))?;
    picture.apply_orientation(orientation);
    Ok(picture)
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
    let pixels = u64::from(width) * u64::from(height);
    let scans = count_scans(bytes);
    if format == "jpeg" && scans * pixels > MAX_SCANNED_PIXELS {
        return Err(InvalidPicture::TooManyScans { scans, pixels });
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
            let decoder = PngDecoder::with_limits(Cursor::new(bytes), limits());
            Ok(("png", decoder.map(|it| Box::new(it) as _)))
        }
        Ok(ImageFormat::Jpeg) => {
            let decoder = JpegDecoder::new(Cursor::new(bytes));
            Ok(("jpeg", decoder.map(|it| Box::new(it) as _)))
        }
        Ok(other) => Err(InvalidPicture::Format(format!("{other:?}").to_lowercase())),
        Err(_) => Err(InvalidPicture::Format("another format".to_owned())),
    }
}

/// The number of scans in a JPEG, by its markers (ITU-T T.81, table B.1).
fn count_scans(mut jpeg: &[u8]) -> u64 {
    let mut scans = 0;
    // In the data of a scan, 0xff is followed by 0 or by a restart marker. Other segments begin with
    // their length, since their data may have any bytes.
    while let Some(marker) = jpeg.iter().position(|byte| *byte == 0xff) {
        jpeg = jpeg.get(marker + 1..).unwrap_or_default();
        match *jpeg {
            [0x00 | 0x01 | 0xd0..=0xd8 | 0xff, ..] => {}
            // The end of the picture. Phones append videos and other pictures.
            [0xd9, ..] => break,
            [kind, high, low, ..] => {
                scans += u64::from(kind == 0xda);
                let length = usize::from(u16::from_be_bytes([high, low]));
                jpeg = jpeg.get(1 + length..).unwrap_or_default();
            }
            _ => break,
        }
    }
    scans
}

/// The decoder's limits for data besides the pixels, such as colour profiles and text chunks.
fn limits() -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_OVERHEAD_BYTES);
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

    /// The header of a scan without components.
    const SCAN: [u8; 4] = [0xff, 0xda, 0, 2];

    #[test]
    fn jpeg_with_many_scans_is_refused() {
        let mut jpeg = jpeg();
        let end = jpeg.len() - 2;
        jpeg.splice(end..end, SCAN.repeat(11));
        let refused = read_header(&jpeg.into()).unwrap_err();
        let pixels = RGB_SIDE * RGB_SIDE;
        let problem = format!("the JPEG has 12 scans of {pixels} pixels each");
        assert!(refused.to_string().starts_with(&problem), "{refused}");
    }

    #[test]
    fn only_scans_of_the_picture_are_counted() {
        let jpeg = jpeg();
        let (start, rest) = jpeg.split_at(2);
        let preview = [&[0xff, 0xe1, 0, 202][..], &SCAN.repeat(50)].concat();
        let video = SCAN.repeat(50);
        assert_eq!(count_scans(&[start, &preview, rest, &video].concat()), 1);
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
