//! The input of a model, and the normalisation of pictures for it.

use std::str::FromStr;

use spoor_proto::spoor::vision::v1;

/// The number of channels: red, green and blue.
pub(crate) const CHANNELS: usize = 3;

/// The size of a model's input in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, derive_more::Display)]
#[display("{width}x{height}")]
pub struct Size {
    height: u32,
    width: u32,
}

/// The error for an invalid [`Size`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a size such as 224 or 320x240 (width x height), with sides from 1 to {max} pixels, not {0}", max = Size::MAX_SIDE_PIXELS)]
pub struct InvalidSize(String);

/// A number for each of red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq, derive_more::Display)]
#[display("{},{},{}", _0[0], _0[1], _0[2])]
pub struct Channels([f32; CHANNELS]);

/// The error for invalid [`Channels`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be three values such as 0.485,0.456,0.406, not {0:?}")]
pub struct InvalidChannels(String);

/// A model's input: its size, and the mean and standard deviation with which each channel is
/// normalised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Input {
    /// The size in pixels.
    pub size: Size,
    mean: Channels,
    std: Channels,
}

/// The error for an invalid [`Input`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidInput {
    /// The size is invalid.
    #[error("the input's size {0}")]
    Size(#[from] InvalidSize),
    /// The mean or the standard deviation is invalid.
    #[error("the input's mean and std {0}")]
    Channels(#[from] InvalidChannels),
    /// The standard deviation is not positive.
    #[error("the input's std must be above 0, not {0}")]
    Deviation(Channels),
    /// The message has no input.
    #[error("the input is missing")]
    Missing,
}

impl Size {
    /// The longest side accepted. A tensor of this size takes 3 MiB.
    pub const MAX_SIDE_PIXELS: u32 = 512;

    /// Validates both sides.
    ///
    /// # Errors
    /// [`InvalidSize`] if a side is 0 or longer than [`Size::MAX_SIDE_PIXELS`].
    pub fn new(width: u32, height: u32) -> Result<Self, InvalidSize> {
        let sides = 1..=Self::MAX_SIDE_PIXELS;
        if sides.contains(&width) && sides.contains(&height) {
            Ok(Self { height, width })
        } else {
            Err(InvalidSize(format!("{width}x{height}")))
        }
    }

    /// The width in pixels.
    #[must_use]
    pub fn width(self) -> u32 {
        self.width
    }

    /// The height in pixels.
    #[must_use]
    pub fn height(self) -> u32 {
        self.height
    }
}

impl Channels {
    /// The mean of ImageNet's pictures.
    pub const IMAGENET_MEAN: Self = Self([0.485, 0.456, 0.406]);
    /// The standard deviation of ImageNet's pictures.
    pub const IMAGENET_STD: Self = Self([0.229, 0.224, 0.225]);

    /// Validates three values.
    ///
    /// # Errors
    /// [`InvalidChannels`] if there are more or fewer, or one is not finite.
    pub fn new(values: &[f32]) -> Result<Self, InvalidChannels> {
        // Not all of them, since a message may have thousands.
        let shown = values.get(..=CHANNELS).unwrap_or(values);
        <[f32; CHANNELS]>::try_from(values)
            .ok()
            // Rust parses "NaN" and "inf", with which the values of a tensor would mean nothing.
            .filter(|values| values.iter().all(|value| value.is_finite()))
            .map(Self)
            .ok_or_else(|| InvalidChannels(format!("{shown:?}")))
    }
}

impl Input {
    /// Validates that the standard deviation is positive.
    ///
    /// # Errors
    /// [`InvalidInput::Deviation`].
    pub fn new(size: Size, mean: Channels, std: Channels) -> Result<Self, InvalidInput> {
        if std.0.iter().all(|deviation| *deviation > 0.0) {
            Ok(Self { size, mean, std })
        } else {
            Err(InvalidInput::Deviation(std))
        }
    }

    /// The mean of each channel.
    #[must_use]
    pub fn mean(&self) -> [f32; CHANNELS] {
        self.mean.0
    }

    /// The standard deviation of each channel.
    #[must_use]
    pub fn std(&self) -> [f32; CHANNELS] {
        self.std.0
    }

    /// The number of values.
    #[must_use]
    pub fn value_count(&self) -> usize {
        CHANNELS * self.size.height as usize * self.size.width as usize
    }

    /// The number of bytes on the wire.
    #[must_use]
    pub fn byte_count(&self) -> usize {
        self.value_count() * size_of::<f32>()
    }
}

impl From<Input> for v1::Input {
    fn from(input: Input) -> Self {
        Self {
            height: input.size.height,
            width: input.size.width,
            mean: input.mean.0.to_vec(),
            std: input.std.0.to_vec(),
        }
    }
}

impl TryFrom<Option<&v1::Input>> for Input {
    type Error = InvalidInput;

    fn try_from(input: Option<&v1::Input>) -> Result<Self, InvalidInput> {
        let input = input.ok_or(InvalidInput::Missing)?;
        Self::new(
            Size::new(input.width, input.height)?,
            Channels::new(&input.mean)?,
            Channels::new(&input.std)?,
        )
    }
}

impl FromStr for Size {
    type Err = InvalidSize;

    fn from_str(text: &str) -> Result<Self, InvalidSize> {
        let (width, height) = text.split_once('x').unwrap_or((text, text));
        let side = |text: &str| text.parse().map_err(|_| InvalidSize(format!("{text:?}")));
        Self::new(side(width)?, side(height)?)
    }
}

impl FromStr for Channels {
    type Err = InvalidChannels;

    fn from_str(text: &str) -> Result<Self, InvalidChannels> {
        let invalid = || InvalidChannels(text.to_owned());
        let values: Result<Vec<f32>, _> = text
            .split(',')
            .map(|number| number.trim().parse())
            .collect();
        Self::new(&values.map_err(|_| invalid())?).map_err(|_| invalid())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[rstest::rstest]
    #[case("224", Some((224, 224)))]
    #[case("320x240", Some((320, 240)))]
    #[case("512", Some((512, 512)))]
    #[case("513", None)]
    #[case("0", None)]
    #[case("224x", None)]
    #[case("-1", None)]
    #[case("large", None)]
    fn sizes_are_validated(#[case] text: &str, #[case] sides: Option<(u32, u32)>) {
        let size = text.parse::<Size>().ok();
        assert_eq!(size.map(|size| (size.width(), size.height())), sides);
    }

    #[rstest::rstest]
    #[case("0.485, 0.456,0.406", true)]
    #[case("0,0,0", true)]
    #[case("0,0", false)]
    #[case("0,0,0,0", false)]
    #[case("0,0,NaN", false)]
    #[case("0,0,inf", false)]
    #[case("", false)]
    fn channels_are_validated(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(text.parse::<Channels>().is_ok(), valid);
    }

    #[test]
    fn an_error_shows_only_a_few_values() {
        let error = Channels::new(&[0.5; 1000]).unwrap_err().to_string();
        assert!(error.ends_with("not \"[0.5, 0.5, 0.5, 0.5]\""), "{error}");
    }

    #[test]
    fn a_deviation_of_zero_is_refused() {
        let size = Size::new(8, 8).unwrap();
        let none: Channels = "1,0,1".parse().unwrap();
        assert!(Input::new(size, none, none).is_err());
    }

    #[test]
    fn a_message_converts_to_the_same_input() {
        let size = Size::new(32, 16).unwrap();
        let input = Input::new(size, Channels::IMAGENET_MEAN, Channels::IMAGENET_STD).unwrap();
        assert_eq!(
            Input::try_from(Some(&v1::Input::from(input))).unwrap(),
            input
        );
        assert_eq!(input.byte_count(), 3 * 32 * 16 * 4);
    }
}
