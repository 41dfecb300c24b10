//! Why load could not be sent.

use http::Uri;
use spoor_vision::samples::EncodeError;

use crate::service::Service;

/// Why load could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No `http://HOST:PORT`.
    #[error("--url: must be like http://127.0.0.1:8080, not {0}")]
    Address(Uri),
    /// Not the path of a request.
    #[error("--path: must be like /?wait=0ms, not {path}")]
    Path {
        /// What was given.
        path: String,
        /// Why it does not do.
        source: http::Error,
    },
    /// Options that can't hold together.
    #[error("{0}")]
    Options(String),
    /// None of the services that the scenario is for.
    #[error("{scenario} sends to {}, and none of them runs: start it, or say with --url where it is", names(.edges))]
    Nowhere {
        /// The scenario.
        scenario: &'static str,
        /// Whom it sends to.
        edges: Vec<Service>,
    },
    /// A picture to send could not be made.
    #[error("drawing the pictures to send")]
    Picture(#[from] EncodeError),
    /// No memory for the latencies.
    #[error("preparing the histogram of latencies: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
    /// Nobody there.
    #[error("connecting to {address}: {source}; is it running? `spoor up` starts the lab")]
    Connect {
        /// Where to.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A connection's own work broke off.
    #[error("sending: {0}")]
    Connection(#[source] tokio::task::JoinError),
    /// A connection was still at work at the end.
    #[error("a connection did not end")]
    Unfinished,
}

fn names(edges: &[Service]) -> String {
    let names: Vec<&str> = edges.iter().map(|edge| edge.name()).collect();
    names.join(", ")
}
