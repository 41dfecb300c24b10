//! ensemble: queries both models concurrently and computes a weighted vote.

mod member;
mod service;
mod vote;
mod weights;

use std::time::Duration;

use spoor_proto::{
    DESCRIPTORS,
    spoor::vision::v1::{ensemble_server::EnsembleServer, model_client::ModelClient},
};
use spoor_telemetry::{
    duration::parse_deadline,
    grpc::PeerUrl,
    serve::{Grpc, Program, ServeError, Server},
};

use crate::model::BuiltIn;
use member::Member;
use service::Service;

pub use weights::{InvalidWeights, Weights};

/// The largest request accepted: for each model, a tensor of the largest size, 3 MiB, with its input,
/// which needs less than 1 KiB.
const MAX_REQUEST_BYTES: usize = 2 * ((3 << 20) + (1 << 10));

/// The settings of ensemble.
#[derive(clap::Args, Clone, Debug)]
pub struct EnsembleArgs {
    /// Address of efficientnetb0, which need not be running yet
    #[arg(
        long,
        env = "SPOOR_EFFICIENTNETB0_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:9009"
    )]
    pub efficientnetb0: PeerUrl,
    /// Address of mobilenetv2, which need not be running yet
    #[arg(
        long,
        env = "SPOOR_MOBILENETV2_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:9010"
    )]
    pub mobilenetv2: PeerUrl,
    /// Weights of the models' votes, such as efficientnetb0=0.6,mobilenetv2=0.4
    /// [default: the accuracies that the models declare]
    #[arg(long, env = "SPOOR_ENSEMBLE_WEIGHTS", value_name = "WEIGHTS")]
    pub weights: Option<Weights>,
    /// Maximum time for a model, such as 5s, after which the other one decides alone
    #[arg(
        long,
        env = "SPOOR_MODEL_DEADLINE",
        value_name = "DURATION",
        default_value = "5s",
        value_parser = parse_deadline
    )]
    pub model_deadline: Duration,
}

impl Program for EnsembleArgs {
    type Error = ServeError;

    async fn serve(self, server: Server) -> Result<(), ServeError> {
        let member = |model, url: &PeerUrl| Member {
            model,
            client: ModelClient::new(server.telemetry.grpc_channel(url)),
            deadline: self.model_deadline,
        };
        let service = Service {
            // In the order in which responses list the votes.
            members: vec![
                member(BuiltIn::Efficientnetb0, &self.efficientnetb0),
                member(BuiltIn::Mobilenetv2, &self.mobilenetv2),
            ],
            weights: self.weights,
        };
        let service = EnsembleServer::new(service).max_decoding_message_size(MAX_REQUEST_BYTES);
        server.serve_grpc(Grpc::new(service, DESCRIPTORS)).await
    }
}
