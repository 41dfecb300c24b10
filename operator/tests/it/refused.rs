//! The refusals of a cluster's API server and their messages, with which validation has to agree.

mod agreement;
mod policies;
mod samples;
mod stacks;
mod validators;

/// A resource that must be refused.
struct Case {
    /// Its `spec`, as YAML in one line.
    spec: &'static str,
    /// The texts that the message must contain: the field, and parts of the fix.
    expected: &'static [&'static str],
}

const fn case(spec: &'static str, expected: &'static [&'static str]) -> Case {
    Case { spec, expected }
}
