//! The critical path: walking back from the end of a trace, always to the child that finished
//! last before the point reached, as Jaeger's own view does.

use std::ops::Range;

use super::row::{CriticalSegment, Row};

/// The segments of the path, each with its row, from the last to the first.
pub(super) fn path(
    rows: &[Row],
    children: &[Vec<usize>],
    trace: Range<u64>,
) -> Vec<(usize, CriticalSegment)> {
    let roots =
        (0..rows.len()).filter(|row| rows.get(*row).is_some_and(|row| row.parent.is_none()));
    // The first frame is the trace itself, above its roots; time between them is not on the path.
    let mut stack = vec![Frame {
        row: None,
        floor: trace.start,
        reached: trace.end,
        end: trace.end,
        waiting: by_end(rows, roots.collect()),
    }];
    let mut path = Vec::new();
    while let Some(frame) = stack.last_mut() {
        let Some(child) = frame.waiting.pop() else {
            frame.emit(frame.floor, &mut path);
            stack.pop();
            continue;
        };
        let Some(member) = rows.get(child).map(|row| &row.member) else {
            continue;
        };
        let ended = member.end().min(frame.end);
        // A parent does not wait for work that begins after its end. A span without a duration may
        // be at exactly its parent's end.
        let starts_after_parent = member.start() >= frame.end && member.start() != member.end();
        if starts_after_parent || ended > frame.reached || ended < frame.floor {
            continue;
        }
        frame.emit(ended, &mut path);
        // The part of a child before its parent's start is not on the path.
        let floor = member.start().clamp(frame.floor, ended);
        frame.reached = floor;
        stack.push(Frame {
            row: Some(child),
            floor,
            reached: ended,
            end: member.end(),
            waiting: by_end(rows, children.get(child).cloned().unwrap_or_default()),
        });
    }
    path
}

struct Frame {
    row: Option<usize>,
    /// The earliest time that counts.
    floor: u64,
    /// Everything after this is accounted for.
    reached: u64,
    end: u64,
    /// Children not yet visited, the one that ended last at the back.
    waiting: Vec<usize>,
}

impl Frame {
    fn emit(&self, from: u64, path: &mut Vec<(usize, CriticalSegment)>) {
        if let Some(row) = self.row
            && from < self.reached
        {
            let segment = CriticalSegment {
                start: from,
                end: self.reached,
            };
            path.push((row, segment));
        }
    }
}

fn by_end(rows: &[Row], mut children: Vec<usize>) -> Vec<usize> {
    children.sort_by_key(|child| rows.get(*child).map(|row| row.member.end()));
    children
}
