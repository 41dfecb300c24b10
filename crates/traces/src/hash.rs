//! Hashes of what spans have in common, which a log or a batch stores once.

use std::{
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The seed of all hashes. Clients choose the names; with a known seed, they could choose thousands
/// with the same hash.
static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));

/// The hash of a resource in pieces.
pub(crate) fn resource_hash(pieces: &[&[u8]]) -> u64 {
    hash_pieces(*SEED, pieces)
}

/// The hash of a source: of its resource, given by its own hash, and of its scope, in pieces.
#[inline]
pub(crate) fn source_hash(resource_hash: u64, scope: &[&[u8]]) -> u64 {
    // Distinguishes a piece of the scope from the same piece of the resource.
    hash_pieces(resource_hash.rotate_left(1), scope)
}

/// The hash of a name, which differs for each salt.
#[inline]
pub(crate) fn name_hash(name: &[u8], salt: u64) -> u64 {
    xxh3_64_with_seed(name, *SEED ^ salt)
}

/// Hashes pieces. The same bytes cut into other pieces hash differently and are stored again, which
/// only costs space.
#[inline]
fn hash_pieces(seed: u64, pieces: &[&[u8]]) -> u64 {
    pieces
        .iter()
        .fold(seed, |hash, piece| xxh3_64_with_seed(piece, hash))
}
