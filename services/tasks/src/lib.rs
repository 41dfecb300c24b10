//! A to-do list on Redis: manual spans, and metrics with exemplars that lead to traces.

pub mod tasks;
