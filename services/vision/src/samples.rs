//! Pictures to upload: one coloured shape each, on a noisy background, of the kind that the
//! built-in models learned from (`training/shapes.py`).

mod shape;

use std::{io::Cursor, num::NonZeroU16, ops::RangeInclusive};

use image::{ImageFormat, Rgb, RgbImage};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use shape::{PlacedShape, SHAPES};

/// A picture, and what it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamplePicture {
    /// The label of the built-in models, such as `red circle`.
    pub label: String,
    /// The pixels.
    pub picture: RgbImage,
}

/// The error of encoding a sample.
#[derive(Debug, thiserror::Error)]
#[error("cannot encode a sample as {format:?}")]
pub struct EncodeError {
    format: ImageFormat,
    source: image::ImageError,
}

/// Red, green and blue, from 0 to 1 each.
type Colour = [f32; 3];

const COLOURS: [(&str, Colour); 4] = [
    ("red", [0.85, 0.12, 0.12]),
    ("green", [0.12, 0.65, 0.20]),
    ("blue", [0.12, 0.25, 0.85]),
    ("yellow", [0.92, 0.80, 0.10]),
];

/// The deviation of a colour from the named one.
const TINT: RangeInclusive<f32> = -0.08..=0.08;
/// The largest deviation of a pixel from the drawn colour.
const MAX_NOISE: f32 = 0.12;
/// The points per side of a pixel that are tested to find the share covered.
const SUBPIXELS: u16 = 2;

impl SamplePicture {
    /// Draws a square picture; the same one for the same seed and side.
    #[must_use]
    pub fn new(seed: u64, side: NonZeroU16) -> Self {
        // The order of the draws below determines the picture of each seed.
        let mut random = StdRng::seed_from_u64(seed);
        let (colour, pure) = COLOURS[random.random_range(0..COLOURS.len())];
        let (shape, inside) = SHAPES[random.random_range(0..SHAPES.len())];
        let placed = PlacedShape::at_random(inside, &mut random);
        let ink = ink(pure, &mut random);
        let background = Background::random(&mut random);
        let strength = random.random_range(0.0..=MAX_NOISE);
        let side = side.get();
        let picture = RgbImage::from_fn(side.into(), side.into(), |x, y| {
            let cover = coverage(&placed, x, y, side);
            let background = background.at(point(x, 0.5, side), point(y, 0.5, side));
            let noise = |_| strength * random.random_range(-1.0_f32..=1.0);
            pixel(mix(ink, background, cover), std::array::from_fn(noise))
        });
        Self {
            label: format!("{colour} {shape}"),
            picture,
        }
    }

    /// Encodes a PNG file.
    ///
    /// # Errors
    /// [`EncodeError`] if the encoder refuses it.
    pub fn png(&self) -> Result<Vec<u8>, EncodeError> {
        self.encode(ImageFormat::Png)
    }

    /// Encodes a JPEG file.
    ///
    /// # Errors
    /// [`EncodeError`] if the encoder refuses it.
    pub fn jpeg(&self) -> Result<Vec<u8>, EncodeError> {
        self.encode(ImageFormat::Jpeg)
    }

    fn encode(&self, format: ImageFormat) -> Result<Vec<u8>, EncodeError> {
        let mut file = Cursor::new(Vec::new());
        self.picture
            .write_to(&mut file, format)
            .map_err(|source| EncodeError { format, source })?;
        Ok(file.into_inner())
    }
}

/// Grey with a tint, lighter to one side.
struct Background {
    middle: Colour,
    slope: [f32; 2],
}

impl Background {
    fn random(random: &mut StdRng) -> Self {
        let grey: f32 = random.random_range(0.0..=1.0);
        Self {
            middle: std::array::from_fn(|_| grey + random.random_range(TINT)),
            slope: std::array::from_fn(|_| random.random_range(-0.3..=0.3)),
        }
    }

    fn at(&self, x: f32, y: f32) -> Colour {
        let lighter = self.slope[0] * (x - 0.5) + self.slope[1] * (y - 0.5);
        self.middle
            .map(|channel| (channel + lighter).clamp(0.0, 1.0))
    }
}

/// The colour, with random variations of hue and brightness.
fn ink(pure: Colour, random: &mut StdRng) -> Colour {
    let bright = random.random_range(0.6..=1.05);
    pure.map(|channel| (channel * bright + random.random_range(TINT)).clamp(0.0, 1.0))
}

/// The position of a point of a pixel in the picture, whose sides are 1.
fn point(pixel: u32, within: f32, side: u16) -> f32 {
    #[allow(clippy::cast_precision_loss, reason = "a pixel's index fits 16 bits")]
    let pixel = pixel as f32;
    (pixel + within) / f32::from(side)
}

/// The share of a pixel that the shape covers.
fn coverage(placed: &PlacedShape, x: u32, y: u32, side: u16) -> f32 {
    let within = |index: u16| (f32::from(index) + 0.5) / f32::from(SUBPIXELS);
    let points = (0..SUBPIXELS).flat_map(|i| (0..SUBPIXELS).map(move |j| (within(i), within(j))));
    let covers = |&(i, j): &(f32, f32)| placed.covers(point(x, i, side), point(y, j, side));
    let covered: u16 = points.filter(covers).map(|_| 1).sum();
    f32::from(covered) / f32::from(SUBPIXELS * SUBPIXELS)
}

fn mix(ink: Colour, background: Colour, cover: f32) -> Colour {
    std::array::from_fn(|i| cover * ink[i] + (1.0 - cover) * background[i])
}

fn pixel(colour: Colour, noise: Colour) -> Rgb<u8> {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to a byte's range"
    )]
    let byte = |i: usize| (255.0 * (colour[i] + noise[i]).clamp(0.0, 1.0)).round() as u8;
    Rgb(std::array::from_fn(byte))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;

    fn sample(seed: u64) -> SamplePicture {
        SamplePicture::new(seed, NonZeroU16::new(16).unwrap())
    }

    #[test]
    fn same_seed_draws_the_same_picture() {
        assert_eq!(sample(7), sample(7));
        assert_ne!(sample(7), sample(8));
    }

    #[test]
    fn every_shape_has_every_colour() {
        let seen: BTreeSet<String> = (0..500).map(|seed| sample(seed).label).collect();
        assert_eq!(seen.len(), COLOURS.len() * SHAPES.len());
    }

    #[test]
    fn a_png_decodes_to_the_picture() {
        let sample = sample(1);
        let read = image::load_from_memory(&sample.png().unwrap()).unwrap();
        assert_eq!(read.to_rgb8(), sample.picture);
    }

    #[test]
    fn shapes_are_wholly_inside_the_picture() {
        for (_, inside) in SHAPES {
            let placed = PlacedShape::at_random(inside, &mut StdRng::seed_from_u64(3));
            let edge = (0..=100).map(|at| at as f32 / 100.0);
            assert!(
                edge.clone()
                    .all(|at| !placed.covers(at, 0.0) && !placed.covers(0.0, at))
            );
            assert!(
                edge.clone()
                    .all(|at| !placed.covers(at, 1.0) && !placed.covers(1.0, at))
            );
        }
    }
}
