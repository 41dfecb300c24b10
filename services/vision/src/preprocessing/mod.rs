//! preprocessing: the edge. Takes a picture over HTTP and makes of it what the models see.

mod answer;
mod classify;
mod ensemble;
mod failure;
mod form;
mod page;
mod picture;
mod tensor;
mod upload;
mod wanted;

use std::time::Duration;

use axum::{Router, routing::post};
use spoor_proto::spoor::vision::v1::ensemble_client::EnsembleClient;
use spoor_telemetry::{
    Telemetry,
    duration::parse_deadline,
    grpc::PeerUrl,
    http::{Bounds, bounded, guarded},
    serve::{GRACE, Listen, Ports, Program, ServeError},
};
use tokio_util::sync::CancellationToken;

use crate::workers::Workers;
use classify::Classifier;
use ensemble::Ensemble;
use upload::Memory;
use wanted::Known;

pub use tensor::numbers;

/// Requests in flight; more are refused at once.
const MOST_AT_ONCE: usize = 1024;
/// Uploads that are held in memory, all together.
const UPLOADS: usize = 4 * upload::MOST_BYTES;

/// What can be set about preprocessing.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where it listens.
    #[command(flatten)]
    pub listen: Listen,
    /// Where ensemble is, such as http://127.0.0.1:9008; it may come later.
    #[arg(
        long,
        env = "SPOOR_ENSEMBLE_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:9008"
    )]
    pub ensemble: PeerUrl,
    /// How long a picture may take to come, and then to be classified, such as 10s.
    #[arg(
        long,
        env = "SPOOR_DEADLINE",
        value_name = "DURATION",
        default_value = "10s",
        value_parser = parse_deadline
    )]
    pub deadline: Duration,
    /// How many pictures may wait for a processor; more are refused at once.
    #[arg(
        long,
        env = "SPOOR_PICTURE_QUEUE",
        value_name = "NUMBER",
        default_value_t = 64,
        value_parser = clap::value_parser!(u16).range(0..=1024)
    )]
    pub queue: u16,
}

impl Program for Args {
    type Error = ServeError;

    fn listen(&mut self) -> &mut Listen {
        &mut self.listen
    }

    async fn serve(
        self,
        ports: Ports,
        telemetry: &Telemetry,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        let deadline = self.deadline;
        let classifier = Classifier {
            ensemble: Ensemble {
                client: EnsembleClient::new(telemetry.grpc_channel(&self.ensemble)),
                deadline,
            },
            known: Known::default(),
            workers: Workers::new(self.queue.into()),
            uploads: Memory::new(UPLOADS),
            pictures: Memory::new(picture::MOST_MEMORY as usize),
            deadline,
        };
        let bounds = Bounds {
            at_once: MOST_AT_ONCE,
            body_bytes: upload::MOST_BYTES,
            deadline: deadline * 2,
        };
        let router = Router::new()
            .route("/classify", post(classify::classify))
            .merge(page::router())
            .with_state(classifier);
        let router = guarded(router, page::CONTENT_SECURITY_POLICY);
        ports
            .serve_http(
                bounded(router, bounds),
                bounds.deadline + GRACE,
                telemetry,
                shutdown,
            )
            .await
    }
}
