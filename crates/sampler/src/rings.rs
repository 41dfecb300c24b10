//! The rings by which traces are divided among the samplers of a stack, as messages and in a file.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use parking_lot::Mutex;
use prost::Message;
use spoor_proto::spoor::sampler::v1 as wire;
use spoor_traces::{Forwarder, InvalidRings, Rings};

const FILE: &str = "rings.binpb";
/// A generation, and at most 64 numbers of members of one byte each.
const MAX_FILE_BYTES: u64 = 1 << 10;
/// Generations are about the time at which they were made. One far in the future would keep all later
/// ones out.
const MAX_GENERATION_AHEAD_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// Failure to adopt rings that were received.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdoptError {
    /// They cannot be used.
    #[error("rings: {0}")]
    Invalid(#[from] InvalidRings),
    /// Their generation is too far ahead.
    #[error(
        "rings: generation {0} is more than a day ahead of this machine's clock; correct the clock that is wrong"
    )]
    Ahead(u64),
    /// They cannot be saved. Without that, a restart would return to older ones.
    #[error("cannot save the rings: {0}")]
    Save(#[from] io::Error),
}

/// Reads rings that another process has sent.
pub(crate) fn read(message: &wire::Rings) -> Result<Rings, AdoptError> {
    read_at(message, Timestamp::now())
}

fn read_at(message: &wire::Rings, now: Timestamp) -> Result<Rings, AdoptError> {
    let now = u64::try_from(now.as_millisecond()).unwrap_or_default();
    if message.generation > now.saturating_add(MAX_GENERATION_AHEAD_MILLIS) {
        return Err(AdoptError::Ahead(message.generation));
    }
    Ok(Rings::new(message.generation, &message.members)?)
}

pub(crate) fn to_wire(rings: &Rings) -> wire::Rings {
    wire::Rings {
        generation: rings.generation(),
        members: rings.members().collect(),
    }
}

/// The file in which the rings survive a restart of the sampler: a `Rings` message. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct RingsFile(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// The rings in the file. The lock is held from the comparison with these until newer ones are
    /// saved and in force. Otherwise older ones could be saved after them.
    saved: Mutex<Option<Rings>>,
}

impl RingsFile {
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self(Arc::new(Shared {
            path: folder.join(FILE),
            saved: Mutex::new(None),
        }))
    }

    /// Loads the rings, if there are any. A damaged file counts as none: the control plane or a peer
    /// sends the rings that are active.
    pub(crate) fn load(&self) -> Option<Rings> {
        let loaded = load(&self.0.path).unwrap_or_else(|error| {
            let path = self.0.path.display();
            tracing::warn!(%error, %path, "cannot load the saved rings");
            None
        });
        self.0.saved.lock().clone_from(&loaded);
        loaded
    }

    /// Puts rings in force if they are newer, or the saved ones if those are newer. They are saved
    /// first: a sampler that returned to older rings could split traces.
    pub(crate) async fn adopt(&self, received: Rings, forwarder: &Forwarder) -> io::Result<()> {
        let present = forwarder.rings();
        if present.is_some_and(|present| present.generation() >= received.generation()) {
            return Ok(());
        }
        let (shared, forwarder) = (Arc::clone(&self.0), forwarder.clone());
        // A blocking thread holds the lock until the file is written, even if the caller stops
        // waiting. Otherwise two calls could write the file at the same time.
        tokio::task::spawn_blocking(move || shared.adopt(received, &forwarder))
            .await
            .map_err(io::Error::other)?
    }
}

impl Shared {
    fn adopt(&self, received: Rings, forwarder: &Forwarder) -> io::Result<()> {
        let mut saved = self.saved.lock();
        let is_newer = |saved: &Rings| saved.generation() < received.generation();
        if saved.as_ref().is_none_or(is_newer) {
            save(&self.path, &received)?;
            *saved = Some(received);
        }
        let Some(newest) = saved.clone() else {
            return Ok(());
        };
        let (generation, members) = (newest.generation(), to_wire(&newest).members);
        if forwarder.set_rings(newest) {
            tracing::info!(generation, ?members, "rings in force");
        }
        Ok(())
    }
}

fn load(path: &Path) -> io::Result<Option<Rings>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut content = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut content)?;
    let message = wire::Rings::decode(content.as_slice()).map_err(io::Error::other)?;
    let rings = Rings::new(message.generation, &message.members);
    rings.map(Some).map_err(io::Error::other)
}

/// Replaces the file as a whole. It is synchronised, unlike the rules: the control plane would send
/// those again, but a sampler without a connection would use older rings.
fn save(path: &Path, rings: &Rings) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(&to_wire(rings).encode_to_vec())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
