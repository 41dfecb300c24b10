//! Errors of sending load.

use http::Uri;
use spoor_vision::samples::EncodeError;

use crate::service::Service;

/// The error of sending load.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The address is not of the form `http://HOST:PORT`.
    #[error("--url: must be such as http://127.0.0.1:8080, not {0}")]
    Address(Uri),
    /// The path is not valid in a request.
    #[error("--path: must be such as /?wait=0ms, not {path}")]
    Path {
        /// The invalid path.
        path: String,
        /// The cause.
        source: http::Error,
    },
    /// Options that contradict each other.
    #[error("{0}")]
    Options(String),
    /// The lab runs none of the scenario's services.
    #[error("the lab does not run the services that the scenario {scenario} needs ({}); start them, or give their addresses with --url", names(.edges))]
    NoTarget {
        /// The scenario.
        scenario: &'static str,
        /// The services it sends to.
        edges: Vec<Service>,
    },
    /// An image to send could not be drawn.
    #[error("cannot draw the images to send")]
    Picture(#[from] EncodeError),
    /// The histogram of latencies could not be created.
    #[error("cannot create the histogram of latencies: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
    /// The address accepts no connections.
    #[error("cannot connect to {address}: {source}; is it running? `spoor up` starts the lab")]
    Connect {
        /// The address.
        address: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The task of a connection failed.
    #[error("a connection's task failed: {0}")]
    Connection(#[source] tokio::task::JoinError),
    /// A connection's task was still running at the end.
    #[error("a connection's task did not end")]
    Unfinished,
}

fn names(edges: &[Service]) -> String {
    let names: Vec<&str> = edges.iter().map(|edge| edge.name()).collect();
    names.join(", ")
}
