#![allow(clippy::unwrap_used)]

use spoor_traces::{ForwarderSettings, JournalSettings, PeerSettings, Rings};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;

const FIRST: JournalId = JournalId::from_bytes([1; 16]);
const SECOND: JournalId = JournalId::from_bytes([2; 16]);

/// The custodies in a folder with a journal of 1 MiB.
fn custodies(folder: &TempDir) -> CustodyFolder {
    let settings = ForwarderSettings {
        journal: Some(JournalSettings {
            folder: folder.path().to_owned(),
            max_bytes: 1 << 20,
        }),
        peers: Some(PeerSettings {
            own: 0,
            rings: None,
        }),
        ..ForwarderSettings::default()
    };
    let forwarder = Forwarder::start(settings, CancellationToken::new()).unwrap();
    CustodyFolder::new(folder.path().to_owned(), forwarder)
}

/// Lets a custody with one file of ten bytes arrive.
fn arrive(custodies: &CustodyFolder, owner: u16, complete: Option<(JournalId, u64)>) {
    assert!(custodies.reserve(10).unwrap());
    let partial = custodies.partial(owner);
    fs::create_dir_all(&partial).unwrap();
    fs::write(partial.join("tail-rules.binpb"), [0; 10]).unwrap();
    custodies.end_arrival(owner, complete).unwrap();
}

#[tokio::test]
async fn latest_custody_is_returned() {
    let folder = TempDir::new().unwrap();
    let custodies = custodies(&folder);
    assert_eq!(custodies.latest(1).unwrap(), None);
    for complete in [Some((FIRST, 7)), Some((SECOND, 5)), Some((SECOND, 6)), None] {
        arrive(&custodies, 1, complete);
    }
    arrive(&custodies, 2, Some((FIRST, 9)));
    let latest = custodies.latest(1).unwrap().unwrap();
    assert_eq!((latest.journal, latest.last_record), (SECOND, 6));
    // A later one of the same journal replaces the former one.
    assert_eq!(custodies.held_bytes(), 30);
    assert!(!custodies.partial(1).exists());
}

#[tokio::test]
async fn earlier_custody_does_not_replace_a_later_one() {
    let folder = TempDir::new().unwrap();
    let custodies = custodies(&folder);
    for last_record in [6, 5] {
        arrive(&custodies, 1, Some((FIRST, last_record)));
    }
    let latest = custodies.latest(1).unwrap().unwrap();
    assert_eq!(latest.last_record, 6);
    assert_eq!(custodies.held_bytes(), 10);
}

#[tokio::test]
async fn stale_custody_is_not_kept_again() {
    let folder = TempDir::new().unwrap();
    let custodies = custodies(&folder);
    for _ in 0..2 {
        arrive(&custodies, 1, Some((FIRST, 7)));
        custodies.discard(1, SECOND, 1).unwrap();
    }
    assert_eq!(custodies.held_bytes(), 0);
    assert_eq!(custodies.all().unwrap().len(), 1);
}

#[tokio::test]
async fn sampler_of_no_ring_does_not_come_back() {
    let folder = TempDir::new().unwrap();
    let custodies = custodies(&folder);
    arrive(&custodies, 2, Some((FIRST, 7)));
    for (generation, members, bytes) in [(1, 3, 10), (2, 2, 0), (3, 3, 10)] {
        let rings = Rings::new(generation, &[members]).unwrap();
        assert!(custodies.forwarder.set_rings(rings));
        assert_eq!(custodies.held_bytes(), bytes, "{members} members");
    }
}

#[tokio::test]
async fn custody_ends_when_its_owner_has_it() {
    let folder = TempDir::new().unwrap();
    let custodies = custodies(&folder);
    arrive(&custodies, 1, Some((FIRST, 7)));
    custodies.discard(2, FIRST, 7).unwrap();
    custodies.discard(1, FIRST, 6).unwrap();
    assert!(custodies.latest(1).unwrap().is_some());
    custodies.discard(1, FIRST, 8).unwrap();
    assert!(custodies.all().unwrap().is_empty());
    assert_eq!(custodies.held_bytes(), 0);
}

#[tokio::test]
async fn custody_of_a_former_journal_is_stale() {
    let folder = TempDir::new().unwrap();
    let custodies = custodies(&folder);
    arrive(&custodies, 1, Some((FIRST, 7)));
    custodies.discard(1, SECOND, 1).unwrap();
    assert_eq!(custodies.latest(1).unwrap(), None);
    assert_eq!(custodies.held_bytes(), 0);
    let all = custodies.all().unwrap();
    assert_eq!(all.len(), 1);
    assert!(all[0].is_stale && all[0].folder.exists());
}

#[tokio::test]
async fn custody_without_room_is_refused() {
    let folder = TempDir::new().unwrap();
    let custodies = custodies(&folder);
    assert!(!custodies.reserve(1 << 20).unwrap());
    assert!(custodies.reserve(1 << 19).unwrap());
    custodies.end_arrival(1, None).unwrap();
    assert!(custodies.all().unwrap().is_empty());
}

#[test]
fn incomplete_files_are_removed() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("custody/1.partial")).unwrap();
    fs::create_dir_all(path("incoming")).unwrap();
    fs::write(path("segment-0000000000000001"), "").unwrap();
    fs::write(path("tail-rules.binpb"), "").unwrap();
    remove_incomplete(folder.path()).unwrap();
    assert!(!path("custody/1.partial").exists() && !path("incoming").exists());
    assert!(!path("segment-0000000000000001").exists());
    assert!(path("tail-rules.binpb").exists());

    fs::write(path("segment-0000000000000001"), "").unwrap();
    fs::write(path(JournalId::FILE), [1; 16]).unwrap();
    remove_incomplete(folder.path()).unwrap();
    assert!(path("segment-0000000000000001").exists());
}
