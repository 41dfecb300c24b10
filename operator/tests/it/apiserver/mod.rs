//! A real API server for the tests: etcd and kube-apiserver from `KUBEBUILDER_ASSETS`, with
//! RBAC, ServiceAccount tokens and an audit log. There are no controllers, no scheduler and no
//! kubelet: a test does itself what those would do, such as making a pod Ready.
//!
//! All tests of a binary share one server, each in a namespace of its own; a test that stops the
//! server, or whose operator must not see objects of other tests, starts a private one.
#![allow(dead_code, unused_imports)] // The tests and the benchmarks each use a part.

mod apply;
mod assets;
mod audit;
mod certificates;
mod eventually;
mod namespace;
mod process;
mod server;
mod users;

pub use assets::{Assets, assets};
pub use audit::{Call, Mark};
pub use eventually::eventually;
pub use namespace::{Namespace, PodIdentity};
pub use process::Process;
pub use server::ApiServer;

use tokio::sync::OnceCell;

/// The server that all tests of this binary share. None, with a message, if its
/// programs are missing; with `SPOOR_REQUIRE_ALL=1` that is a failure.
pub async fn shared(test: &str) -> Option<&'static ApiServer> {
    static SHARED: OnceCell<ApiServer> = OnceCell::const_new();
    let assets = assets(test)?;
    Some(SHARED.get_or_init(|| ApiServer::start(assets)).await)
}

/// A server for this test alone.
pub async fn private(test: &str) -> Option<ApiServer> {
    Some(ApiServer::start(assets(test)?).await)
}
