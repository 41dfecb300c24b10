//! The file that keeps policies across restarts. It is always replaced as a whole.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use spoor_api::SamplingPolicy;
use spoor_policy::{Namespace, PolicyKey, PolicyName};

use super::policy_set::{Entry, PolicySet};

/// The path of the file.
#[derive(Clone, Debug)]
pub(super) struct SavedFile(pub(super) PathBuf);

/// The content of the file.
#[derive(Debug, Default)]
pub(super) struct Saved {
    pub(super) applied: BTreeMap<PolicyKey, Entry>,
    /// The times at which the folder's policies were first accepted.
    pub(super) first_accepted: BTreeMap<PolicyKey, Timestamp>,
}

/// The error of reading or writing the file.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The file cannot be read.
    #[error("cannot read the saved policies in {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// The file's content is invalid.
    #[error("the saved policies in {} are invalid: {reason}; move the file away to start without them", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The syntax error, or the errors in the first invalid entry.
        reason: String,
    },
    /// The file cannot be replaced.
    #[error("cannot save the policies in {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Content {
    /// The applied policies with creation time and generation.
    applied: Vec<SamplingPolicy>,
    folder: Vec<FirstAccepted>,
}

#[derive(Serialize, Deserialize)]
struct FirstAccepted {
    namespace: String,
    name: String,
    at: Timestamp,
}

impl SavedFile {
    /// Reads the file. If it does not exist, the result is empty.
    pub(super) fn read(&self) -> Result<Saved, SaveError> {
        let text = match fs::read_to_string(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Saved::default()),
            Err(error) => return Err(SaveError::Read(self.0.clone(), error)),
        };
        let content = serde_json::from_str(&text).map_err(|error| error.to_string());
        content.and_then(parse).map_err(|reason| SaveError::Parse {
            path: self.0.clone(),
            reason,
        })
    }

    /// Replaces the file. `not_read_yet` has the times at which the folder's policies were first
    /// accepted, until this run has accepted them. A crash leaves either the old file or the new one.
    pub(super) fn write(
        &self,
        set: &PolicySet,
        not_read_yet: &BTreeMap<PolicyKey, Timestamp>,
    ) -> Result<(), SaveError> {
        let read = set
            .folder
            .values()
            .map(|entry| (&entry.policy.key, entry.policy.created));
        let not_read_yet = not_read_yet.iter().map(|(key, at)| (key, *at));
        // If a policy has two times, the later one in the chain wins: the one that was read.
        let folder: BTreeMap<&PolicyKey, Timestamp> = not_read_yet.chain(read).collect();
        let content = Content {
            applied: set.applied.values().map(|it| it.resource.clone()).collect(),
            folder: folder.into_iter().map(first_accepted).collect(),
        };
        let text = serde_json::to_vec_pretty(&content).map_err(io::Error::from);
        text.and_then(|text| replace(&self.0, &text))
            .map_err(|error| SaveError::Write(self.0.clone(), error))
    }
}

fn parse(content: Content) -> Result<Saved, String> {
    let mut saved = Saved::default();
    for resource in &content.applied {
        let name = &resource.metadata.name;
        let created = resource.metadata.creation_timestamp.as_deref();
        let created = created.unwrap_or_default().parse();
        let created = created.map_err(|error| format!("{name}: {error}"))?;
        let generation = resource.metadata.generation.unwrap_or(1);
        let entry = Entry::new(resource, created, generation).map_err(|errors| {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            format!("{name}: {}", errors.join("; "))
        })?;
        saved.applied.insert(entry.policy.key.clone(), entry);
    }
    for accepted in content.folder {
        let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", accepted.name);
        let key = PolicyKey {
            namespace: Namespace::new(&accepted.namespace).map_err(|error| wrong(&error))?,
            name: PolicyName::new(&accepted.name).map_err(|error| wrong(&error))?,
        };
        saved.first_accepted.insert(key, accepted.at);
    }
    Ok(saved)
}

fn first_accepted((key, at): (&PolicyKey, Timestamp)) -> FirstAccepted {
    let PolicyKey { namespace, name } = key;
    FirstAccepted {
        namespace: namespace.to_string(),
        name: name.to_string(),
        at,
    }
}

fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(content)?;
    // Before the rename, or a crash could leave an empty file under the final name.
    file.sync_all()?;
    fs::rename(&new, path)?;
    // The rename is durable only once the folder is synchronised too.
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
