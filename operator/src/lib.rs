//! The Spoor operator. It turns `TracingStack`s into Jaeger and the Collector, serves sampling
//! policies to running services, and reports in each resource's status what took effect. This is
//! the only crate with a Kubernetes client.
//!
//! One program has two roles, each with its own Deployment, ServiceAccount and Lease: [`stacks`]
//! creates Jaeger and the Collector; [`policies`] resolves sampling policies and serves them on its
//! listeners. The role that listens on the network therefore has no permission to create pods.

pub mod cli;
pub mod crds;
pub mod kubernetes;
pub mod lease;
mod logs;
pub mod policies;
pub mod role;
mod sampling_policy;
pub mod settings;
pub mod stacks;
