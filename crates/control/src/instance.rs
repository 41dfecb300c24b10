//! Instances of services, as others see them.

use std::{collections::BTreeMap, time::Duration};

use spoor_policy::{Namespace, ServiceName, Version};

/// An instance of a service: a pod, or on one machine a process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its service.
    pub service: ServiceName,
    /// Its name: what [`Identity::instance`](crate::Identity::instance) says. Not the start of a
    /// process, of which an instance may have several.
    pub id: String,
}

/// What is known of an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceState {
    /// Which one.
    pub instance: Instance,
    /// Whether it should be there.
    pub expected: bool,
    /// Whether a stream of it is open.
    pub connected: bool,
    /// Whether nothing was heard of it for too long.
    pub silent: bool,
    /// The version that it last acknowledged; of several processes, the one furthest behind.
    pub held: Option<Version>,
    /// Whether that is its service's newest.
    pub current: bool,
    /// How long that acknowledgement took from the publication, or from the start of its stream
    /// where that is later.
    pub took: Option<Duration>,
    /// What it last refused, unless it has acknowledged a later one.
    pub refused: Option<RefusedPlan>,
    /// How long ago it was last heard of.
    pub heard_ago: Option<Duration>,
    /// Spans that its exporter's peer accepted, since the start of its processes.
    pub spans_exported: u64,
    /// Spans that it dropped since then, by reason.
    pub spans_dropped: BTreeMap<String, u64>,
}

/// A plan that an instance did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedPlan {
    /// The plan's version.
    pub version: Version,
    /// The instance's reason.
    pub reason: String,
}
