//! The operator: resources become Jaeger, the Collector, live sampling, and a status that proves
//! it. The only crate with a Kubernetes client.
//!
//! One program, two roles, each with its own Deployment, ServiceAccount and Lease: [`stacks`]
//! creates Jaeger and the Collector; [`policies`] resolves sampling policies, serves them at the
//! doors and says in their status what became of them. So what listens to the network can't create
//! pods.

pub mod cli;
pub mod crds;
pub mod kubernetes;
pub mod lease;
mod logs;
pub mod ops;
pub mod policies;
pub mod settings;
pub mod stacks;
