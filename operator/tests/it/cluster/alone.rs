//! Tests that need the cluster to themselves: two replace the definitions that all installations
//! share, one has an operator that serves every namespace, one stops the API server for a while, and
//! those of `figures` measure. They pass in any order, and fastest before other tests, when nothing
//! else is installed.

mod figures;
mod former_release;
mod installation;
mod operator_for_all;
mod sampler;
