//! What the lab keeps of policies over its restarts: one file, replaced as a whole.

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

use super::book::{Book, Entry};

/// The file.
#[derive(Clone, Debug)]
pub(super) struct Keep(PathBuf);

/// What was kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) applied: BTreeMap<PolicyKey, Entry>,
    /// When the folder's policies were first accepted.
    pub(super) first_accepted: BTreeMap<PolicyKey, Timestamp>,
}

/// Why the file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// It can't be read.
    #[error("can't read the policies kept in {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// It is not what the lab wrote.
    #[error("the policies kept in {} are damaged ({reason}): move the file away to start without them", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// In what way.
        reason: String,
    },
    /// It can't be replaced.
    #[error("can't keep the policies in {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Content {
    /// With their creation and generation.
    applied: Vec<SamplingPolicy>,
    folder: Vec<FirstAccepted>,
}

#[derive(Serialize, Deserialize)]
struct FirstAccepted {
    namespace: String,
    name: String,
    at: String,
}

impl Keep {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// What was last kept; nothing if nothing was yet.
    pub(super) fn read(&self) -> Result<Kept, KeepError> {
        let text = match fs::read_to_string(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
            Err(error) => return Err(KeepError::Read(self.0.clone(), error)),
        };
        let content = serde_json::from_str(&text).map_err(|error| error.to_string());
        content.and_then(kept).map_err(|reason| KeepError::Damaged {
            path: self.0.clone(),
            reason,
        })
    }

    /// Replaces what is kept, also of the folder's policies that this run has not seen yet: a crash leaves the old or the new, never a part.
    pub(super) fn write(
        &self,
        book: &Book,
        not_seen_yet: &BTreeMap<PolicyKey, Timestamp>,
    ) -> Result<(), KeepError> {
        let seen = book
            .of_folder()
            .map(|entry| (entry.policy.key(), entry.policy.created()));
        let not_seen_yet = not_seen_yet.iter().map(|(key, at)| (key, *at));
        let folder: BTreeMap<&PolicyKey, Timestamp> = not_seen_yet.chain(seen).collect();
        let content = Content {
            applied: book.applied().map(|entry| entry.resource.clone()).collect(),
            folder: folder.into_iter().map(first_accepted).collect(),
        };
        let text = serde_json::to_vec_pretty(&content).map_err(io::Error::from);
        text.and_then(|text| replace(&self.0, &text))
            .map_err(|error| KeepError::Write(self.0.clone(), error))
    }
}

fn kept(content: Content) -> Result<Kept, String> {
    let mut kept = Kept::default();
    for resource in &content.applied {
        let name = &resource.metadata.name;
        let created = resource
            .metadata
            .creation_timestamp
            .as_deref()
            .unwrap_or_default();
        let created = created
            .parse()
            .map_err(|error| format!("{name}: {error}"))?;
        let generation = resource.metadata.generation.unwrap_or(1);
        let entry = Entry::new(resource, created, generation).map_err(|faults| {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            format!("{name}: {}", faults.join("; "))
        })?;
        kept.applied.insert(entry.policy.key().clone(), entry);
    }
    for FirstAccepted {
        namespace,
        name,
        at,
    } in content.folder
    {
        let wrong = |error: &dyn std::fmt::Display| format!("{name}: {error}");
        let key = PolicyKey {
            namespace: Namespace::new(&namespace).map_err(|error| wrong(&error))?,
            name: PolicyName::new(&name).map_err(|error| wrong(&error))?,
        };
        let at = at.parse().map_err(|error: jiff::Error| wrong(&error))?;
        kept.first_accepted.insert(key, at);
    }
    Ok(kept)
}

fn first_accepted((key, at): (&PolicyKey, Timestamp)) -> FirstAccepted {
    let PolicyKey { namespace, name } = key;
    FirstAccepted {
        namespace: namespace.to_string(),
        name: name.to_string(),
        at: at.to_string(),
    }
}

fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
