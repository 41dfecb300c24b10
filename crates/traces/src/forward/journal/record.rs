//! Records: the framing of all files of the journal.
//!
//! A record has a header of 24 bytes and a body, in little-endian order:
//!
//! | bytes | content |
//! |---|---|
//! | 4 | length of the body |
//! | 1 | kind |
//! | 1 | flags |
//! | 2 | zero |
//! | 8 | time, in milliseconds since 1970 |
//! | 8 | checksum (XXH3) of all of the above and the body |
//!
//! The number of the file and the record's offset are the checksum's seed, so that a record is
//! valid in one place only.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The kind of a record. The numbers are in files: a kind that is removed keeps its number, and
/// earlier versions skip the records of one that is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The first record of a segment.
    Segment = 1,
    /// A request, with the flag [`GATHERED`] or without.
    Request = 2,
    /// A reason to keep traces, which the decisions in the same segment refer to.
    Reason = 3,
    /// Decisions on traces.
    Decisions = 4,
    /// The place before which all spans are sent.
    Confirmed = 5,
    /// The decisions of a whole segment, in a file of its own.
    Remembered = 6,
    /// A request that was divided among samplers, or that a peer has sent, with the flag
    /// [`GATHERED`] or without.
    Routed = 7,
    /// The sequence up to which a peer has all parts for it.
    Forwarded = 8,
    /// The last sequences received of peers, after the first record of a segment.
    Received = 9,
    /// A part of an older segment that a peer has not received yet.
    Moved = 10,
}

impl Kind {
    fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Segment,
            2 => Self::Request,
            3 => Self::Reason,
            4 => Self::Decisions,
            5 => Self::Confirmed,
            6 => Self::Remembered,
            7 => Self::Routed,
            8 => Self::Forwarded,
            9 => Self::Received,
            10 => Self::Moved,
            _ => return None,
        })
    }
}

/// The flag of a request that arrived while tail rules were in force.
pub(super) const GATHERED: u8 = 1;
/// The flag of a record that has a number. A version that does not know its kind counts it by this.
pub(super) const NUMBERED: u8 = 2;
/// The bytes before a record's body.
pub(super) const HEADER_BYTES: usize = 24;
const CHECKSUM_AT: usize = 16;
/// The bits of a seed that an offset takes. No file is longer than 2⁴⁰ bytes.
const OFFSET_BITS: u32 = 40;

/// The header of a record at this offset of a file; `None` if the body is too long.
pub(super) fn header(
    file: u64,
    offset: u64,
    (kind, flags, time): (Kind, u8, u64),
    body: &[u8],
) -> Option<[u8; HEADER_BYTES]> {
    let mut header = [0; HEADER_BYTES];
    let len = u32::try_from(body.len()).ok()?;
    header[..4].copy_from_slice(&len.to_le_bytes());
    header[4] = kind as u8;
    header[5] = flags;
    header[8..CHECKSUM_AT].copy_from_slice(&time.to_le_bytes());
    let checksum = checksum(&header[..CHECKSUM_AT], body, file, offset);
    header[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
    Some(header)
}

pub(super) fn checksum(start: &[u8], body: &[u8], file: u64, offset: u64) -> u64 {
    let seed = file.rotate_left(OFFSET_BITS) ^ offset;
    xxh3_64_with_seed(body, xxh3_64_with_seed(start, seed))
}

/// A record of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    /// `None` for a kind that only a later version knows.
    pub(super) kind: Option<Kind>,
    pub(super) flags: u8,
    pub(super) time: u64,
    pub(super) body: &'a [u8],
}

/// The reason that no more records can be read from a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// The file ends within a record.
    Torn,
    /// The record is not as it was written.
    Corrupt,
}

/// Reads the records of a file.
pub(super) struct Records<'a> {
    file: u64,
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Records<'a> {
    /// Reads the content of the file with this number.
    pub(super) fn new(file: u64, bytes: &'a [u8]) -> Self {
        Self {
            file,
            bytes,
            offset: 0,
        }
    }

    /// The offset of the next record.
    pub(super) fn offset(&self) -> u64 {
        self.offset as u64
    }

    /// The next record; `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Record<'a>>, Damage> {
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let (header, rest) = rest
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(Damage::Torn)?;
        let mut fields = Fields(header);
        let (Some(len), Some([kind, flags, ..]), Some(time), Some(expected)) = (
            fields.u32(),
            fields.array::<4>(),
            fields.u64(),
            fields.u64(),
        ) else {
            return Err(Damage::Corrupt);
        };
        let body = rest.get(..len as usize).ok_or(Damage::Torn)?;
        let start = header.get(..CHECKSUM_AT).unwrap_or_default();
        if checksum(start, body, self.file, self.offset()) != expected {
            return Err(Damage::Corrupt);
        }
        self.offset += HEADER_BYTES + body.len();
        Ok(Some(Record {
            kind: Kind::from_number(kind),
            flags,
            time,
            body,
        }))
    }
}

/// Reads the fields of a record.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Bytes after their length.
    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u32()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }
}

/// Writes bytes after their length. All of them are shorter than 4 GiB.
pub(super) fn write_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    to.extend_from_slice(&len.to_le_bytes());
    to.extend_from_slice(bytes);
}
