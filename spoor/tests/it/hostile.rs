//! Input that anyone may send to any port of the lab. Nothing panics, ends or grows without bound;
//! no response blames the server; and afterwards the lab is as before.

mod attempts;
mod connection;
mod deadlines;
mod descriptors;
mod frames;
mod listeners;
mod requests;
mod streams;
mod survivors;

use std::{fs::File, net::SocketAddr};

use tokio::task::JoinSet;

use crate::lab::Lab;
use listeners::{GRPC, HTTP, Listener};
use survivors::Survivors;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_sent_brings_anything_down() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let lab = Lab::start_logging_to(File::create(&log).unwrap(), folder, &[]).await;
    listeners::assert_all_are_known(lab.urls());
    let before = Survivors::of(&lab).await;

    each(&lab, HTTP, requests::any).await;
    each(&lab, HTTP, requests::too_large).await;
    each(&lab, HTTP, requests::broken).await;
    each(&lab, HTTP, deadlines::is_bounded).await;
    each(&lab, GRPC, frames::any).await;
    each(&lab, GRPC, frames::no_http2).await;

    before.assert_unharmed(&lab, &log).await;
}

/// Sends to all listeners at once.
async fn each<F>(
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
