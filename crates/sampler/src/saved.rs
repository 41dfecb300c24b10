//! The file with the rules in force.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use prost::Message;
use spoor_proto::spoor::control::v1::TailRules;

use crate::{InvalidRules, Rules, stream::MAX_MESSAGE_BYTES};

/// The file in which the rules in force survive a restart of the sampler: a `TailRules` message.
#[derive(Clone, Debug)]
pub(crate) struct RulesFile(PathBuf);

/// A failure to load saved rules.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// The file is not a message.
    #[error(transparent)]
    Decode(#[from] prost::DecodeError),
    /// The rules are invalid.
    #[error(transparent)]
    Invalid(#[from] InvalidRules),
}

impl RulesFile {
    /// The name of the file.
    pub(crate) const NAME: &str = "tail-rules.binpb";

    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self(folder.join(Self::NAME))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Loads the rules, if there are any.
    pub(crate) fn load(&self) -> Result<Option<Rules>, LoadError> {
        let file = match File::open(&self.0) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut content = Vec::new();
        file.take(MAX_MESSAGE_BYTES as u64)
            .read_to_end(&mut content)?;
        let message = TailRules::decode(content.as_slice())?;
        Ok(Some(Rules::read(&message)?))
    }

    /// Loads the rules, if there are valid ones. Without them, every trace is kept until the control
    /// plane sends some, so that a damaged file loses no span.
    pub(crate) fn load_if_valid(&self) -> Option<Rules> {
        let path = self.0.display();
        match self.load() {
            Ok(rules) => rules,
            Err(error) => {
                tracing::warn!(%error, %path, "cannot load the saved tail rules; keeping every trace");
                None
            }
        }
    }

    /// Replaces the file as a whole, so that a process that is killed meanwhile leaves the former
    /// rules. Like the journal it is not synchronised: the acknowledgement waits for the file, and
    /// beside the journal's writes that could take seconds.
    pub(crate) async fn save(&self, rules: &TailRules) -> io::Result<()> {
        if let Some(folder) = self.0.parent() {
            tokio::fs::create_dir_all(folder).await?;
        }
        let new = self.0.with_extension("new");
        tokio::fs::write(&new, rules.encode_to_vec()).await?;
        tokio::fs::rename(&new, &self.0).await
    }
}
