//! Services by name, including Jaeger's name for none.

use crate::{StoredOperation, TraceStore, kind};

/// Jaeger's name for the service of spans that name none.
pub(crate) const MISSING: &str = "missing-service-name";

/// The names of the services that have spans in a store, sorted.
pub(crate) fn names(store: &TraceStore) -> Vec<String> {
    let mut names = store.services();
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
pub(crate) fn operation_names(store: &TraceStore, service: &str) -> Vec<String> {
    let operations = operations(store, service, None).into_iter();
    let mut names: Vec<String> = operations.map(|operation| operation.name).collect();
    // A name that occurs with several kinds is there several times, one after the other.
    names.dedup();
    names
}

/// A service's operations of the kind that a word names, or of all; an unknown word finds none,
/// nor does a service without a name.
pub(crate) fn operations(
    store: &TraceStore,
    service: &str,
    word: Option<&str>,
) -> Vec<StoredOperation> {
    if service.is_empty() {
        return Vec::new();
    }
    let service = stored(service);
    match word {
        None => store.operations(service, None),
        Some(word) => kind::named(word)
            .map(|kind| store.operations(service, Some(kind)))
            .unwrap_or_default(),
    }
}
