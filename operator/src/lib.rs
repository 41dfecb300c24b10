//! The operator: resources become Jaeger, the Collector, live sampling, and a status that proves
//! it. The only crate with a Kubernetes client.
