//! The models that come with the program.

/// A model, by its `service.name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum BuiltIn {
    /// Of MBConv blocks with squeeze and excitation.
    Efficientnetb0,
    /// Of inverted residuals.
    Mobilenetv2,
}

impl BuiltIn {
    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Efficientnetb0 => "efficientnetb0",
            Self::Mobilenetv2 => "mobilenetv2",
        }
    }

    /// Its ONNX file.
    #[must_use]
    pub fn onnx(self) -> &'static [u8] {
        match self {
            Self::Efficientnetb0 => include_bytes!("../../models/efficientnetb0.onnx"),
            Self::Mobilenetv2 => include_bytes!("../../models/mobilenetv2.onnx"),
        }
    }
}
