//! Hostile input to every port of the lab. No process panics, exits or grows without bound, no
//! response is a server error (except 505, for an unknown version of HTTP), and afterwards the lab
//! works as before.

mod attempts;
mod connection;
mod deadlines;
mod descriptors;
mod frames;
mod listeners;
mod processes;
mod requests;
mod streams;

use std::{fs::File, net::SocketAddr};

use tokio::task::JoinSet;

use crate::lab::Lab;
use listeners::{GRPC, HTTP, Listener};
use processes::Processes;

#[tokio::test(flavor = "multi_thread")]
async fn hostile_input_harms_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let lab = Lab::start_logging_to(File::create(&log).unwrap(), folder, &[]).await;
    listeners::assert_all_are_known(lab.urls());
    let before = Processes::of(&lab).await;

    attack_each(&lab, HTTP, requests::arbitrary).await;
    attack_each(&lab, HTTP, requests::too_large).await;
    attack_each(&lab, HTTP, requests::broken).await;
    attack_each(&lab, HTTP, deadlines::unfinished).await;
    attack_each(&lab, GRPC, frames::malformed).await;
    attack_each(&lab, GRPC, frames::invalid_http2).await;

    before.assert_healthy(&lab, &log).await;
}

/// Runs an attack on all listeners concurrently.
async fn attack_each<F>(
    lab: &Lab,
    listeners: &'static [Listener],
    attack: impl Fn(&'static Listener, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut attacks = JoinSet::new();
    for listener in listeners {
        attacks.spawn(attack(listener, listeners::address(lab.url(listener.name))));
    }
    while let Some(ended) = attacks.join_next().await {
        if let Err(failed) = ended {
            std::panic::resume_unwind(failed.into_panic());
        }
    }
}
