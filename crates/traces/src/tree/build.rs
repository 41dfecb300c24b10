//! Finds each span's position in the tree.

use std::{collections::HashMap, time::Duration};

use opentelemetry_proto::tonic::trace::v1::ResourceSpans;

use super::{
    critical,
    ids::warn_about_ids,
    member::{Member, members},
    row::{Position, Row, is_fault},
    skew::correct_clock_skew,
    value,
};

/// The prefix of the user agent in the requests of an exercise.
pub const EXERCISE_USER_AGENT: &str = "spoor-lesson-";

/// A trace: rows in the order of a waterfall, a parent before its children, siblings by start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    rows: Vec<Row>,
    start: u64,
    end: u64,
}

impl Tree {
    /// Builds the tree from decoded batches of one trace, with its clocks corrected and warnings
    /// about ambiguous span IDs.
    #[must_use]
    pub fn new(mut batches: Vec<ResourceSpans>) -> Self {
        correct_clock_skew(&mut batches);
        warn_about_ids(&mut batches);
        Self::of(members(batches))
    }

    /// Builds the tree from the spans of one trace, whose clocks are already corrected.
    #[must_use]
    pub fn of(mut members: Vec<Member>) -> Self {
        members.sort_by(|a, b| {
            // Of two spans that start together, the longer one is likely the caller.
            let longest_first = b.end().cmp(&a.end());
            a.start().cmp(&b.start()).then(longest_first)
        });
        let start = members.iter().map(Member::start).min().unwrap_or(0);
        let end = members.iter().map(Member::end).max().unwrap_or(start);
        let mut rows = arrange(members);
        let children = children(&rows);
        let self_times = self_times(&rows, &children);
        for (row, self_time) in rows.iter_mut().zip(self_times) {
            row.self_time = self_time;
        }
        for (row, segment) in critical::path(&rows, &children, start..end) {
            if let Some(row) = rows.get_mut(row) {
                row.critical.push(segment);
            }
        }
        for row in &mut rows {
            // The path is found from its end to its start.
            row.critical.reverse();
        }
        let mut tree = Self { rows, start, end };
        if tree.is_exercise() {
            // The events of injected faults would name the bottleneck of an exercise.
            for row in &mut tree.rows {
                row.member.span.events.retain(|event| !is_fault(event));
            }
        }
        tree
    }

    /// The spans, top to bottom.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The earliest start, in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The latest end, in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// From the earliest start to the latest end.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.end - self.start)
    }

    /// The span that represents the trace: the first without a parent, else the first.
    #[must_use]
    pub fn root(&self) -> Option<&Row> {
        let real = self.rows.iter().find(|row| row.position == Position::Root);
        real.or_else(|| self.rows.first())
    }

    /// The length of the critical path, without the parts of the trace that no span on the path
    /// covers, such as work after the end of the root.
    #[must_use]
    pub fn critical_time(&self) -> Duration {
        self.rows.iter().map(Row::critical_time).sum()
    }

    /// Returns whether it is the trace of an exercise, whose bottleneck the learner has to find.
    #[must_use]
    pub fn is_exercise(&self) -> bool {
        let attributes = self.root().map(|row| row.member.span.attributes.as_slice());
        let user_agent = attributes.and_then(|it| value::string(it, "user_agent.original"));
        user_agent.is_some_and(|it| it.starts_with(EXERCISE_USER_AGENT))
    }

    /// The row where the errors began: the first failed span without a failed child.
    #[must_use]
    pub fn origin_of_errors(&self) -> Option<usize> {
        let mut above_failed = vec![false; self.rows.len()];
        for row in self.rows.iter().filter(|row| row.member.is_error()) {
            if let Some(above) = row.parent.and_then(|parent| above_failed.get_mut(parent)) {
                *above = true;
            }
        }
        let mut rows = self.rows.iter().zip(above_failed);
        rows.position(|(row, above_failed)| row.member.is_error() && !above_failed)
    }

    /// The time for which work continues after the root has ended without waiting for it.
    #[must_use]
    pub fn time_after_root(&self) -> Duration {
        let end = self.root().map_or(self.end, |root| root.member.end());
        Duration::from_nanos(self.end.saturating_sub(end))
    }

    /// The number of spans with an error.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.rows.iter().filter(|row| row.member.is_error()).count()
    }

    /// Each service with its number of spans, in the order in which they appear.
    #[must_use]
    pub fn services(&self) -> Vec<(&str, usize)> {
        let mut indices: HashMap<&str, usize> = HashMap::new();
        let mut services: Vec<(&str, usize)> = Vec::new();
        for row in &self.rows {
            let name = row.member.service();
            let index = *indices.entry(name).or_insert_with(|| {
                services.push((name, 0));
                services.len() - 1
            });
            if let Some((_, count)) = services.get_mut(index) {
                *count += 1;
            }
        }
        services
    }
}

