//! service-a: the edge. It takes requests over HTTP and lets service-b do the work.

mod edge;
mod failure;
mod query;

use std::time::Duration;

use spoor_proto::spoor::ab::v1::service_b_client::ServiceBClient;
use spoor_telemetry::{
    Telemetry, duration,
    grpc::{Channel, PeerUrl},
    serve::{GRACE, Listen, Ports, Program, ServeError},
};
use tokio_util::sync::CancellationToken;

use edge::Edge;

/// service-b behind the layer that traces each call.
type ServiceB = ServiceBClient<Channel>;

/// What can be set about service-a.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where it listens.
    #[command(flatten)]
    pub listen: Listen,
    /// Where service-b is, such as http://127.0.0.1:9001; it may come later.
    #[arg(
        long,
        env = "SPOOR_SERVICE_B_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:9001"
    )]
    pub service_b: PeerUrl,
    /// How long a request may take, such as 5s, before it is given up.
    #[arg(
        long,
        env = "SPOOR_DEADLINE",
        value_name = "DURATION",
        default_value = "5s",
        value_parser = duration::parse_deadline
    )]
    pub deadline: Duration,
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
        let Args {
            service_b,
            deadline,
            ..
        } = self;
        let edge = Edge {
            service_b: ServiceBClient::new(telemetry.grpc_channel(&service_b)),
            deadline,
        };
        ports
            .serve_http(edge.router(), deadline + GRACE, telemetry, shutdown)
            .await
    }
}
