//! A bounded list of the known services.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;
use spoor_policy::{Namespace, ServiceName};

use crate::{instance::ServiceKey, service::Service};

/// All known services.
#[derive(Debug)]
pub(crate) struct Services {
    max: usize,
    known: RwLock<BTreeMap<ServiceKey, Arc<Service>>>,
}

impl Services {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            known: RwLock::default(),
        }
    }

    pub(crate) fn get(&self, key: &ServiceKey) -> Option<Arc<Service>> {
        self.known.read().get(key).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Service>> {
        self.known.read().values().cloned().collect()
    }

    /// The known services of a namespace, by name.
    pub(crate) fn in_namespace(
        &self,
        namespace: &Namespace,
    ) -> BTreeMap<ServiceName, Arc<Service>> {
        let known = self.known.read();
        let here = known.iter().filter(|((of, _), _)| of == namespace);
        here.map(|((_, name), service)| (name.clone(), Arc::clone(service)))
            .collect()
    }

    /// Returns the service, which `make` creates if it is new, or `None` if there are too many.
    ///
    /// `make` runs under the lock that [`Services::all`] takes: a publication either finds the
    /// new service in the list, or was stored before `make` loads it.
    pub(crate) fn get_or_insert(
        &self,
        key: &ServiceKey,
        make: impl FnOnce() -> Service,
    ) -> Option<Arc<Service>> {
        if let Some(service) = self.get(key) {
            return Some(service);
        }
        let mut known = self.known.write();
        if known.len() >= self.max {
            // Every session, and every caller of this function, holds a reference.
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
