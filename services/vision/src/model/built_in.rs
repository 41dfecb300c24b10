//! The built-in models.

/// A built-in model, by its `service.name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum BuiltIn {
    /// MBConv blocks with squeeze and excitation
    Efficientnetb0,
    /// Inverted residuals
    Mobilenetv2,
}

impl BuiltIn {
    /// The model's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Efficientnetb0 => "efficientnetb0",
            Self::Mobilenetv2 => "mobilenetv2",
        }
    }

    /// The content of the ONNX file.
    #[must_use]
    pub fn onnx(self) -> &'static [u8] {
        match self {
            Self::Efficientnetb0 => include_bytes!("../../models/efficientnetb0.onnx"),
            Self::Mobilenetv2 => include_bytes!("../../models/mobilenetv2.onnx"),
        }
    }
}
