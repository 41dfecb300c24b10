//! Spoor on a real cluster: the chart in a namespace under the restricted Pod Security Standard,
//! with the real Jaeger and Collector, on whatever cluster `KUBECONFIG` names. The images `spoor`
//! and `spoor-operator` must be there (of the tag `dev`, or of `SPOOR_IMAGE_TAG`), and `helm` and
//! `kubectl` on the `PATH` (or named by `HELM` and `KUBECTL`).
//!
//! There is one cluster, so one test at a time has it, in a clean state: no policies, the stack
//! as it was installed. The first installs; the last that waits uninstalls, unless
//! `SPOOR_KEEP_CLUSTER=1`.

mod command;
mod edge;
mod jaeger;
mod lab;
mod load;
mod objects;
mod pods;
mod policies;
mod stack;
mod tree;

mod applications;
mod faults;
mod head;
mod installation;
mod lessons;
mod releases;
mod replicas;
mod rights;
mod route;
mod samples;
mod sdks;
mod tail;
