//! The instances with processes whose streams have ended.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::instance::ServiceKey;

/// An instance of a service.
pub(super) type InstanceKey = (ServiceKey, Arc<str>);

/// Instances in the order in which a process of theirs disconnected last. Each has one place, so
/// that an instance that reconnects all the time takes none from others.
#[derive(Debug, Default)]
pub(super) struct DisconnectedInstances {
    by_place: BTreeMap<u64, InstanceKey>,
    places: HashMap<InstanceKey, u64>,
}

impl DisconnectedInstances {
    /// Adds an instance at the end, or moves it there. Returns the number of instances.
    pub(super) fn push(&mut self, instance: InstanceKey) -> usize {
        let last = self.by_place.last_key_value();
        let place = last.map_or(0, |(last, _)| *last + 1);
        if let Some(before) = self.places.insert(instance.clone(), place) {
            self.by_place.remove(&before);
        }
        self.by_place.insert(place, instance);
        self.places.len()
    }

    /// Removes the instance that is first, if there is any.
    pub(super) fn pop_first(&mut self) -> Option<InstanceKey> {
        let (_, instance) = self.by_place.pop_first()?;
        self.places.remove(&instance);
        Some(instance)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use spoor_policy::Namespace;

    use super::*;

    #[test]
    fn reconnecting_instance_has_one_place() {
        let key = |instance: &str| -> InstanceKey {
            let service = (Namespace::default(), "a".parse().unwrap());
            (service, instance.into())
        };
        let mut known = DisconnectedInstances::default();
        for (instance, count) in [("1", 1), ("2", 2), ("1", 2), ("1", 2)] {
            assert_eq!(known.push(key(instance)), count);
        }
        assert_eq!(known.pop_first(), Some(key("2")));
        assert_eq!(known.pop_first(), Some(key("1")));
        assert_eq!(known.pop_first(), None);
        assert_eq!(known.push(key("1")), 1);
    }
}
