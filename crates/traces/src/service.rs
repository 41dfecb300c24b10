//! Services by name, for spans that name none too.

use crate::Store;

/// Jaeger's name for the service of spans that name none.
pub(crate) const MISSING: &str = "missing-service-name";

/// The names of the services that have spans in a store, sorted.
pub(crate) fn names(store: &Store) -> Vec<String> {
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