/// Arranges spans, which are sorted by start, in the order of the tree.
fn arrange(members: Vec<Member>) -> Vec<Row> {
    let links = links(&members);
    let mut below: Vec<Vec<usize>> = vec![Vec::new(); members.len()];
    let mut roots = Vec::new();
    for (index, link) in links.iter().enumerate() {
        match link {
            (Position::Child, Some(parent)) => {
                if let Some(list) = below.get_mut(*parent) {
                    list.push(index);
                }
            }
            _ => roots.push(index),
        }
    }

    let mut members: Vec<Option<Member>> = members.into_iter().map(Some).collect();
    let mut rows = Vec::with_capacity(members.len());
    // A cycle is below no root, so the walk enters each one at its earliest span.
    let starts = roots.into_iter().map(|index| (index, false));
    let leftovers = (0..members.len()).map(|index| (index, true));
    for (start, in_cycle) in starts.chain(leftovers).collect::<Vec<_>>() {
        // No recursion: a trace may be a chain of tens of thousands of spans.
        let mut stack = vec![(start, None, 0)];
        while let Some((index, parent, depth)) = stack.pop() {
            let Some(member) = members.get_mut(index).and_then(Option::take) else {
                continue;
            };
            let row = rows.len();
            let position = match links.get(index) {
                _ if index == start && in_cycle => Position::Cycle,
                Some((position, _)) => *position,
                None => Position::Root,
            };
            rows.push(Row {
                member,
                depth,
                parent,
                position,
                self_time: Duration::ZERO,
                critical: Vec::new(),
            });
            let children = below.get_mut(index).map(std::mem::take).unwrap_or_default();
            let under = |child| (child, Some(row), depth + 1);
            stack.extend(children.into_iter().rev().map(under));
        }
    }
    rows
}

fn links(members: &[Member]) -> Vec<(Position, Option<usize>)> {
    let mut by_id: HashMap<&[u8], usize> = HashMap::with_capacity(members.len());
    for (index, member) in members.iter().enumerate() {
        // IDs may repeat: children belong to the first span of their parent's ID.
        by_id.entry(&member.span.span_id).or_insert(index);
    }
    let link = |(index, member): (usize, &Member)| match member.parent_id() {
        None => (Position::Root, None),
        Some(id) => match by_id.get(id) {
            Some(parent) if *parent == index => (Position::Cycle, None),
            Some(parent) => (Position::Child, Some(*parent)),
            None => (Position::MissingParent, None),
        },
    };
    members.iter().enumerate().map(link).collect()
}

fn children(rows: &[Row]) -> Vec<Vec<usize>> {
    let mut children = vec![Vec::new(); rows.len()];
    for (index, row) in rows.iter().enumerate() {
        if let Some(list) = row.parent.and_then(|parent| children.get_mut(parent)) {
            list.push(index);
        }
    }
    children
}

/// A span's duration minus the union of its children's, as far as they overlap with it.
fn self_times(rows: &[Row], children: &[Vec<usize>]) -> Vec<Duration> {
    let self_time = |(row, children): (&Row, &Vec<usize>)| {
        let (start, end) = (row.member.start(), row.member.end());
        let mut covered = 0;
        let mut reached = start;
        // Siblings are in order of their start.
        for child in children.iter().filter_map(|child| rows.get(*child)) {
            // A child may start before its parent, and end after it.
            let from = child.member.start().clamp(reached, end.max(reached));
            let to = child.member.end().clamp(from, end.max(from));
            covered += to - from;
            reached = reached.max(to);
        }
        Duration::from_nanos((end - start).saturating_sub(covered))
    };
    rows.iter().zip(children).map(self_time).collect()
}
