//! ensemble: asks both models at once and weighs their votes.

mod member;
mod service;
mod vote;
mod weights;

use std::time::Duration;

use spoor_proto::{
    DESCRIPTORS,
    spoor::vision::v1::{
        ensemble_server::{EnsembleServer, SERVICE_NAME},
        model_client::ModelClient,
    },
};
use spoor_telemetry::{
    Telemetry,
    duration::parse_deadline,
    grpc::PeerUrl,
    serve::{GRACE, Grpc, Listen, Ports, Program, ServeError},
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::model::BuiltIn;
use member::Member;
use service::Service;

pub use weights::{InvalidWeights, Weights};

/// A tensor of the largest size for each model, and room to spare.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// What can be set about ensemble.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where it listens.
    #[command(flatten)]
    pub listen: Listen,
    /// Where efficientnetb0 is, such as http://127.0.0.1:9009; it may come later.
    #[arg(
        long,
        env = "SPOOR_EFFICIENTNETB0_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:9009"
    )]
    pub efficientnetb0: PeerUrl,
    /// Where mobilenetv2 is, such as http://127.0.0.1:9010; it may come later.
    #[arg(
        long,
        env = "SPOOR_MOBILENETV2_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:9010"
    )]
    pub mobilenetv2: PeerUrl,
    /// What each model's word is worth, such as efficientnetb0=0.6,mobilenetv2=0.4
    /// [default: as accurate as the models say they are]
    #[arg(long, env = "SPOOR_ENSEMBLE_WEIGHTS", value_name = "WEIGHTS")]
    pub weights: Option<Weights>,
    /// How long a model may take, such as 5s, before the other decides alone.
    #[arg(
        long,
        env = "SPOOR_MODEL_DEADLINE",
        value_name = "DURATION",
        default_value = "5s",
        value_parser = parse_deadline
    )]
    pub model_deadline: Duration,
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
        let member = |model, url: &PeerUrl| Member {
            model,
            client: ModelClient::new(telemetry.grpc_channel(url)),
            deadline: self.model_deadline,
        };
        let service = Service {
            members: vec![
                member(BuiltIn::Efficientnetb0, &self.efficientnetb0),
                member(BuiltIn::Mobilenetv2, &self.mobilenetv2),
            ],
            weights: self.weights,
        };
        let service = EnsembleServer::new(service).max_decoding_message_size(MOST_BYTES);
        let server = Grpc {
            routes: Routes::new(service),
            services: vec![SERVICE_NAME],
            descriptors: DESCRIPTORS,
            grace: GRACE,
        };
        ports.serve_grpc(server, telemetry, shutdown).await
    }
}
