//! Which service calls which, counted over the stored traces.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::{
    Search, Store, kind,
    tree::{Member, members},
};

/// How often one service called another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    /// The service that called.
    pub parent: String,
    /// The service that was called.
    pub child: String,
    /// How many spans of `child` have a parent in `parent`.
    pub call_count: u64,
}

/// Counts the calls in traces with a span that starts in a window, in nanoseconds since the Unix
/// epoch; sorted by name. A span whose parent is of the same service is a call only when it is
/// the receiving side of one.
#[must_use]
pub fn dependencies(store: &Store, start: u64, end: u64) -> Vec<Dependency> {
    let mut counts = BTreeMap::new();
    let everything = Search {
        start_min: Some(start),
        start_max: Some(end),
        limit: usize::MAX,
        ..Search::default()
    };
    // One at a time: together they may be as large as the store.
    for trace in store
        .find(&everything)
        .into_iter()
        .filter_map(|id| store.trace(id))
    {
        count(&members(trace.decode()), &mut counts);
    }
    counts
        .into_iter()
        .map(|((parent, child), call_count)| Dependency {
            parent,
            child,
            call_count,
        })
        .collect()
}

fn count(members: &[Member], counts: &mut BTreeMap<(String, String), u64>) {
    let by_id: HashMap<&[u8], &Member> = members
        .iter()
        .map(|member| (member.span.span_id.as_slice(), member))
        .collect();
    for child in members {
        let Some(parent) = child.parent_id().and_then(|id| by_id.get(id)) else {
            continue;
        };
        let received = matches!(kind::word(child.span.kind()), "server" | "consumer");
        if parent.service() != child.service() || received {
            let link = (parent.service().to_owned(), child.service().to_owned());
            *counts.entry(link).or_default() += 1;
        }
    }
}
