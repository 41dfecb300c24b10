//! Services by name, including Jaeger's name for none.

use crate::{
    StoredOperation, TraceStore, kind,
    query::limits::{Reader, TraceQueryError},
    store::Limit,
};

/// Jaeger's name for the service of spans that name none.
pub(crate) const MISSING: &str = "missing-service-name";

/// The names of the services that have spans in a store, sorted.
///
/// # Errors
/// [`TraceQueryError`] if they are too many for a response.
pub(crate) fn names(reader: &Reader) -> Result<Vec<String>, TraceQueryError> {
    reader.names(TraceStore::services_while).map(shown)
}

/// As many of them as a page has room for.
pub(crate) fn some_names(reader: &Reader) -> Vec<String> {
    shown(reader.some_names(TraceStore::services_while))
}

fn shown(mut names: Vec<String>) -> Vec<String> {
    if let Some(name) = names.iter_mut().find(|name| name.is_empty()) {
        MISSING.clone_into(name);
        names.sort();
    }
    names
}

/// The store's name of a service.
pub(crate) fn stored(name: &str) -> &str {
    match name {
        MISSING => "",
        name => name,
    }
}

/// The names of a service's operations, sorted.
///
/// # Errors
/// [`TraceQueryError`] if they are too many for a response.
pub(crate) fn operation_names(
    reader: &Reader,
    service: &str,
) -> Result<Vec<String>, TraceQueryError> {
    operations(reader, service, None).map(distinct_names)
}

/// As many of them as a page has room for.
pub(crate) fn some_operation_names(reader: &Reader, service: &str) -> Vec<String> {
    distinct_names(reader.some_names(|store, limit| named(store, service, None, limit)))
}

fn distinct_names(operations: Vec<StoredOperation>) -> Vec<String> {
    let names = operations.into_iter().map(|operation| operation.name);
    let mut names: Vec<String> = names.collect();
    // A name that occurs with several kinds is there several times, one after the other.
    names.dedup();
    names
}

/// A service's operations of the kind that a word names, or of all; an unknown word finds none,
/// nor does a service without a name.
///
/// # Errors
/// [`TraceQueryError`] if they are too many for a response.
pub(crate) fn operations(
    reader: &Reader,
    service: &str,
    word: Option<&str>,
) -> Result<Vec<StoredOperation>, TraceQueryError> {
    reader.names(|store, limit| named(store, service, word, limit))
}

fn named(
    store: &TraceStore,
    service: &str,
    word: Option<&str>,
    limit: Limit<'_>,
) -> Vec<StoredOperation> {
    let kind = word.map(kind::named);
    if service.is_empty() || kind == Some(None) {
        return Vec::new();
    }
    store.operations_while(stored(service), kind.flatten(), limit)
}
