//! Data that many spans of a segment share, stored once.

use hashbrown::HashTable;

use super::Segment;
use crate::span::NewSource;

/// Part of a segment's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Part {
    start: u32,
    len: u32,
}

impl Part {
    /// Appends pieces to a segment's bytes.
    pub(crate) fn append(bytes: &mut Vec<u8>, pieces: &[&[u8]]) -> Self {
        let start = bytes.len();
        for piece in pieces {
            bytes.extend_from_slice(piece);
        }
        Self {
            start: start as u32,
            len: (bytes.len() - start) as u32,
        }
    }

    /// The bytes.
    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        let start = self.start as usize;
        bytes
            .get(start..start + self.len as usize)
            .unwrap_or_default()
    }
}

/// A resource and a scope in a segment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Source {
    /// A `ResourceSpans` without its scopes.
    pub(crate) resource: Part,
    pub(crate) resource_hash: u64,
    /// A `ScopeSpans` without its spans.
    pub(crate) scope: Part,
    pub(crate) namespace: Part,
    /// Index into the segment's services.
    pub(crate) service: u16,
}

/// The cached indices of a source in the active segment, or in the batch that is being collected.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Interned {
    pub(super) serial: u64,
    pub(super) source: u16,
    pub(super) service: u16,
    /// A source with the same resource, and the serial number of its segment.
    pub(super) sibling: Option<(u64, Source)>,
    /// The serial number of a batch, and the index of its resource there.
    pub(super) resource: Option<(u64, u16)>,
}

impl Interned {
    /// Prepares for the spans of another source.
    pub(crate) fn advance(&mut self, next: &NewSource<'_>) {
        // No segment or batch has this serial number; they start at 1.
        self.serial = 0;
        if !next.shares_resource {
            self.sibling = None;
            self.resource = None;
        }
    }

    /// The index of the source in the batch with this serial number, if it is cached.
    pub(crate) fn source_in(&self, batch: u64) -> Option<u16> {
        (self.serial == batch).then_some(self.source)
    }

    /// The index of the resource in the batch with this serial number, if it is cached.
    pub(crate) fn resource_in(&self, batch: u64) -> Option<u16> {
        let (serial, resource) = self.resource?;
        (serial == batch).then_some(resource)
    }

    /// Caches the indices of the source and its resource in the batch with this serial number.
    pub(crate) fn cache(&mut self, batch: u64, source: u16, resource: u16) {
        self.serial = batch;
        self.source = source;
        self.resource = Some((batch, resource));
    }

    /// A source with the same resource in this segment.
    pub(super) fn sibling_in(&self, segment: &Segment) -> Option<Source> {
        let (serial, source) = self.sibling?;
        (serial == segment.serial).then_some(source)
    }
}

/// A span's name and kind, and its service.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OperationEntry {
    pub(crate) name: Part,
    /// Index into the segment's services.
    pub(crate) service: u16,
    /// `SpanKind`'s number.
    pub(crate) kind: u8,
    /// Its spans have no parent.
    pub(crate) is_root: bool,
}

/// Items that many spans share, each identified by its index.
#[derive(Clone, Default)]
pub(crate) struct InternTable<T> {
    /// Each with its hash.
    all: Vec<(u64, T)>,
    by_hash: HashTable<u16>,
}

impl<T: Copy> InternTable<T> {
    const MAX_LEN: usize = u16::MAX as usize;

    pub(crate) fn get(&self, index: u16) -> Option<&T> {
        self.all.get(usize::from(index)).map(|(_, item)| item)
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.all.iter().map(|(_, item)| item)
    }

    pub(crate) fn has_room(&self) -> bool {
        self.all.len() < Self::MAX_LEN
    }

    #[inline]
    pub(crate) fn find(&self, hash: u64, is_equal: impl Fn(&T) -> bool) -> Option<u16> {
        let found = self.by_hash.find(hash, |index| {
            let known = self.all.get(usize::from(*index));
            known.is_some_and(|(known_hash, item)| *known_hash == hash && is_equal(item))
        });
        found.copied()
    }

    pub(crate) fn add(&mut self, hash: u64, item: T) -> u16 {
        let index = self.all.len() as u16;
        self.all.push((hash, item));
        let all = &self.all;
        self.by_hash.insert_unique(hash, index, |index| {
            all.get(usize::from(*index)).map_or(0, |(hash, _)| *hash)
        });
        index
    }

    pub(crate) fn clear(&mut self) {
        self.all.clear();
        self.by_hash.clear();
    }

    /// Frees memory that only a growing table needs.
    pub(crate) fn seal(&mut self) {
        self.all.shrink_to_fit();
        // A sealed table is read by index only.
        self.by_hash = HashTable::new();
    }

    pub(crate) fn allocated(&self) -> usize {
        self.all.capacity() * size_of::<(u64, T)>() + self.by_hash.allocation_size()
    }
}
