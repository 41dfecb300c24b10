//! Spoor's sampler while the API server is unavailable, and Kubernetes changes nothing.

use super::super::{
    faults::sampler::{Fault, assert_harmless},
    lab::Lab,
};

#[tokio::test(flavor = "multi_thread")]
async fn api_server_outage_loses_and_splits_nothing() {
    let Some(lab) = Lab::with_sampler_alone("sampler, no API server").await else {
        return;
    };
    assert_harmless(&lab, &[Fault::ApiServerPaused]).await;
}
