//! service-a: an edge that serves HTTP and calls service-b.

mod edge;
mod failure;
mod query;

use std::time::Duration;

use spoor_proto::spoor::ab::v1::service_b_client::ServiceBClient;
use spoor_telemetry::{
    duration,
    grpc::{Channel, PeerUrl},
    serve::{GRACE, Program, ServeError, Server},
};

use edge::Edge;

/// A client of service-b that traces each call.
type ServiceB = ServiceBClient<Channel>;

/// The settings of service-a.
#[derive(clap::Args, Clone, Debug)]
pub struct ServiceAArgs {
    /// Address of service-b, which need not be running yet
    #[arg(
        long,
        env = "SPOOR_SERVICE_B_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:9001"
    )]
    pub service_b: PeerUrl,
    /// Maximum time for a request, such as 5s
    #[arg(
        long,
        env = "SPOOR_DEADLINE",
        value_name = "DURATION",
        default_value = "5s",
        value_parser = duration::parse_deadline
    )]
    pub deadline: Duration,
}

impl Program for ServiceAArgs {
    type Error = ServeError;

    async fn serve(self, server: Server) -> Result<(), ServeError> {
        let edge = Edge {
            service_b: ServiceBClient::new(server.telemetry.grpc_channel(&self.service_b)),
            deadline: self.deadline,
        };
        // A request in progress at shutdown may take its whole deadline.
        let grace = self.deadline + GRACE;
        server.serve_http(edge.router(), grace).await
    }
}
