//! Intervals and verdicts.
