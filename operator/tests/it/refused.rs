//! The refusals of a cluster's API server and their messages, which validation has to share.

mod agreement;
mod judge;
mod policies;
mod samples;
mod stacks;

/// A resource that must be refused.
struct Case {
    /// Its `spec`, as YAML in one line.
    spec: &'static str,
    /// Texts in the message: the field, and words of the fix.
    says: &'static [&'static str],
}

const fn case(spec: &'static str, says: &'static [&'static str]) -> Case {
    Case { spec, says }
}
