//! The comparison of two traces by call path.

use std::time::Duration;

use super::{build::Tree, paths::CallPaths};

/// Two traces side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct TreeComparison<'a> {
    /// The duration of each trace's root span.
    pub root_durations: [Duration; 2],
    /// The call paths of both, in the order of a tree: those of the first trace, with those that
    /// only the second has after their siblings.
    pub paths: Vec<ComparedPath<'a>>,
}

/// A call path in one of the traces or in both.
#[derive(Clone, Debug, PartialEq)]
pub struct ComparedPath<'a> {
    /// The service at its end.
    pub service: &'a str,
    /// The operation at its end.
    pub operation: &'a str,
    /// The number of calls above it.
    pub depth: usize,
    /// Its figures in the first trace; none if it occurs only in the second.
    pub first: Option<PathTimes>,
    /// Its figures in the second trace; none if it occurs only in the first.
    pub second: Option<PathTimes>,
}

/// The figures of a call path in one trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathTimes {
    /// The number of spans.
    pub count: usize,
    /// The number of spans with an error.
    pub errors: usize,
    /// The sum of their durations.
    pub total: Duration,
    /// The sum of their durations without the time in which any child ran.
    pub self_time: Duration,
}

impl ComparedPath<'_> {
    /// The time by which the spans take longer in the second trace, in seconds; negative if they
    /// are faster there. A path that a trace does not have takes no time in it.
    #[must_use]
    pub fn difference(&self) -> f64 {
        let [first, second] = self.times().map(|it| it.total.as_secs_f64());
        second - first
    }

    /// The same for the self time, whose differences add up: the difference of a path does not
    /// include those of the paths below it.
    #[must_use]
    pub fn self_difference(&self) -> f64 {
        let [first, second] = self.times().map(|it| it.self_time.as_secs_f64());
        second - first
    }

    fn times(&self) -> [PathTimes; 2] {
        [self.first, self.second].map(Option::unwrap_or_default)
    }
}

impl Tree {
    /// Compares two traces: this one is the first.
    #[must_use]
    pub fn compare<'a>(&'a self, second: &'a Self) -> TreeComparison<'a> {
        let mut paths = CallPaths::default();
        let root_durations = [self, second].map(root_duration);
        let of_rows = [self, second].map(|tree| (tree, paths.insert(tree.rows())));
        let count = paths.list().len();
        let [first, second] = of_rows.map(|(tree, of_rows)| times(tree, &of_rows, count));
        let compared = |number: usize| {
            let path = paths.list().get(number)?;
            Some(ComparedPath {
                service: path.service,
                operation: path.operation,
                depth: path.depth,
                first: first.get(number).copied().flatten(),
                second: second.get(number).copied().flatten(),
            })
        };
        TreeComparison {
            root_durations,
            paths: paths.preorder().into_iter().filter_map(compared).collect(),
        }
    }
}

/// The figures of each path in a tree, whose rows have these paths.
fn times(tree: &Tree, of_rows: &[usize], paths: usize) -> Vec<Option<PathTimes>> {
    let mut times: Vec<Option<PathTimes>> = vec![None; paths];
    for (row, path) in tree.rows().iter().zip(of_rows) {
        if let Some(times) = times.get_mut(*path) {
            let times = times.get_or_insert_default();
            times.count += 1;
            times.errors += usize::from(row.member.is_error());
            times.total += row.member.duration();
            times.self_time += row.self_time;
        }
    }
    times
}

fn root_duration(tree: &Tree) -> Duration {
    let root = tree.root().map(|root| root.member.duration());
    root.unwrap_or_default()
}
