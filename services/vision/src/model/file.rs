//! Where a model comes from: the program itself, or files that are mounted.

use std::{
    borrow::Cow,
    fs, io,
    path::{Path, PathBuf},
};

use tract_onnx::{pb::ModelProto, prelude::Framework};

use super::{
    built_in::BuiltIn,
    facts::{Facts, Overrides, UnfitModel},
};

/// A model's ONNX file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    BuiltIn(BuiltIn),
    File(PathBuf),
}

/// Why a model can't be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file can't be read.
    #[error("can't read {path} (set by {setting})", path = .path.display())]
    Read {
        /// The setting.
        setting: &'static str,
        /// Its value.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{model} is no ONNX model")]
    Decode {
        /// Which.
        model: String,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It holds a model that can't be used here.
    #[error("{model} can't be used: {source}")]
    Unfit {
        /// Which.
        model: String,
        /// Why.
        source: UnfitModel,
    },
}

/// The largest file that is read: EfficientNet-B7 has 265 MB.
const MOST_BYTES: u64 = 1024 * 1024 * 1024;

impl Source {
    /// What it is called in messages and spans.
    pub(super) fn name(&self) -> String {
        match self {
            Self::BuiltIn(model) => format!("the built-in {}", model.name()),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// Its structure with its weights.
    pub(super) fn read(&self) -> Result<ModelProto, OpenError> {
        let bytes = match self {
            Self::BuiltIn(model) => Cow::Borrowed(model.onnx()),
            Self::File(path) => Cow::Owned(read(path, "SPOOR_MODEL_FILE")?),
        };
        tract_onnx::onnx()
            .proto_model_for_read(&mut bytes.as_ref())
            .map_err(|source| OpenError::Decode {
                model: self.name(),
                source: source.into(),
            })
    }

    /// What it says of itself.
    pub(super) fn facts(&self, overrides: Overrides) -> Result<Facts, OpenError> {
        Facts::read(&self.read()?, overrides).map_err(|source| OpenError::Unfit {
            model: self.name(),
            source,
        })
    }
}

/// One label on each line.
pub(super) fn labels(path: &Path) -> Result<Vec<String>, OpenError> {
    let bytes = read(path, "SPOOR_MODEL_LABELS_FILE")?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(str::to_owned).collect())
}

fn read(path: &Path, setting: &'static str) -> Result<Vec<u8>, OpenError> {
    let size = fs::metadata(path).map(|file| file.len());
    let bytes = size.and_then(|size| match size {
        0..=MOST_BYTES => fs::read(path),
        _ => Err(io::Error::other(format!("{size} bytes are too many"))),
    });
    bytes.map_err(|source| OpenError::Read {
        setting,
        path: path.to_owned(),
        source,
    })
}
