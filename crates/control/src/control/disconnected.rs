//! The instances with processes whose streams have ended.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::instance::ServiceKey;

/// An instance of a service.
pub(crate) type InstanceKey = (ServiceKey, Arc<str>);

/// Instances in the order of the last disconnection of any of their processes. Each is listed once,
/// so that an instance that keeps reconnecting does not displace others.
#[derive(Debug, Default)]
pub(super) struct DisconnectedInstances {
    by_position: BTreeMap<u64, InstanceKey>,
    /// The position of each instance, and the number of its disconnected processes when it was
    /// pushed last. Some may have reconnected since.
    positions: HashMap<InstanceKey, (u64, usize)>,
    /// The sum of these numbers.
    processes: usize,
}

impl DisconnectedInstances {
    /// Adds an instance with this many disconnected processes at the end, or moves it there. Returns
    /// the sum of these numbers over all instances.
    pub(super) fn push(&mut self, instance: InstanceKey, processes: usize) -> usize {
        let last = self.by_position.last_key_value();
        let position = last.map_or(0, |(last, _)| *last + 1);
        let entry = (position, processes);
        if let Some((position, processes)) = self.positions.insert(instance.clone(), entry) {
            self.by_position.remove(&position);
            self.processes -= processes;
        }
        self.by_position.insert(position, instance);
        self.processes += processes;
        self.processes
    }

    /// Removes the instance that is first, if there is any.
    pub(super) fn pop_first(&mut self) -> Option<InstanceKey> {
        let (_, instance) = self.by_position.pop_first()?;
        let (_, processes) = self.positions.remove(&instance)?;
        self.processes -= processes;
        Some(instance)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use spoor_policy::Namespace;

    use super::*;

    fn key(instance: &str) -> InstanceKey {
        let service = (Namespace::default(), "a".parse().unwrap());
        (service, instance.into())
    }

    #[test]
    fn reconnecting_instance_is_listed_once() {
        let mut known = DisconnectedInstances::default();
        for (instance, count) in [("1", 1), ("2", 2), ("1", 2), ("1", 2)] {
            assert_eq!(known.push(key(instance), 1), count);
        }
        assert_eq!(known.pop_first(), Some(key("2")));
        assert_eq!(known.pop_first(), Some(key("1")));
        assert_eq!(known.pop_first(), None);
        assert_eq!(known.push(key("1"), 1), 1);
    }

    #[test]
    fn processes_of_an_instance_are_counted() {
        let mut known = DisconnectedInstances::default();
        for (instance, processes, count) in [("1", 1, 1), ("1", 2, 2), ("2", 3, 5), ("1", 1, 4)] {
            assert_eq!(known.push(key(instance), processes), count);
        }
        assert_eq!(known.pop_first(), Some(key("2")));
        assert_eq!(known.push(key("3"), 16), 17);
    }
}
