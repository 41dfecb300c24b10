//! The flame graph: spans merged by call path, each path as wide as the time spent in it.

use std::{cmp::Reverse, time::Duration};

use super::{
    build::Tree,
    paths::{CallPath, CallPaths},
};

/// A trace as a flame graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FlameGraph<'a> {
    /// The frames, a parent before its children, and siblings from left to right.
    pub frames: Vec<FlameFrame<'a>>,
    /// The width of all frames without a parent: the self time of all spans. It exceeds the
    /// duration of a trace whose spans run in parallel.
    pub width: Duration,
}

/// A frame: the spans of one call path.
#[derive(Clone, Debug, PartialEq)]
pub struct FlameFrame<'a> {
    /// Service and operation; none if it stands for several paths, which were merged because of
    /// [`FlameGraph::MAX_FRAMES`].
    pub work: Option<(&'a str, &'a str)>,
    /// The frame below which it is drawn.
    pub parent: Option<usize>,
    /// The number of frames above it.
    pub depth: usize,
    /// Its left edge.
    pub start: Duration,
    /// The self time of its spans and of all spans below them.
    pub width: Duration,
    /// The self time of its spans.
    pub self_time: Duration,
    /// The number of its spans; those of all paths below it if it stands for several.
    pub count: usize,
    /// The number of these spans with an error.
    pub errors: usize,
}

impl FlameGraph<'_> {
    /// The most frames of a graph. If a trace has more call paths, the widest are shown, and below
    /// each frame one more stands for the others.
    pub const MAX_FRAMES: usize = 5_000;

    /// The most call paths that are shown beside others. Each may have one frame for others below
    /// it, and there may be one without a parent.
    const MAX_PATHS: usize = Self::MAX_FRAMES / 2 - 1;
}

impl Tree {
    /// The flame graph of the trace.
    #[must_use]
    pub fn flame_graph(&self) -> FlameGraph<'_> {
        let mut paths = CallPaths::default();
        let of_rows = paths.insert(self.rows());
        let mut times = vec![Times::default(); paths.list().len()];
        for (row, path) in self.rows().iter().zip(of_rows) {
            if let Some(times) = times.get_mut(path) {
                times.self_time += row.self_time;
                times.count += 1;
                times.errors += usize::from(row.member.is_error());
            }
        }
        let sums = sums(paths.list(), &times);
        let shown = widest(&sums);
        layout(paths.list(), &times, &sums, &shown)
    }
}

/// The figures of a path's spans, or of those and all spans below them.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    self_time: Duration,
    count: usize,
    errors: usize,
}

impl Times {
    fn add(&mut self, other: Self) {
        self.self_time += other.self_time;
        self.count += other.count;
        self.errors += other.errors;
    }
}

/// The figures of each path together with the paths below it.
fn sums(paths: &[CallPath<'_>], times: &[Times]) -> Vec<Times> {
    let mut sums = times.to_vec();
    // Children come after their parent, so each is complete when it is added.
    for (index, path) in paths.iter().enumerate().rev() {
        let of_child = sums.get(index).copied().unwrap_or_default();
        if let Some(of_parent) = path.parent.and_then(|parent| sums.get_mut(parent)) {
            of_parent.add(of_child);
        }
    }
    sums
}

/// Selects the paths to show: all, or the widest. With a path its parent is selected, which is at
/// least as wide and has a smaller number.
fn widest(sums: &[Times]) -> Vec<bool> {
    if sums.len() <= FlameGraph::MAX_FRAMES {
        return vec![true; sums.len()];
    }
    let mut ordered: Vec<(usize, &Times)> = sums.iter().enumerate().collect();
    ordered.sort_by_key(|(_, sum)| Reverse(sum.self_time));
    let mut shown = vec![false; sums.len()];
    for (index, _) in ordered.into_iter().take(FlameGraph::MAX_PATHS) {
        if let Some(shown) = shown.get_mut(index) {
            *shown = true;
        }
    }
    shown
}

/// Places the frames beside each other below their parents.
fn layout<'a>(
    paths: &[CallPath<'a>],
    times: &[Times],
    sums: &[Times],
    shown: &[bool],
) -> FlameGraph<'a> {
    let mut layout = Layout::new();
    let mut frame_of: Vec<Option<usize>> = Vec::with_capacity(paths.len());
    let figures = times.iter().zip(sums).zip(shown);
    for (path, ((own, sum), is_shown)) in paths.iter().zip(figures) {
        let parent = path.parent.and_then(|it| frame_of.get(it).copied());
        let frame = match parent {
            // A path below one that is not shown is part of what is merged there.
            Some(None) => None,
            parent if *is_shown => Some(layout.push(path, parent.flatten(), *own, *sum)),
            parent => {
                layout.merge(parent.flatten(), *sum);
                None
            }
        };
        frame_of.push(frame);
    }
    layout.finish()
}

/// The frames placed so far. What is kept by slot has one slot for the graph itself, followed by
/// one for each frame.
struct Layout<'a> {
    frames: Vec<FlameFrame<'a>>,
    /// The left edge of the next child, by slot.
    edges: Vec<Duration>,
    /// The paths that are merged, by slot.
    merged: Vec<Times>,
}

impl<'a> Layout<'a> {
    fn new() -> Self {
        Self {
            frames: Vec::new(),
            edges: vec![Duration::ZERO],
            merged: vec![Times::default()],
        }
    }

    /// Adds the frame of a path. Returns its number.
    fn push(
        &mut self,
        path: &CallPath<'a>,
        parent: Option<usize>,
        own: Times,
        sum: Times,
    ) -> usize {
        let number = self.frames.len();
        let start = self.place(slot(parent), sum.self_time);
        self.frames.push(FlameFrame {
            work: Some((path.service, path.operation)),
            parent,
            depth: path.depth,
            start,
            width: sum.self_time,
            self_time: own.self_time,
            count: own.count,
            errors: own.errors,
        });
        self.edges.push(start);
        self.merged.push(Times::default());
        number
    }

    /// Merges a path, and those below it, into the frame for others.
    fn merge(&mut self, parent: Option<usize>, sum: Times) {
        if let Some(merged) = self.merged.get_mut(slot(parent)) {
            merged.add(sum);
        }
    }

    /// Takes the next width below a slot. Returns its left edge.
    fn place(&mut self, slot: usize, width: Duration) -> Duration {
        let Some(edge) = self.edges.get_mut(slot) else {
            return Duration::ZERO;
        };
        let start = *edge;
        *edge += width;
        start
    }

    fn finish(mut self) -> FlameGraph<'a> {
        for (slot, sum) in std::mem::take(&mut self.merged).into_iter().enumerate() {
            if sum.count == 0 {
                continue;
            }
            let parent = slot.checked_sub(1);
            let above = parent.and_then(|parent| self.frames.get(parent));
            let depth = above.map_or(0, |above| above.depth + 1);
            let start = self.place(slot, sum.self_time);
            self.frames.push(FlameFrame {
                work: None,
                parent,
                depth,
                start,
                width: sum.self_time,
                self_time: sum.self_time,
                count: sum.count,
                errors: sum.errors,
            });
        }
        FlameGraph {
            frames: self.frames,
            width: self.edges.first().copied().unwrap_or_default(),
        }
    }
}

fn slot(parent: Option<usize>) -> usize {
    parent.map_or(0, |frame| frame + 1)
}
