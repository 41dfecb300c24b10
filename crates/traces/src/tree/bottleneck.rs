//! The bottleneck: the work that takes the largest part of the critical path.
//!
//! A short span can still make a trace slow if it occurs 300 times. Spans that do the same work are
//! therefore grouped: those with the same service and name whose parents are in the same group, up
//! to the root.

use std::time::Duration;

use super::{build::Tree, paths::CallPaths, row::Row};

/// The largest part of the critical path that is spent in the spans of one group.
#[derive(Clone, Debug, PartialEq)]
pub struct Bottleneck {
    /// The rows of the group that are on the critical path, top to bottom; at least one.
    pub rows: Vec<usize>,
    /// The time of the critical path that is spent in them.
    pub time: Duration,
    /// The same as a share of the critical path, from 0 to 1.
    pub share: f64,
}

impl Bottleneck {
    /// The smallest share of the critical path at which the largest part is a bottleneck.
    pub const MIN_SHARE: f64 = 0.3;

    /// Returns whether it is large enough to be called a bottleneck.
    #[must_use]
    pub fn is_dominant(&self) -> bool {
        self.share >= Self::MIN_SHARE
    }
}

impl Tree {
    /// The work that takes the largest part of the critical path; if several parts are equal, the
    /// first. A trace of a single span has none, since there is nothing to compare the span with,
    /// and neither has an exercise.
    #[must_use]
    pub fn bottleneck(&self) -> Option<Bottleneck> {
        let rows = self.rows();
        let total = self.critical_time();
        if self.is_exercise() || rows.len() < 2 || total.is_zero() {
            return None;
        }
        let groups = CallPaths::default().insert(rows);
        let mut times = vec![Duration::ZERO; rows.len()];
        for (row, group) in rows.iter().zip(&groups) {
            if let Some(time) = times.get_mut(*group) {
                *time += row.critical_time();
            }
        }
        let reversed = times.into_iter().enumerate().rev();
        // `max_by_key` returns the last of equal items: in reversed order, the first group.
        let (largest, time) = reversed.max_by_key(|(_, time)| *time)?;
        let index_in_group = |(index, row): (usize, &Row)| {
            let is_in_group = groups.get(index) == Some(&largest);
            (is_in_group && !row.critical.is_empty()).then_some(index)
        };
        Some(Bottleneck {
            rows: rows.iter().enumerate().filter_map(index_in_group).collect(),
            time,
            share: time.as_secs_f64() / total.as_secs_f64(),
        })
    }
}
