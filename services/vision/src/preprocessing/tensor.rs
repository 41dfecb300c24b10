//! Conversion of a picture to a model's input.

use bytes::Bytes;
use image::{DynamicImage, GenericImageView, Rgb, RgbImage, Rgba, imageops::FilterType::Triangle};
use tracing::info_span;

use crate::input::{Input, Size};

/// Crops the centre of a picture to the input's aspect ratio, scales it, and normalises it. The
/// values are ordered by channel, then by row.
#[must_use]
pub fn prepare(picture: &DynamicImage, input: &Input) -> Vec<f32> {
    let size = input.size;
    let scaled = info_span!(
        "resize",
        image.width = size.width(),
        image.height = size.height()
    )
    .in_scope(|| scaled(picture, size));
    info_span!("normalise").in_scope(|| normalised(&scaled, input))
}

/// Encodes values for the wire.
pub(super) fn bytes(values: &[f32]) -> Bytes {
    let bytes: Vec<u8> = values.iter().flat_map(|it| it.to_le_bytes()).collect();
    bytes.into()
}

fn scaled(picture: &DynamicImage, size: Size) -> RgbImage {
    let (width, height) = (picture.width(), picture.height());
    let (wide, high) = centre((width, height), size);
    let resize =
        |picture: &DynamicImage| picture.resize_exact(size.width(), size.height(), Triangle);
    let scaled = if (wide, high) == (width, height) {
        resize(picture)
    } else {
        let (left, top) = ((width - wide) / 2, (height - high) / 2);
        resize(&picture.crop_imm(left, top, wide, high))
    };
    on_white(&scaled)
}

/// The largest part of a picture with the aspect ratio of `size`.
fn centre((width, height): (u32, u32), size: Size) -> (u32, u32) {
    let (wide, high) = (u64::from(size.width()), u64::from(size.height()));
    // The ratios are cross-multiplied, so that equal ones compare as equal. The products fit in 64
    // bits.
    let full_width = u64::from(width) * high;
    let full_height = u64::from(height) * wide;
    let part = |whole: u64, of: u64| u32::try_from((whole / of).max(1)).unwrap_or(u32::MAX);
    if full_width >= full_height {
        (part(full_height, high).min(width), height)
    } else {
        (width, part(full_width, wide).min(height))
    }
}

/// Blends a picture with white, since transparent parts would become black otherwise.
fn on_white(picture: &DynamicImage) -> RgbImage {
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let Rgba([red, green, blue, alpha]) = picture.get_pixel(x, y);
        let blend = |channel: u8| {
            let alpha = u32::from(alpha);
            let blended = (u32::from(channel) * alpha + 255 * (255 - alpha)) / 255;
            u8::try_from(blended).unwrap_or(u8::MAX)
        };
        Rgb([blend(red), blend(green), blend(blue)])
    })
}

fn normalised(picture: &RgbImage, input: &Input) -> Vec<f32> {
    let mut values = Vec::with_capacity(input.value_count());
    for (channel, (mean, std)) in input.mean().into_iter().zip(input.std()).enumerate() {
        let channel_values = picture.pixels().map(|Rgb(pixel)| f32::from(pixel[channel]));
        values.extend(channel_values.map(|value| (value / 255.0 - mean) / std));
    }
    values
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use image::RgbaImage;

    use super::*;
    use crate::Channels;

    fn input(size: &str, mean: &str, std: &str) -> Input {
        let channels = |text: &str| text.parse::<Channels>().unwrap();
        Input::new(size.parse().unwrap(), channels(mean), channels(std)).unwrap()
    }

    #[test]
    fn values_are_ordered_by_channel_and_normalised() {
        let picture = RgbImage::from_fn(2, 1, |x, _| {
            [Rgb([255, 0, 51]), Rgb([0, 255, 51])][x as usize]
        });
        let input = input("2x1", "0.5,0,0.2", "0.5,0.1,1");
        assert_eq!(
            prepare(&picture.into(), &input),
            [1.0, -1.0, 0.0, 10.0, 0.0, 0.0]
        );
    }

    #[test]
    fn transparent_pixels_are_white() {
        let picture = RgbaImage::from_pixel(1, 1, Rgba([0, 0, 0, 0]));
        let input = input("1", "0,0,0", "1,1,1");
        assert_eq!(prepare(&picture.into(), &input), [1.0, 1.0, 1.0]);
    }

    #[test]
    fn a_long_picture_is_cropped_to_its_centre() {
        let picture = RgbImage::from_fn(300, 100, |x, _| {
            Rgb(if (100..200).contains(&x) {
                [255; 3]
            } else {
                [0; 3]
            })
        });
        let input = input("10", "0,0,0", "1,1,1");
        assert!(
            prepare(&picture.into(), &input)
                .iter()
                .all(|value| *value == 1.0)
        );
    }

    #[rstest::rstest]
    #[case((300, 100), "10", (100, 100))]
    #[case((100, 300), "10", (100, 100))]
    #[case((100, 100), "20x10", (100, 50))]
    #[case((100_000, 1), "10", (1, 1))]
    #[case((1, 100_000), "512", (1, 1))]
    #[case((3, 1), "1x512", (1, 1))]
    fn centre_has_the_aspect_ratio_of_the_input(
        #[case] picture: (u32, u32),
        #[case] size: &str,
        #[case] part: (u32, u32),
    ) {
        assert_eq!(centre(picture, size.parse().unwrap()), part);
    }
}
