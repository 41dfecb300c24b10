//! ensemble: asks both models at once and weighs their votes.

use spoor_proto::DESCRIPTORS;
use spoor_telemetry::{
    Telemetry,
    serve::{GRACE, Grpc, Listen, Ports, Program, ServeError},
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// What can be set about ensemble.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where it listens.
    #[command(flatten)]
    pub listen: Listen,
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
        let server = Grpc {
            routes: Routes::default(),
            services: vec![],
            descriptors: DESCRIPTORS,
            grace: GRACE,
        };
        ports.serve_grpc(server, telemetry, shutdown).await
    }
}
