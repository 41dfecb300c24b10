//! The services that are known, a bounded number of them.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;
use spoor_policy::{Namespace, ServiceName};

use crate::service::Service;

/// What identifies a service.
pub(crate) type Key = (Namespace, ServiceName);

/// All known services.
#[derive(Debug)]
pub(crate) struct Services {
    max: usize,
    known: RwLock<BTreeMap<Key, Arc<Service>>>,
}

impl Services {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            known: RwLock::default(),
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Service>> {
        self.known.read().get(key).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Service>> {
        self.known.read().values().cloned().collect()
    }

    /// The service, made if it is new; none if there is no room.
    ///
    /// `make` runs under the lock that [`Services::all`] needs, so that a publication either
    /// finds the service or is found by it.
    pub(crate) fn enter(&self, key: &Key, make: impl FnOnce() -> Service) -> Option<Arc<Service>> {
        if let Some(service) = self.get(key) {
            return Some(service);
        }
        let mut known = self.known.write();
        if known.len() >= self.max {
            // Whoever enters or stays holds a reference.
            known.retain(|_, service| {
                Arc::strong_count(service) > 1 || !service.state().expected.is_empty()
            });
        }
        if known.len() >= self.max && !known.contains_key(key) {
            return None;
        }
        let service = known.entry(key.clone()).or_insert_with(|| Arc::new(make()));
        Some(service.clone())
    }
}
