//! A task manager on Redis: spans of one's own, and metrics that lead to traces.

pub mod tasks;
