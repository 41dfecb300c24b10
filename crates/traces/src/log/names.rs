//! Data that many spans of a segment share, stored once.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::span::NewSource;

/// Part of a segment's bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Part {
    start: u32,
    len: u32,
}

impl Part {
    /// Copies some bytes to the end of a segment's.
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
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    /// A `ResourceSpans` without its scopes.
    pub(crate) resource: Part,
    /// A `ScopeSpans` without its spans.
    pub(crate) scope: Part,
    pub(crate) namespace: Part,
    /// Index into the segment's services.
    pub(crate) service: u16,
    hash: u64,
}

/// The sources and the services of a segment.
#[derive(Default)]
pub(crate) struct Sources {
    all: Vec<Source>,
    services: Vec<Part>,
    by_hash: HashTable<u16>,
}

const MAX: usize = u16::MAX as usize;

impl Sources {
    pub(crate) fn get(&self, index: u16) -> Option<&Source> {
        self.all.get(usize::from(index))
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Source> {
        self.all.iter()
    }

    /// The names of the services, each once.
    pub(crate) fn services(&self) -> &[Part] {
        &self.services
    }

    pub(crate) fn has_room(&self) -> bool {
        self.all.len() < MAX
    }

    /// The bytes that a new source takes at most.
    pub(crate) fn len_of(source: &NewSource<'_>) -> usize {
        let pieces = source.resource.iter().chain(source.scope);
        pieces.map(|piece| piece.len()).sum::<usize>()
            + source.service.len()
            + source.namespace.len()
    }

    /// Finds a source or adds it.
    pub(crate) fn intern(&mut self, bytes: &mut Vec<u8>, source: &NewSource<'_>) -> u16 {
        let mut hash = 0;
        for piece in source.resource {
            hash = xxh3_64_with_seed(piece, hash);
        }
        hash = hash.rotate_left(1);
        for piece in source.scope {
            hash = xxh3_64_with_seed(piece, hash);
        }
        let all = &self.all;
        let found = self.by_hash.find(hash, |index| {
            all.get(usize::from(*index)).is_some_and(|known| {
                known.hash == hash
                    && is_joined(known.resource.of(bytes), source.resource)
                    && is_joined(known.scope.of(bytes), source.scope)
            })
        });
        if let Some(index) = found {
            return *index;
        }
        let service = self.service(bytes, source.service);
        let index = self.all.len() as u16;
        self.all.push(Source {
            resource: Part::append(bytes, source.resource),
            scope: Part::append(bytes, source.scope),
            namespace: Part::append(bytes, &[source.namespace]),
            service,
            hash,
        });
        let all = &self.all;
        self.by_hash.insert_unique(hash, index, |index| {
            all.get(usize::from(*index)).map_or(0, |known| known.hash)
        });
        index
    }

    /// Finds a service or adds it: there are few in a segment, unless each span has its own.
    fn service(&mut self, bytes: &mut Vec<u8>, name: &[u8]) -> u16 {
        let recent = self
            .services
            .iter()
            .enumerate()
            .rev()
            .take(SERVICES_TO_COMPARE);
        for (index, known) in recent {
            if known.of(bytes) == name {
                return index as u16;
            }
        }
        self.services.push(Part::append(bytes, &[name]));
        (self.services.len() - 1) as u16
    }

    pub(crate) fn clear(&mut self) {
        self.all.clear();
        self.services.clear();
        self.by_hash.clear();
    }

    pub(crate) fn seal(&mut self) {
        self.all.shrink_to_fit();
        self.services.shrink_to_fit();
        self.by_hash = HashTable::new();
    }

    pub(crate) fn allocated(&self) -> usize {
        self.all.capacity() * size_of::<Source>()
            + self.services.capacity() * size_of::<Part>()
            + self.by_hash.allocation_size()
    }

    pub(crate) fn snapshot(&self) -> Self {
        Self {
            all: self.all.clone(),
            services: self.services.clone(),
            by_hash: HashTable::new(),
        }
    }
}

/// A service may stand twice if there are more; only space is lost by that.
const SERVICES_TO_COMPARE: usize = 64;

/// Returns whether the pieces, joined, equal the whole.
fn is_joined(mut whole: &[u8], pieces: &[&[u8]]) -> bool {
    for piece in pieces {
        match whole.strip_prefix(*piece) {
            Some(rest) => whole = rest,
            None => return false,
        }
    }
    whole.is_empty()
}

/// A span's name and kind, and its service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    pub(crate) name: Part,
    /// Index into the segment's services.
    pub(crate) service: u16,
    /// `SpanKind`'s number.
    pub(crate) kind: u8,
    hash: u64,
}

/// The operations of a segment.
#[derive(Default)]
pub(crate) struct Operations {
    all: Vec<Operation>,
    by_hash: HashTable<u16>,
}

impl Operations {
    pub(crate) fn get(&self, index: u16) -> Option<&Operation> {
        self.all.get(usize::from(index))
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Operation> {
        self.all.iter()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.all.len() < MAX
    }

    /// Finds an operation or adds it.
    #[inline]
    pub(crate) fn intern(
        &mut self,
        bytes: &mut Vec<u8>,
        service: u16,
        kind: u8,
        name: &[u8],
    ) -> u16 {
        let hash = xxh3_64_with_seed(name, u64::from(service) << 8 | u64::from(kind));
        let all = &self.all;
        let found = self.by_hash.find(hash, |index| {
            all.get(usize::from(*index)).is_some_and(|known| {
                known.hash == hash
                    && known.service == service
                    && known.kind == kind
                    && known.name.of(bytes) == name
            })
        });
        if let Some(index) = found {
            return *index;
        }
        let index = self.all.len() as u16;
        let name = Part::append(bytes, &[name]);
        self.all.push(Operation {
            name,
            service,
            kind,
            hash,
        });
        let all = &self.all;
        self.by_hash.insert_unique(hash, index, |index| {
            all.get(usize::from(*index)).map_or(0, |known| known.hash)
        });
        index
    }

    pub(crate) fn clear(&mut self) {
        self.all.clear();
        self.by_hash.clear();
    }

    pub(crate) fn seal(&mut self) {
        self.all.shrink_to_fit();
        self.by_hash = HashTable::new();
    }

    pub(crate) fn allocated(&self) -> usize {
        self.all.capacity() * size_of::<Operation>() + self.by_hash.allocation_size()
    }

    pub(crate) fn snapshot(&self) -> Self {
        Self {
            all: self.all.clone(),
            by_hash: HashTable::new(),
        }
    }
}
