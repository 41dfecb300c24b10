//! preprocessing: an edge that accepts pictures over HTTP and prepares the models' inputs.

mod classify;
mod ensemble;
mod error;
mod form;
mod inputs;
mod page;
mod picture;
mod reply;
mod tensor;
mod upload;

use std::time::Duration;

use axum::{Router, routing::post};
use spoor_proto::spoor::vision::v1::ensemble_client::EnsembleClient;
use spoor_telemetry::{
    duration::parse_deadline,
    grpc::PeerUrl,
    http::{Bounds, bounded, guarded},
    serve::{GRACE, Program, ServeError, Server},
};

use crate::workers::Workers;
use classify::Classifier;
use ensemble::Ensemble;
use inputs::InputCache;
use upload::Memory;

pub use tensor::prepare;

/// The memory for all uploads together.
const MAX_UPLOADS_BYTES: usize = 4 * upload::MAX_BODY_BYTES;

/// The settings of preprocessing.
#[derive(clap::Args, Clone, Debug)]
pub struct PreprocessingArgs {
    /// Address of ensemble, which need not be running yet
    #[arg(
        long,
        env = "SPOOR_ENSEMBLE_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:9008"
    )]
    pub ensemble: PeerUrl,
    /// Maximum time for a picture to arrive, and the same time again to classify it, such as 10s
    #[arg(
        long,
        env = "SPOOR_DEADLINE",
        value_name = "DURATION",
        default_value = "10s",
        value_parser = parse_deadline
    )]
    pub deadline: Duration,
    /// Maximum number of pictures in progress besides one for each CPU; more are refused
    #[arg(
        long,
        env = "SPOOR_PICTURE_QUEUE",
        value_name = "NUMBER",
        default_value_t = 64,
        value_parser = clap::value_parser!(u16).range(0..=1024)
    )]
    pub queue: u16,
}

impl Program for PreprocessingArgs {
    type Error = ServeError;

    async fn serve(self, server: Server) -> Result<(), ServeError> {
        let deadline = self.deadline;
        let classifier = Classifier {
            ensemble: Ensemble {
                client: EnsembleClient::new(server.telemetry.grpc_channel(&self.ensemble)),
                deadline,
            },
            inputs: InputCache::default(),
            workers: Workers::new(self.queue.into()),
            uploads: Memory::new(MAX_UPLOADS_BYTES),
            // Enough for one picture of the largest size, or for several smaller ones.
            pictures: Memory::new(picture::MAX_MEMORY_BYTES as usize),
            deadline,
        };
        let bounds = Bounds {
            max_body_bytes: upload::MAX_BODY_BYTES,
            // One for the upload, and one for the classification.
            deadline: deadline * 2,
        };
        let router = Router::new()
            .route("/classify", post(classify::classify))
            .merge(page::router())
            .with_state(classifier);
        let router = guarded(router, page::CONTENT_SECURITY_POLICY);
        server
            .serve_http(bounded(router, bounds), bounds.deadline + GRACE)
            .await
    }
}
