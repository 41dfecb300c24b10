//! The files of samplers that are not running, which this one keeps until they run again.
//!
//! Without a volume claim, a sampler's folder is deleted with its pod. So a sampler that leaves
//! gives its files to a peer, and the next pod with its ordinal gets them back, as if it had the
//! folder of the former one ([`Peers`](crate::peers::Peers)). In the journal's folder are:
//!
//! | path | content |
//! |---|---|
//! | `custody/OWNER-JOURNAL-RECORD` | the files of another sampler, by its ordinal, the ID of its journal and the last record |
//! | `custody/OWNER-JOURNAL-RECORD.stale` | such files of a sampler that runs without them: it has begun another journal |
//! | `custody/OWNER.partial` | files of another sampler that are arriving |
//! | `incoming` | this sampler's own files that are arriving |
//!
//! The file with the journal's ID comes last, so a folder without it has no journal.

pub(crate) mod transfer;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use spoor_traces::{Forwarder, JournalId, is_journal_file};
use tokio::{sync::Mutex, task::spawn_blocking};
use uuid::Uuid;

use crate::saved::RulesFile;

const KEPT: &str = "custody";
const INCOMING: &str = "incoming";
const STALE: &str = ".stale";
const PARTIAL: &str = "partial";

/// The files of another sampler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Custody {
    /// The ordinal of the sampler.
    pub(crate) owner: u16,
    pub(crate) journal: JournalId,
    pub(crate) last_record: u64,
    /// The sampler runs with another journal.
    pub(crate) is_stale: bool,
    pub(crate) folder: PathBuf,
}

impl Custody {
    /// Reads the name of a folder.
    fn from_folder(folder: PathBuf) -> Option<Self> {
        let name = folder.file_name()?.to_str()?.to_owned();
        let stale = name.strip_suffix(STALE);
        let mut fields = stale.unwrap_or(&name).splitn(3, '-');
        let owner = fields.next()?.parse().ok()?;
        let journal = Uuid::parse_str(fields.next()?).ok()?;
        let last_record = fields.next()?.parse().ok()?;
        Some(Self {
            owner,
            journal: JournalId::from_bytes(journal.into_bytes()),
            last_record,
            is_stale: stale.is_some(),
            folder,
        })
    }

    /// The key by which later custodies of one sampler compare greater.
    fn recency(&self) -> ([u8; 16], u64) {
        (self.journal.to_bytes(), self.last_record)
    }
}

/// The custodies in a journal's folder.
#[derive(Debug)]
pub(crate) struct CustodyFolder {
    journal: PathBuf,
    forwarder: Forwarder,
    /// The owners of the custodies that are not stale, each with their bytes.
    held: parking_lot::Mutex<Vec<(u16, u64)>>,
    /// Held while custodies change, including while one arrives: no two are given the same room,
    /// and none is removed while it is counted or opened.
    pub(crate) turn: Arc<Mutex<()>>,
}

impl CustodyFolder {
    /// The custodies in the folder of the forwarder's journal.
    pub(crate) fn new(journal: PathBuf, forwarder: Forwarder) -> Self {
        Self {
            journal,
            forwarder,
            held: parking_lot::Mutex::default(),
            turn: Arc::default(),
        }
    }

    /// The journal's folder.
    pub(crate) fn journal(&self) -> &Path {
        &self.journal
    }

    /// The bytes of the files that another sampler should get back. One that is in no ring does not
    /// come back: its traces are decided when this sampler leaves.
    pub(crate) fn held_bytes(&self) -> u64 {
        let rings = self.forwarder.rings();
        let is_member = |owner| rings.as_ref().is_none_or(|rings| rings.has_member(owner));
        let held = self.held.lock();
        let held = held.iter().filter(|(owner, _)| is_member(*owner));
        held.map(|(_, bytes)| *bytes).sum()
    }

    /// The folder in which this sampler's own files arrive.
    pub(crate) fn incoming(&self) -> PathBuf {
        self.journal.join(INCOMING)
    }

    /// The folder in which the files of another sampler arrive.
    pub(crate) fn partial(&self, owner: u16) -> PathBuf {
        let name = format!("{owner}.{PARTIAL}");
        self.journal.join(KEPT).join(name)
    }

