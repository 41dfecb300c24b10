//! Files of a journal that are damaged or written by hand.

#![allow(clippy::unwrap_used)]

use std::{
    fs::{self, OpenOptions},
    io::Write,
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
    record::{self, GATHERED, HEADER_BYTES, Kind, NUMBERED},
    remembered::Code,
    segment::{ActiveSegment, First, position_body},
    senders::Senders,
    unix_ms,
};
use crate::{
    KeepReason, TraceId,
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
    process.set_table(table(true, "50%"));
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
    process.set_table(table(true, "0%"));
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
    assert_eq!(reason::decode(&bytes), kept);
    bytes.push(0);
    assert_eq!(reason::decode(&bytes), KeepReason::UnnamedPolicy);
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
        // The torn end was cut off, so the segment is whole when it is no longer the last one.
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

fn active_segment(folder: &Path, first_record: u64) -> ActiveSegment {
    let first = First {
        record: first_record,
        confirmed: Position::default(),
        senders: &Senders::default(),
    };
    ActiveSegment::create(folder, 1, 0, first).unwrap()
}

/// A segment to which records are appended by hand, in an empty folder.
struct Segment {
    folder: TempDir,
    active: ActiveSegment,
}

impl Segment {
    fn new(first_record: u64) -> Self {
        let folder = TempDir::new().unwrap();
        let active = active_segment(folder.path(), first_record);
        Self { folder, active }
    }

    fn append(&mut self, kind: Kind, flags: u8, body: &[u8]) {
        self.active.append((kind, flags, unix_ms()), body).unwrap();
    }

    /// Appends a record of a kind that only a later version knows.
    fn append_unknown(&mut self, flags: u8) {
        let offset = self.active.bytes;
        let mut header = record::header(1, offset, (Kind::Request, flags, 0), &[]).unwrap();
        header[4] = u8::MAX;
        let checksum = record::checksum(&header[..16], &[], 1, offset);
        header[16..].copy_from_slice(&checksum.to_le_bytes());
        let path = segment_path(self.folder.path(), 1);
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(&header).unwrap();
        self.active.bytes += HEADER_BYTES as u64;
    }

    fn append_decisions(&mut self, decisions: &[(u64, Code)]) {
        let mut body = Vec::new();
        for (trace, code) in decisions {
            body.extend_from_slice(&trace_id(*trace).to_bytes());
            body.extend_from_slice(&code.0.to_le_bytes());
        }
        self.append(Kind::Decisions, NUMBERED, &body);
    }

    fn replay(self) -> Process {
        Process::open(self.folder, Process::start(SMALL).settings)
    }
}

fn trace_id(trace: u64) -> TraceId {
    TraceId::from_bytes(u128::from(trace + 1).to_be_bytes())
}

#[rstest]
#[case::kind(None, NUMBERED, &[], 3)]
#[case::kind_without_number(None, 0, &[], 2)]
#[case::place(Some(Kind::Segment), 0, &[], 2)]
#[case::request(Some(Kind::Request), NUMBERED, &[0xff], 3)]
#[case::decisions(Some(Kind::Decisions), NUMBERED, &[0xff], 3)]
fn record_of_a_later_version_is_skipped(
    #[case] kind: Option<Kind>,
    #[case] flags: u8,
    #[case] body: &[u8],
    #[case] next_record: u64,
) {
    let mut segment = Segment::new(1);
    segment.append(Kind::Request, NUMBERED, &request(&[(1, ROOT)], 0));
    match kind {
        Some(kind) => segment.append(kind, flags, body),
        None => segment.append_unknown(flags),
    }
    segment.append(Kind::Request, NUMBERED, &request(&[(3, ROOT)], 0));
    segment.append(Kind::Request, NUMBERED, &request(&[(5, ROOT)], 0));
    // The records after it keep their numbers.
    let confirmed = Position::before(next_record + 1);
    segment.append(Kind::Confirmed, 0, &position_body(confirmed));
    let mut process = segment.replay();
    assert_eq!(process.recovery.skipped_records, 1);
    assert_eq!(process.recovery.corrupt_files, 0);
    assert_eq!(process.recovery.requests, 3);
    assert_eq!(process.send(), [(5, ROOT)]);
}

#[test]
fn segment_with_an_unknown_first_record_is_skipped() {
    let mut segment = Segment::new(u64::MAX);
    segment.append(Kind::Request, NUMBERED, &request(&[(1, ROOT)], 0));
    let process = segment.replay();
    assert_eq!(process.recovery.corrupt_files, 1);
    assert_eq!(process.recovery.requests, 0);
}

#[test]
fn traces_with_an_unknown_reason_are_kept() {
    let rule = KeepReason::Rule {
        policy: policy(),
        rule: RuleName::new("errors").unwrap(),
    };
    let mut segment = Segment::new(1);
    let spans = request(&[(1, ROOT), (3, ROOT)], 0);
    segment.append(Kind::Request, NUMBERED | GATHERED, &spans);
    segment.append(Kind::Reason, 0, &[u8::MAX]);
    segment.append(Kind::Reason, 0, &reason::encode(&rule));
    segment.append_decisions(&[(1, Code::kept(0)), (3, Code::kept(1))]);
    let mut process = segment.replay();
    let reasons: Vec<_> = {
        let state = process.state();
        let reasons = (0..).map_while(|number| state.outgoing.reasons.get(number).cloned());
        reasons.collect()
    };
    assert!(reasons.contains(&rule), "{reasons:?}");
    assert_eq!(process.send(), [(1, ROOT), (3, ROOT)]);
    // The segment is deleted, and its decisions are in another file.
    let mut process = process.kill();
    let recovery = process.recovery;
    assert_eq!((recovery.requests, recovery.decisions), (0, 2));
    process.set_table(table(true, "0%"));
    process.accept(&request(&[(1, 2)], 0)).unwrap();
    assert_eq!(process.send(), [(1, 2)]);
}

/// The first record had a span of the first trace.
#[test]
fn no_span_is_confirmed_in_place_of_a_lost_one() {
    let mut segment = Segment::new(1);
    segment.append(Kind::Request, NUMBERED | GATHERED, &[0xff]);
    let spans = request(&[(1, 2), (3, 2)], 0);
    segment.append(Kind::Request, NUMBERED | GATHERED, &spans);
    segment.append(Kind::Reason, 0, &reason::encode(&KeepReason::NoRoot));
    segment.append_decisions(&[(1, Code::kept(0)), (3, Code::kept(0))]);
    let sent = Position {
        record: 3,
        spans: 2,
    };
    segment.append(Kind::Confirmed, 0, &position_body(sent));
    let mut process = segment.replay();
    assert_eq!(process.send(), [(1, 2), (3, 2)]);
}

#[test]
fn unknown_record_of_remembered_decisions_is_skipped() {
    let folder = TempDir::new().unwrap();
    let path = files::path(folder.path(), FileKind::Remembered, 1);
    let file = files::create(&path).unwrap();
    let time = unix_ms();
    files::append(&file, &path, (1, 0), (Kind::Request, 0, time), &[]).unwrap();
    // The segment, no reasons, and a decision without an age.
    let mut block = 1_u64.to_le_bytes().to_vec();
    record::write_bytes(&mut block, &[]);
    block.extend_from_slice(&trace_id(1).to_bytes());
    block.extend_from_slice(&Code::DROPPED.0.to_le_bytes());
    block.extend_from_slice(&0_u16.to_le_bytes());
    let place = (1, HEADER_BYTES as u64);
    files::append(&file, &path, place, (Kind::Remembered, 0, time), &block).unwrap();
    let process = Process::open(folder, Process::start(SMALL).settings);
    assert_eq!(process.recovery.skipped_records, 1);
    assert_eq!(process.recovery.corrupt_files, 0);
    assert_eq!(process.recovery.decisions, 1);
}

fn segments(folder: &Path) -> usize {
    files::list(folder, FileKind::Segment).unwrap().len()
}

#[test]
fn traces_keep_their_arrival_time() {
    let folder = TempDir::new().unwrap();
    let mut settings = Process::start(SMALL).settings;
    settings.tail.decision_wait = Duration::from_secs(10);
    settings.tail.max_trace_duration = Duration::from_secs(60);
    let mut segment = active_segment(folder.path(), 1);
    for (trace, age) in [(1, 70_000), (2, 40_000)] {
        let fields = (Kind::Request, NUMBERED | GATHERED, unix_ms() - age);
        let body = request(&[(trace, 2)], 0);
        segment.append(fields, &body).unwrap();
    }
    let mut process = Process::open(folder, settings);
    let mut decided_after = |seconds| {
        let now = Instant::now() + Duration::from_secs(seconds);
        process.decide_some(|sampler, outgoing| sampler.decide_due(now, 10, outgoing));
        process.totals().traces_kept
    };
    // Nothing is due for a decision wait after the start.
    assert_eq!([0, 5, 15, 25].map(&mut decided_after), [0, 0, 1, 2]);
}

/// A folder of which a later segment was deleted, and an older one could not be.
#[test]
fn decisions_of_a_missing_segment_apply() {
    let mut process = Process::start(SMALL);
    process.set_table(table(true, "0%"));
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
