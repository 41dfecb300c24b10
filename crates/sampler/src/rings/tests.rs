#![allow(clippy::unwrap_used)]

use rstest::rstest;
use spoor_traces::{ForwarderSettings, JournalSettings, PeerSettings};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;

fn rings(generation: u64, members: &[u32]) -> Rings {
    Rings::new(generation, members).unwrap()
}

fn forwarder(folder: &Path) -> Forwarder {
    let settings = ForwarderSettings {
        journal: Some(JournalSettings {
            folder: folder.to_owned(),
            max_bytes: 128 << 20,
        }),
        peers: Some(PeerSettings {
            own: 1,
            rings: None,
        }),
        ..ForwarderSettings::default()
    };
    Forwarder::start(settings, CancellationToken::new()).unwrap()
}

#[tokio::test]
async fn rings_in_force_are_in_the_file() {
    let folder = TempDir::new().unwrap();
    let forwarder = forwarder(folder.path());
    let file = RingsFile::in_folder(folder.path());
    assert_eq!(file.load(), None);
    let adopted = rings(7, &[1, 3]);
    file.adopt(adopted.clone(), &forwarder).await.unwrap();
    assert_eq!(forwarder.rings(), Some(adopted.clone()));
    let file = RingsFile::in_folder(folder.path());
    assert_eq!(file.load(), Some(adopted));
}

#[tokio::test]
async fn older_rings_are_not_adopted() {
    let folder = TempDir::new().unwrap();
    let forwarder = forwarder(folder.path());
    let file = RingsFile::in_folder(folder.path());
    file.adopt(rings(7, &[3]), &forwarder).await.unwrap();
    file.adopt(rings(6, &[2]), &forwarder).await.unwrap();
    assert_eq!(forwarder.rings(), Some(rings(7, &[3])));
    assert_eq!(file.load(), Some(rings(7, &[3])));
}

/// As with a file on a volume claim, and a peer that has older rings.
#[tokio::test]
async fn newer_saved_rings_come_into_force() {
    let folder = TempDir::new().unwrap();
    save(&folder.path().join(FILE), &rings(9, &[2, 3])).unwrap();
    let forwarder = forwarder(folder.path());
    let file = RingsFile::in_folder(folder.path());
    assert_eq!(file.load(), Some(rings(9, &[2, 3])));
    assert_eq!(forwarder.rings(), None);
    file.adopt(rings(8, &[2]), &forwarder).await.unwrap();
    assert_eq!(forwarder.rings(), Some(rings(9, &[2, 3])));
}

#[tokio::test]
async fn rings_that_cannot_be_saved_are_not_in_force() {
    let folder = TempDir::new().unwrap();
    let forwarder = forwarder(folder.path());
    let file = RingsFile::in_folder(&folder.path().join("missing"));
    file.adopt(rings(7, &[3]), &forwarder).await.unwrap_err();
    assert_eq!(forwarder.rings(), None);
}

#[rstest]
#[case::empty(b"")]
#[case::zeros(&[0; 64])]
#[case::damaged(b"damaged")]
fn damaged_file_counts_as_none(#[case] content: &[u8]) {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join(FILE), content).unwrap();
    assert_eq!(RingsFile::in_folder(folder.path()).load(), None);
}

#[test]
fn generation_far_ahead_is_refused() {
    let now = Timestamp::from_millisecond(1_000_000_000_000).unwrap();
    let mut message = wire::Rings {
        generation: 1_000_000_000_000 + MAX_GENERATION_AHEAD_MILLIS,
        members: vec![1],
    };
    assert_eq!(read_at(&message, now).unwrap().members().count(), 1);
    message.generation += 1;
    let error = read_at(&message, now).unwrap_err();
    assert!(matches!(error, AdoptError::Ahead(_)), "{error}");
}
