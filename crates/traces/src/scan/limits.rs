//! Limits on the resources and scopes of a request, which its spans share.

/// The longest resources, scopes and names to accept, in bytes, and what is read of spans.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourceLimits {
    /// A `ResourceSpans` without its scopes.
    pub(super) resource: usize,
    /// A `ScopeSpans` without its spans. Shorter than a resource, since a request may have hundreds
    /// of thousands of scopes.
    pub(super) scope: usize,
    /// The name of a service, a namespace or a scope, and the version of a scope.
    pub(super) name: usize,
    /// If true, spans are searched by their attributes, which are in their signatures.
    pub(super) is_searched: bool,
}

impl SourceLimits {
    /// The limits of a store. A resource is sent once for any number of spans, while queries read
    /// it for each trace, and some of them for each span; they copy, compare and hash names for
    /// each span. The resource of an SDK has a few hundred bytes, or a few thousand with all
    /// detectors.
    pub(crate) const STORE: Self = Self {
        resource: 64 << 10,
        scope: 16 << 10,
        name: 1 << 10,
        is_searched: true,
    };

    /// The limits of a forwarder, which has no queries. The longest argument of a process on Linux
    /// (128 KiB), such as a class path in `process.command_args`, fits into a resource beside all
    /// other attributes. There is a limit nevertheless, since each batch repeats the resource, and
    /// the spans of each trace are compared with it. A batch that is almost 1 MiB long, with one
    /// more source and span, has less than the 4 MiB that receivers accept by default.
    ///
    /// A journal has to be replayed with the limits with which it was written: its positions count
    /// accepted spans.
    pub(crate) const FORWARDER: Self = Self {
        resource: 256 << 10,
        scope: 64 << 10,
        name: 16 << 10,
        is_searched: false,
    };
}

/// A resource or scope, or a name or version in it, that is longer than accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be at most {max} bytes, not {bytes}")]
pub struct Oversized {
    pub(super) field: &'static str,
    pub(super) bytes: usize,
    pub(super) max: usize,
}
