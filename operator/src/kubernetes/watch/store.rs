//! Stores of watched objects.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kube::{Resource, runtime::watcher::Event};
use parking_lot::RwLock;

use super::Key;

type Objects<V> = BTreeMap<Key, Arc<V>>;

/// The values kept for watched objects. Clones share them.
#[derive(Debug)]
pub struct ObjectStore<V>(Arc<RwLock<Objects<V>>>);

/// The writing end of an [`ObjectStore`], for one of its watches.
pub(super) struct StoreWriter<V, F> {
    watched: ObjectStore<V>,
    convert: F,
    /// The namespace that the watch covers, or none for all. Other namespaces belong to other
    /// writers.
    namespace: Option<String>,
    /// The objects of a list that is under way. The store keeps the former ones until it is
    /// complete.
    initial: Objects<V>,
}

impl<V> ObjectStore<V> {
    /// Creates an empty store.
    pub(super) fn empty() -> Self {
        Self(Arc::default())
    }

    /// Creates the writing end of a watch of this namespace, or of all.
    pub(super) fn writer<F>(&self, namespace: Option<String>, convert: F) -> StoreWriter<V, F> {
        StoreWriter {
            watched: self.clone(),
            convert,
            namespace,
            initial: BTreeMap::new(),
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

    /// The namespaces with at least one object.
    #[must_use]
    pub fn namespaces(&self) -> BTreeSet<String> {
        let objects = self.0.read();
        let namespaces: BTreeSet<&String> = objects.keys().map(|key| &key.namespace).collect();
        // Cloned only once for each namespace: there may be thousands of pods in a few of them.
        namespaces.into_iter().cloned().collect()
    }

    /// The objects of one namespace.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<V>> {
        // No name sorts before the empty one.
        let first = Key {
            namespace: namespace.to_owned(),
            name: String::new(),
        };
        let objects = self.0.read();
        let within = objects.range(first..);
        let within = within.take_while(|(key, _)| key.namespace == namespace);
        within.map(|(_, value)| value.clone()).collect()
    }
}

impl<V, F> StoreWriter<V, F> {
    /// Applies an event. Returns true if a kept value has changed.
    pub(super) fn apply_event<K>(&mut self, event: Event<K>) -> bool
    where
        K: Resource,
        F: Fn(K) -> Option<V>,
        V: PartialEq,
    {
        match event {
            Event::Init => {
                // The list of an attempt that failed halfway.
                self.initial.clear();
                false
            }
            Event::InitApply(object) => {
                let key = Key::of(&object);
                if let Some(value) = (self.convert)(object) {
                    self.initial.insert(key, Arc::new(value));
                }
                false
            }
            Event::InitDone => {
                let initial = std::mem::take(&mut self.initial);
                let mut objects = self.watched.0.write();
                let namespace = self.namespace.as_ref();
                let is_covered = |key: &Key| namespace.is_none_or(|it| key.namespace == *it);
                let before = objects.iter().filter(|(key, _)| is_covered(key));
                // Compared as a whole: a watch that is started again lists everything, and usually
                // nothing has changed.
                let has_changed = before.ne(initial.iter());
                objects.retain(|key, _| !is_covered(key));
                objects.extend(initial);
                has_changed
            }
            Event::Apply(object) => {
                let key = Key::of(&object);
                // An object that is no longer of interest leaves the store like a deleted one.
                let Some(value) = (self.convert)(object) else {
                    return self.watched.0.write().remove(&key).is_some();
                };
                let mut objects = self.watched.0.write();
                let has_changed = objects.get(&key).is_none_or(|known| **known != value);
                if has_changed {
                    objects.insert(key, Arc::new(value));
                }
                has_changed
            }
            Event::Delete(object) => {
                let key = Key::of(&object);
                self.watched.0.write().remove(&key).is_some()
            }
        }
    }
}

impl<V> Clone for ObjectStore<V> {
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
    fn old_values_stay_until_the_list_is_complete() {
        let store = ObjectStore::empty();
        let mut writer = store.writer(None, kept);
        for event in [
            Event::Init,
            Event::InitApply(object("a", "1")),
            Event::InitApply(object("b", "1")),
        ] {
            assert!(!writer.apply_event(event));
        }
        assert!(store.all().is_empty());
        assert!(writer.apply_event(Event::InitDone));
        assert_eq!(store.all().len(), 2);
        writer.apply_event(Event::Init);
        writer.apply_event(Event::InitApply(object("a", "1")));
        assert_eq!(store.all().len(), 2);
        assert!(writer.apply_event(Event::InitDone));
        assert_eq!(store.in_namespace("default").len(), 1);
        assert!(store.in_namespace("defaul").is_empty());
    }

    #[test]
    fn list_replaces_its_own_namespace_only() {
        let store = ObjectStore::empty();
        let mut writer = store.writer(Some("default".to_owned()), kept);
        let mut other = store.writer(Some("other".to_owned()), kept);
        let mut elsewhere = object("a", "1");
        elsewhere.metadata.namespace = Some("other".to_owned());
        other.apply_event(Event::InitApply(elsewhere));
        assert!(other.apply_event(Event::InitDone));
        writer.apply_event(Event::InitApply(object("a", "1")));
        assert!(writer.apply_event(Event::InitDone));
        writer.apply_event(Event::InitApply(object("a", "1")));
        assert!(!writer.apply_event(Event::InitDone));
        assert!(writer.apply_event(Event::InitDone));
        assert!(store.in_namespace("default").is_empty());
        assert_eq!(store.in_namespace("other").len(), 1);
    }

    #[test]
    fn equal_value_is_not_a_change() {
        let store = ObjectStore::empty();
        let mut writer = store.writer(None, kept);
        assert!(writer.apply_event(Event::Apply(object("a", "1"))));
        assert!(!writer.apply_event(Event::Apply(object("a", "1"))));
        assert!(writer.apply_event(Event::Apply(object("a", "2"))));
        assert!(writer.apply_event(Event::Apply(object("a", "none"))));
        assert!(!writer.apply_event(Event::Delete(object("a", "none"))));
        assert!(store.all().is_empty());
        for event in [Event::Init, Event::InitDone] {
            assert!(!writer.apply_event(event));
        }
    }
}
