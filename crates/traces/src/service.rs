//! Service names, including Jaeger's placeholder for a missing one.

use crate::{
    StoredOperation, TraceStore, kind,
    query::limits::{Reader, TraceQueryError},
    store::Limit,
};

/// Jaeger's placeholder for the service of spans without a `service.name`.
pub(crate) const MISSING: &str = "missing-service-name";

/// The names of the services that have spans in a store, sorted.
///
/// # Errors
/// [`TraceQueryError`] if there are too many for a response, or listing them takes too long.
pub(crate) fn names(reader: &Reader) -> Result<Vec<String>, TraceQueryError> {
    reader.names(TraceStore::services_while).map(display_names)
}

/// As many service names as a page has room for.
pub(crate) fn some_names(reader: &Reader) -> Vec<String> {
    display_names(reader.some_names(TraceStore::services_while))
}

fn display_names(mut names: Vec<String>) -> Vec<String> {
    if let Some(name) = names.iter_mut().find(|name| name.is_empty()) {
        MISSING.clone_into(name);
        names.sort();
    }
    names
}

/// The name of a service as it is stored: a missing name is empty.
pub(crate) fn stored_name(name: &str) -> &str {
    match name {
        MISSING => "",
        name => name,
    }
}

/// The names of a service's operations, sorted.
///
/// # Errors
/// [`TraceQueryError`] if there are too many for a response, or listing them takes too long.
pub(crate) fn operation_names(
    reader: &Reader,
    service: &str,
) -> Result<Vec<String>, TraceQueryError> {
    operations(reader, service, None).map(distinct_names)
}

/// As many operation names as a page has room for.
pub(crate) fn some_operation_names(reader: &Reader, service: &str) -> Vec<String> {
    distinct_names(reader.some_names(|store, limit| find_by_kind(store, service, None, limit)))
}

fn distinct_names(operations: Vec<StoredOperation>) -> Vec<String> {
    let names = operations.into_iter().map(|operation| operation.name);
    let mut names: Vec<String> = names.collect();
    // A name that occurs with several kinds is listed once for each, one after the other.
    names.dedup();
    names
}

/// A service's operations of one kind, or of all kinds. An unknown kind or an empty service name
/// has no operations.
///
/// # Errors
/// [`TraceQueryError`] if there are too many for a response, or listing them takes too long.
pub(crate) fn operations(
    reader: &Reader,
    service: &str,
    kind: Option<&str>,
) -> Result<Vec<StoredOperation>, TraceQueryError> {
    reader.names(|store, limit| find_by_kind(store, service, kind, limit))
}

fn find_by_kind(
    store: &TraceStore,
    service: &str,
    kind: Option<&str>,
    limit: Limit<'_>,
) -> Vec<StoredOperation> {
    let kind = kind.map(kind::from_name);
    if service.is_empty() || kind == Some(None) {
        return Vec::new();
    }
    store.operations_while(stored_name(service), kind.flatten(), limit)
}
