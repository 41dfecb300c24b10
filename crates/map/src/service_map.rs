//! The services that a map shows, and the calls between them.

use std::collections::{BTreeMap, BTreeSet};

/// The most services shown, which fit into one diagram. Further ones are only counted.
pub const MAX_SERVICES: usize = 40;

/// The services and the calls between them, as traces show them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceMap {
    /// The services by name, with true for those in which an operation has failed.
    pub services: BTreeMap<String, bool>,
    /// The calls by caller and callee.
    pub calls: BTreeMap<(String, String), Call>,
    /// The number of services left out.
    pub left_out: usize,
}

/// The calls of one service to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The number of calls.
    pub count: u64,
    /// True if a call has failed.
    pub failed: bool,
}

impl ServiceMap {
    /// Creates a map of these services and of those that call or are called.
    #[must_use]
    pub fn new(
        services: impl IntoIterator<Item = String>,
        counts: impl IntoIterator<Item = (String, String, u64)>,
    ) -> Self {
        let counts: Vec<_> = counts.into_iter().collect();
        let called = counts
            .iter()
            .flat_map(|(from, to, _)| [from.clone(), to.clone()]);
        let names: BTreeSet<String> = services.into_iter().chain(called).collect();
        let left_out = names.len().saturating_sub(MAX_SERVICES);
        let names = names.into_iter().take(MAX_SERVICES);
        let mut mesh = Self {
            services: names.map(|name| (name, false)).collect(),
            calls: BTreeMap::new(),
            left_out,
        };
        for (from, to, count) in counts {
            // A service's calls to itself are left out, since the diagram has no arrow for them.
            let drawn =
                from != to && mesh.services.contains_key(&from) && mesh.services.contains_key(&to);
            if drawn && count > 0 {
                mesh.calls.entry((from, to)).or_default().count += count;
            }
        }
        mesh
    }

    /// Marks a service as failed.
    pub fn mark_service_failed(&mut self, service: &str) {
        if let Some(failed) = self.services.get_mut(service) {
            *failed = true;
        }
    }

    /// Marks the calls of one service to another as failed.
    pub fn mark_call_failed(&mut self, caller: &str, callee: &str) {
        let call = (caller.to_owned(), callee.to_owned());
        if let Some(call) = self.calls.get_mut(&call) {
            call.failed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(from: &str, to: &str, count: u64) -> (String, String, u64) {
        (from.to_owned(), to.to_owned(), count)
    }

    #[test]
    fn self_calls_are_left_out_and_callees_added() {
        let mesh = ServiceMap::new(
            ["a".to_owned()],
            [counted("a", "b", 2), counted("b", "b", 1)],
        );
        assert_eq!(mesh.services.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(mesh.calls.len(), 1);
    }

    #[test]
    fn only_the_failed_service_and_call_are_marked() {
        let mut mesh = ServiceMap::new([], [counted("a", "b", 1), counted("c", "b", 1)]);
        mesh.mark_service_failed("b");
        mesh.mark_service_failed("unknown");
        mesh.mark_call_failed("a", "b");
        mesh.mark_call_failed("unknown", "b");
        assert!(mesh.services["b"] && !mesh.services["a"]);
        assert!(mesh.calls[&("a".to_owned(), "b".to_owned())].failed);
        assert!(!mesh.calls[&("c".to_owned(), "b".to_owned())].failed);
    }

    #[test]
    fn a_large_mesh_is_cut_and_the_rest_counted() {
        let names = (0..100).map(|index| format!("service-{index:03}"));
        let mesh = ServiceMap::new(names, [counted("service-000", "service-099", 1)]);
        assert_eq!(mesh.services.len(), MAX_SERVICES);
        assert_eq!(mesh.left_out, 100 - MAX_SERVICES);
        assert!(mesh.calls.is_empty());
    }
}
