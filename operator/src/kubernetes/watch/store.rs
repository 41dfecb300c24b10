//! What is kept of watched objects.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use kube::{Resource, runtime::watcher::Event};
use parking_lot::RwLock;

/// An object's place: its namespace, empty if it is in none, and its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

type Objects<V> = BTreeMap<Key, Arc<V>>;

/// What is kept of objects, as they are now. Clones see the same.
#[derive(Debug)]
pub struct Watched<V>(Arc<RwLock<Objects<V>>>);

/// Writes what [`Watched`] reads, for one watch of possibly several.
pub(super) struct Store<V, F> {
    watched: Watched<V>,
    keep: F,
    /// The only namespace that the watch covers; objects of others are another store's.
    namespace: Option<String>,
    /// Collects all there is while the watch begins anew; what was known stays till then.
    begun: Objects<V>,
}

impl<V> Watched<V> {
    /// An empty collection.
    pub(super) fn empty() -> Self {
        Self(Arc::default())
    }

    /// The writing end of one watch, which covers this namespace or all.
    pub(super) fn store<F>(&self, namespace: Option<String>, keep: F) -> Store<V, F> {
        Store {
            watched: self.clone(),
            keep,
            namespace,
            begun: BTreeMap::new(),
        }
    }

    /// One object.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Arc<V>> {
        self.0.read().get(key).cloned()
    }

    /// All objects, in the order of their keys.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<V>> {
        self.0.read().values().cloned().collect()
    }

    /// The namespaces in which there is one.
    #[must_use]
    pub fn namespaces(&self) -> BTreeSet<String> {
        let objects = self.0.read();
        let mut namespaces = BTreeSet::new();
        for key in objects.keys() {
            if !namespaces.contains(&key.namespace) {
                namespaces.insert(key.namespace.clone());
            }
        }
        namespaces
    }

    /// The objects of one namespace.
    #[must_use]
    pub fn within(&self, namespace: &str) -> Vec<Arc<V>> {
        let first = Key {
            namespace: namespace.to_owned(),
            name: String::new(),
        };
        self.0
            .read()
            .range(first..)
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, value)| value.clone())
            .collect()
    }
}

impl<V, F> Store<V, F> {
    /// Takes an event in, and says whether that changed anything.
    pub(super) fn take<K>(&mut self, event: Event<K>) -> bool
    where
        K: Resource,
        F: Fn(K) -> Option<V>,
        V: PartialEq,
    {
        match event {
            Event::Init => {
                self.begun.clear();
                false
            }
            Event::InitApply(object) => {
                let key = Key::of(&object);
                if let Some(value) = (self.keep)(object) {
                    self.begun.insert(key, Arc::new(value));
                }
                false
            }
            Event::InitDone => {
                let begun = std::mem::take(&mut self.begun);
                let mut objects = self.watched.0.write();
                let Some(namespace) = &self.namespace else {
                    let is_new = *objects != begun;
                    *objects = begun;
                    return is_new;
                };
                let is_covered = |key: &Key| key.namespace == *namespace;
                let is_new = objects
                    .iter()
                    .filter(|(key, _)| is_covered(key))
                    .ne(begun.iter());
                objects.retain(|key, _| !is_covered(key));
                objects.extend(begun);
                is_new
            }
            Event::Apply(object) => {
                let key = Key::of(&object);
                let Some(value) = (self.keep)(object) else {
                    return self.watched.0.write().remove(&key).is_some();
                };
                let mut objects = self.watched.0.write();
                let is_new = objects.get(&key).is_none_or(|known| **known != value);
                if is_new {
                    objects.insert(key, Arc::new(value));
                }
                is_new
            }
            Event::Delete(object) => {
                let key = Key::of(&object);
                self.watched.0.write().remove(&key).is_some()
            }
        }
    }
}

impl Key {
    /// An object's.
    pub fn of<K: Resource>(object: &K) -> Self {
        let metadata = object.meta();
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

impl<V> Clone for Watched<V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn object(name: &str, value: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.namespace = Some("default".to_owned());
        object.metadata.name = Some(name.to_owned());
        object.data = Some(BTreeMap::from([("value".to_owned(), value.to_owned())]));
        object
    }

    fn kept(object: ConfigMap) -> Option<String> {
        object.data?.remove("value").filter(|value| value != "none")
    }

    #[test]
    fn what_was_known_stays_until_all_is_known_anew() {
        let watched = Watched::empty();
        let mut store = watched.store(None, kept);
        for event in [
            Event::Init,
            Event::InitApply(object("a", "1")),
            Event::InitApply(object("b", "1")),
        ] {
            assert!(!store.take(event));
        }
        assert!(watched.all().is_empty());
        assert!(store.take(Event::InitDone));
        assert_eq!(watched.all().len(), 2);
        store.take(Event::Init);
        store.take(Event::InitApply(object("a", "1")));
        assert_eq!(watched.all().len(), 2);
        assert!(store.take(Event::InitDone));
        assert_eq!(watched.within("default").len(), 1);
        assert!(watched.within("defaul").is_empty());
    }

    #[test]
    fn a_new_list_replaces_its_own_namespace_only() {
        let watched = Watched::empty();
        let mut store = watched.store(Some("default".to_owned()), kept);
        let mut other = watched.store(Some("other".to_owned()), kept);
        let mut elsewhere = object("a", "1");
        elsewhere.metadata.namespace = Some("other".to_owned());
        other.take(Event::InitApply(elsewhere));
        assert!(other.take(Event::InitDone));
        store.take(Event::InitApply(object("a", "1")));
        assert!(store.take(Event::InitDone));
        store.take(Event::InitApply(object("a", "1")));
        assert!(!store.take(Event::InitDone));
        assert!(store.take(Event::InitDone));
        assert!(watched.within("default").is_empty());
        assert_eq!(watched.within("other").len(), 1);
    }

    #[test]
    fn what_is_kept_the_same_is_no_change() {
        let watched = Watched::empty();
        let mut store = watched.store(None, kept);
        assert!(store.take(Event::Apply(object("a", "1"))));
        assert!(!store.take(Event::Apply(object("a", "1"))));
        assert!(store.take(Event::Apply(object("a", "2"))));
        assert!(store.take(Event::Apply(object("a", "none"))));
        assert!(!store.take(Event::Delete(object("a", "none"))));
        assert!(watched.all().is_empty());
        for event in [Event::Init, Event::InitDone] {
            assert!(!store.take(event));
        }
    }
}
