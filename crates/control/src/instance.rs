//! The public types of services' instances.

use std::{collections::BTreeMap, time::Duration};

use spoor_policy::{Namespace, ServiceName, Version};

/// The identity of a service.
pub(crate) type ServiceKey = (Namespace, ServiceName);

/// An instance of a service: a pod, or on one machine a process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance {
    /// The namespace.
    pub namespace: Namespace,
    /// The service.
    pub service: ServiceName,
    /// The ID, as in [`Identity::instance`](crate::Identity::instance). Several processes may have
    /// the same one.
    pub id: String,
}

/// The state of an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceState {
    /// The instance.
    pub instance: Instance,
    /// True if it is expected.
    pub is_expected: bool,
    /// True if it has an open stream.
    pub is_connected: bool,
    /// The version that it last acknowledged. With several processes, the oldest of their versions.
    pub held: Option<Version>,
    /// True if that is its service's newest plan, and the instance is not silent.
    pub is_current: bool,
    /// The time from the publication to that acknowledgement, or from the start of the stream if
    /// that is later. With several processes, the longest.
    pub took: Option<Duration>,
    /// Spans that the receiver of its exporter has accepted since its processes started.
    pub spans_exported: u64,
    /// Spans that it has dropped since then, by reason. At most eight reasons of each process are
    /// counted. If its processes together have more, the others are counted under `Other`.
    pub spans_dropped: BTreeMap<String, u64>,
}
