//! Spoor on a real cluster: the chart in a namespace under the restricted Pod Security Standard,
//! with the real Jaeger and Collector, on whatever cluster `KUBECONFIG` names. The images `spoor`
//! and `spoor-operator` must be there (with the tag `dev` or `SPOOR_IMAGE_TAG`), and `helm` and
//! `kubectl` on the `PATH` (or named by `HELM` and `KUBECTL`).
//!
//! # Concurrent tests
//!
//! Tests mostly wait: for rollouts, for drains, for traces to be decided on. So up to three of them
//! run at once, each with an installation of the whole chart in a namespace of its own (`lab`). A
//! test finds its installation in a clean state: no policies, the stack as it was installed. Tests of
//! Spoor's sampler share a small installation without applications, one at a time; the others use
//! the Collector's own tail sampler. The first test in a namespace installs, and the last test of
//! all uninstalls everything, unless `SPOOR_KEEP_CLUSTER=1`. Tests that change what installations
//! share are in `alone`: each waits until it is the only one. As `.ci/run` does, run them first:
//!
//! ```text
//! cargo test -p spoor-operator --test it -- cluster::alone:: --test-threads 1
//! cargo test -p spoor-operator --test it -- cluster:: --skip cluster::alone:: --test-threads 3
//! ```

mod command;
mod comparison;
mod edge;
mod jaeger;
mod lab;
mod load;
mod node;
mod objects;
mod pods;
mod policies;
mod stack;
mod tree;

mod alone;
mod applications;
mod faults;
mod head;
mod lessons;
mod permissions;
mod releases;
mod replicas;
mod route;
mod sampler;
mod samples;
mod scaling;
mod sdks;
mod tail;
