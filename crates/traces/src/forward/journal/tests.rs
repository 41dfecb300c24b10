//! Files of a journal that are damaged or made by hand.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use proptest::{collection::vec, prelude::*};
use rstest::rstest;
use spoor_policy::{PolicyName, RuleName};
use tempfile::TempDir;

use super::{
    files::{self, FileKind},
    reason,
    record::{GATHERED, Kind},
    segment::ActiveSegment,
    unix_ms,
};
use crate::{
    KeepReason,
    forward::{
        position::Position,
        tests::process::{Process, ROOT, copy, request, table},
    },
};

const SMALL: u64 = 256 << 10;

fn segment_path(folder: &Path, number: u64) -> PathBuf {
    files::path(folder, FileKind::Segment, number)
}

/// A process with requests, decisions and a confirmed batch in one segment.
fn small_journal() -> Process {
    let mut process = Process::start(SMALL);
    process.accept(&request(&[(9, ROOT)], 0)).unwrap();
    process.state.sampler.set_table(table(true, "50%"));
    process
        .accept(&request(&[(1, ROOT), (2, ROOT)], 0))
        .unwrap();
    process.decide();
    process.send();
    process.accept(&request(&[(3, 2)], 0)).unwrap();
    process
}

/// A process with requests in several segments, none of which can be deleted.
fn large_journal() -> Process {
    let mut process = Process::start(SMALL);
    process.state.sampler.set_table(table(true, "0%"));
    for trace in 0..20 {
        process.accept(&request(&[(trace, 2)], 2_000)).unwrap();
    }
    process
}

#[rstest]
#[case(KeepReason::NoPolicy)]
#[case(KeepReason::NoRoot)]
#[case(KeepReason::Rule { policy: policy(), rule: RuleName::new("errors").unwrap() })]
#[case(KeepReason::Otherwise { policy: policy(), rate: "12.5%".parse().unwrap() })]
#[case(KeepReason::Head { policy: policy() })]
#[case(KeepReason::UnnamedPolicy)]
fn reasons_are_read_as_written(#[case] kept: KeepReason) {
    let mut bytes = reason::encode(&kept);
    assert_eq!(reason::decode(&bytes), Some(kept));
    bytes.push(0);
    assert_eq!(reason::decode(&bytes), None);
}

fn policy() -> PolicyName {
    PolicyName::new("shop.checkout").unwrap()
}

#[test]
fn torn_end_is_ignored_at_every_offset() {
    let process = small_journal();
    let whole = fs::read(segment_path(process.folder.path(), 1)).unwrap();
    let mut last = (0, 0);
    for len in 0..=whole.len() {
        let folder = copy(process.folder.path());
        let path = segment_path(folder.path(), 1);
        fs::write(&path, &whole[..len]).unwrap();
        let settings = process.settings.clone();
        let torn = Process::open(folder, settings);
        assert_eq!(torn.recovery.corrupt_files, 0, "{len} bytes");
        let found = (torn.recovery.requests, torn.recovery.decisions);
        assert!(found >= last, "{len} bytes: {found:?} after {last:?}");
        last = found;
        // Its end is cut, so that it is whole when it is no longer the last one.
        let again = torn.kill();
        assert_eq!(again.recovery.corrupt_files, 0, "{len} bytes");
        assert_eq!(again.recovery.requests, found.0, "{len} bytes");
    }
    assert_eq!(last, (3, 2));
}

#[test]
fn rest_of_a_corrupt_segment_is_skipped() {
    let process = large_journal();
    assert!(segments(process.folder.path()) > 2);
    let folder = copy(process.folder.path());
    let path = segment_path(folder.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let process = Process::open(folder, process.settings.clone());
    assert_eq!(process.recovery.corrupt_files, 1);
    let waiting = process.recovery.traces_waiting;
    assert!((12..20).contains(&waiting), "{waiting}");
}

fn segments(folder: &Path) -> usize {
    files::list(folder, FileKind::Segment).unwrap().len()
}

#[test]
fn traces_keep_their_arrival_time() {
    let folder = TempDir::new().unwrap();
    let mut settings = Process::start(SMALL).settings;
    settings.tail.decision_wait = Duration::from_secs(60);
    settings.tail.max_trace_duration = Duration::from_secs(60);
    let first = (1, Position::default());
    let mut segment = ActiveSegment::create(folder.path(), 1, 0, first).unwrap();
    for (trace, age) in [(1, 70_000), (2, 50_000)] {
        let fields = (Kind::Request, GATHERED, unix_ms() - age);
        let body = request(&[(trace, ROOT)], 0);
        segment.append(fields, &body).unwrap();
    }
    let mut process = Process::open(folder, settings);
    let mut decided_after = |seconds| {
        let now = Instant::now() + Duration::from_secs(seconds);
        process
            .state
            .decide(|sampler, outgoing| sampler.decide_due(now, 10, outgoing));
        process.state.sampler.totals().traces_kept
    };
    assert_eq!([0, 5, 15].map(&mut decided_after), [1, 1, 2]);
}

/// A folder of which a later segment was deleted, and an older one could not be.
#[test]
fn decisions_of_a_missing_segment_apply() {
    let mut process = Process::start(SMALL);
    process.state.sampler.set_table(table(true, "0%"));
    process.accept(&request(&[(2, ROOT)], 17 << 10)).unwrap();
    process.accept(&request(&[(4, 2)], 17 << 10)).unwrap();
    let with_first = copy(process.folder.path());
    process.decide();
    assert_eq!(process.send().len(), 2);
    for _ in 0..20 {
        process.accept(&request(&[(4, 3)], 2_000)).unwrap();
        process.send();
    }
    let folder = copy(process.folder.path());
    let first = segment_path(with_first.path(), 1);
    fs::copy(first, segment_path(folder.path(), 1)).unwrap();
    let mut process = Process::open(folder, process.settings.clone());
    assert_eq!(process.recovery.traces_waiting, 0);
    assert!(process.send().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_files_are_read(
        segments in vec(vec(any::<u8>(), 0..200), 1..3),
        decisions in vec(any::<u8>(), 0..200),
    ) {
        let folder = TempDir::new().unwrap();
        for (number, bytes) in segments.iter().enumerate() {
            fs::write(segment_path(folder.path(), number as u64), bytes).unwrap();
        }
        let path = files::path(folder.path(), FileKind::Remembered, 1);
        fs::write(path, decisions).unwrap();
        fs::write(folder.path().join("segment-1.bak"), "").unwrap();
        let settings = Process::start(SMALL).settings;
        let mut process = Process::open(folder, settings);
        prop_assert!(process.accept(&request(&[(1, ROOT)], 0)).is_ok());
        prop_assert_eq!(process.send(), vec![(1, ROOT)]);
    }

    #[test]
    fn any_change_of_a_byte_is_found(at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let process = small_journal();
        let folder = copy(process.folder.path());
        let path = segment_path(folder.path(), 1);
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        fs::write(&path, &bytes).unwrap();
        let mut process = Process::open(folder, process.settings.clone());
        prop_assert!(process.recovery.requests < 3);
        prop_assert!(process.accept(&request(&[(7, ROOT)], 0)).is_ok());
    }
}
