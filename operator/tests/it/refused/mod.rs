//! What a cluster's API server refuses, in which words, and that validation says the same.

mod agreement;
mod judge;
mod policies;
mod samples;
mod stacks;

/// A resource that must be refused.
struct Case {
    /// Its `spec`, as YAML in one line.
    spec: &'static str,
    /// What the answer must hold: the field, and words of the fix.
    says: &'static [&'static str],
}

const fn case(spec: &'static str, says: &'static [&'static str]) -> Case {
    Case { spec, says }
}
