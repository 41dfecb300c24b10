//! The source of a model: the program itself, or mounted files.

use std::{
    borrow::Cow,
    error::Error,
    fs, io,
    path::{Path, PathBuf},
};

use tract_onnx::{pb::ModelProto, prelude::Framework};

use super::{
    built_in::BuiltIn,
    properties::{ModelProperties, Overrides, UnsupportedModel},
};

/// The source of a model's ONNX file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    BuiltIn(BuiltIn),
    File(PathBuf),
}

/// The error of reading a model.
#[derive(Debug, thiserror::Error)]
pub enum OpenModelError {
    /// A file cannot be read.
    #[error("cannot read {path} (set by {setting})", path = .path.display())]
    Read {
        /// The setting.
        setting: &'static str,
        /// Its value.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is not an ONNX model.
    #[error("{0} is not an ONNX model")]
    Decode(String, #[source] Box<dyn Error + Send + Sync>),
    /// The model is not supported.
    #[error("{0} cannot be used: {1}")]
    Unsupported(String, #[source] UnsupportedModel),
}

/// The largest file accepted. EfficientNet-B7, the largest of the original family, is 265 MB.
const MAX_FILE_BYTES: u64 = 1024 * 1024 * 1024;

impl Source {
    /// The name in messages and spans.
    pub(super) fn name(&self) -> String {
        match self {
            Self::BuiltIn(model) => format!("the built-in {}", model.name()),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// Reads the model with its weights.
    pub(super) fn read(&self) -> Result<ModelProto, OpenModelError> {
        let bytes = match self {
            Self::BuiltIn(model) => Cow::Borrowed(model.onnx()),
            Self::File(path) => Cow::Owned(read(path, "SPOOR_MODEL_FILE")?),
        };
        tract_onnx::onnx()
            .proto_model_for_read(&mut bytes.as_ref())
            .map_err(|error| OpenModelError::Decode(self.name(), error.into()))
    }

    /// Reads the properties of the model.
    pub(super) fn properties(
        &self,
        overrides: &Overrides,
        labels: Option<Vec<String>>,
    ) -> Result<ModelProperties, OpenModelError> {
        ModelProperties::read(&self.read()?, overrides, labels)
            .map_err(|reason| OpenModelError::Unsupported(self.name(), reason))
    }
}

/// Reads labels from a file with one per line.
pub(super) fn labels(path: &Path) -> Result<Vec<String>, OpenModelError> {
    let bytes = read(path, "SPOOR_MODEL_LABELS_FILE")?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(str::to_owned).collect())
}

fn read(path: &Path, setting: &'static str) -> Result<Vec<u8>, OpenModelError> {
    // The size is checked first, so that a huge file does not fill the memory.
    let size = fs::metadata(path).map(|file| file.len());
    let bytes = size.and_then(|size| match size {
        0..=MAX_FILE_BYTES => fs::read(path),
        _ => Err(io::Error::other(format!(
            "the file has {size} bytes, more than {MAX_FILE_BYTES}"
        ))),
    });
    bytes.map_err(|source| OpenModelError::Read {
        setting,
        path: path.to_owned(),
        source,
    })
}