    /// Runs `work` on a thread that may block on the disk.
    pub(crate) async fn on_blocking_thread<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let custody = Arc::clone(self);
        let done = spawn_blocking(move || work(&custody)).await;
        done.map_err(io::Error::other)?
    }

    /// All custodies that are complete.
    pub(crate) fn all(&self) -> io::Result<Vec<Custody>> {
        let folders = entries(&self.journal.join(KEPT))?.into_iter();
        Ok(folders.filter_map(Custody::from_folder).collect())
    }

    /// The latest custody for a sampler.
    pub(crate) fn latest(&self, owner: u16) -> io::Result<Option<Custody>> {
        let all = self.all()?.into_iter();
        let usable = all.filter(|custody| custody.owner == owner && !custody.is_stale);
        Ok(usable.max_by_key(Custody::recency))
    }

    /// Reserves room for a custody of this size until it has arrived; returns whether there is
    /// enough.
    pub(crate) fn reserve(&self, bytes: u64) -> io::Result<bool> {
        let all = self.all()?.into_iter();
        let held = all
            .map(|custody| size(&custody.folder))
            .sum::<io::Result<u64>>()?;
        let reserved = held.saturating_add(bytes);
        let has_room = self.forwarder.has_room_beside_journal(reserved);
        if has_room {
            self.forwarder.set_reserved(reserved);
        }
        Ok(has_room)
    }

    /// Ends the arrival of a custody, which stays if it is complete.
    pub(crate) fn end_arrival(
        &self,
        owner: u16,
        complete: Option<(JournalId, u64)>,
    ) -> io::Result<()> {
        let partial = self.partial(owner);
        let kept = match complete {
            Some((journal, last_record)) => self.keep(owner, journal, last_record),
            None => Ok(()),
        };
        let removed = remove(&partial);
        kept.and(removed).and(self.update_room())
    }

    /// Keeps the files that have arrived, in place of earlier ones of the same journal. If the same
    /// or later ones are here, those stay: a sender repeats a deposit if the response was lost, and
    /// another one may pass on files that their owner has had again since.
    fn keep(&self, owner: u16, journal: JournalId, last_record: u64) -> io::Result<()> {
        let id = Uuid::from_bytes(journal.to_bytes()).simple();
        let name = format!("{owner}-{id}-{last_record}");
        let folder = self.journal.join(KEPT).join(name);
        let former = self.all()?.into_iter();
        let former = former.filter(|it| it.owner == owner && it.journal == journal);
        let former: Vec<Custody> = former.collect();
        if former.iter().any(|it| it.last_record >= last_record) {
            return Ok(());
        }
        fs::rename(self.partial(owner), folder)?;
        for custody in former {
            remove(&custody.folder)?;
        }
        tracing::info!(owner, last_record, "keeping the files of another sampler");
        Ok(())
    }

    /// Ends the custodies for a sampler that runs with this journal, up to this record.
    pub(crate) fn discard(
        &self,
        owner: u16,
        journal: JournalId,
        last_record: u64,
    ) -> io::Result<()> {
        let all = self.all()?.into_iter();
        for custody in all.filter(|custody| custody.owner == owner && !custody.is_stale) {
            let bytes = size(&custody.folder)?;
            if custody.journal != journal {
                tracing::error!(
                    owner,
                    bytes,
                    "a sampler runs without its files, which are kept here; the traces in them are \
                     decided when this sampler leaves"
                );
                let mut stale = custody.folder.clone().into_os_string();
                stale.push(STALE);
                fs::rename(&custody.folder, stale)?;
            } else if custody.last_record <= last_record {
                remove(&custody.folder)?;
                tracing::info!(owner, bytes, "a sampler has its files again");
            }
        }
        self.update_room()
    }

    /// Lowers the journal's limit by the size of all custodies. None may be arriving.
    pub(crate) fn update_room(&self) -> io::Result<()> {
        let mut reserved = 0;
        let mut held = Vec::new();
        for custody in self.all()? {
            let bytes = size(&custody.folder)?;
            reserved += bytes;
            if !custody.is_stale {
                held.push((custody.owner, bytes));
            }
        }
        *self.held.lock() = held;
        self.forwarder.set_reserved(reserved);
        Ok(())
    }

    /// Moves this sampler's own files that have arrived into the journal's folder.
    pub(crate) fn install(&self) -> io::Result<()> {
        let incoming = self.incoming();
        for entry in fs::read_dir(&incoming)? {
            let name = entry?.file_name();
            let to = self.journal.join(&name);
            let is_id = name == JournalId::FILE;
            // Rules that have arrived since are newer.
            let is_older = name == RulesFile::NAME && to.exists();
            if !is_id && !is_older {
                fs::rename(incoming.join(name), to)?;
            }
        }
        // Last, since it makes the others a journal.
        let id = incoming.join(JournalId::FILE);
        fs::rename(id, self.journal.join(JournalId::FILE))?;
        remove(&incoming)
    }
}

/// Returns whether a folder has a journal.
pub(crate) fn has_journal(folder: &Path) -> bool {
    folder.join(JournalId::FILE).exists()
}

/// Removes what an earlier process has left incomplete in a journal's folder.
pub(crate) fn remove_incomplete(folder: &Path) -> io::Result<()> {
    remove(&folder.join(INCOMING))?;
    for path in entries(&folder.join(KEPT))? {
        if path.extension().is_some_and(|it| it == PARTIAL) {
            remove(&path)?;
        }
    }
    // This sampler's own files without the last one, which would make them a journal.
    if !has_journal(folder) {
        for path in entries(folder)? {
            let name = path.file_name().and_then(|name| name.to_str());
            if name.is_some_and(is_journal_file) {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

/// The paths in a folder; none if it does not exist.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|it| it.map(|it| it.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Removes a folder, if it exists.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The size of the files in a folder.
fn size(folder: &Path) -> io::Result<u64> {
    let paths = entries(folder)?.into_iter();
    paths
        .map(|path| fs::metadata(path).map(|metadata| metadata.len()))
        .sum()
}

#[cfg(test)]
mod tests;
