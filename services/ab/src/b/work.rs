//! The handling of a request by service-b.

use std::time::Duration;

use spoor_proto::spoor::ab::v1::{WorkReply, WorkRequest, service_b_server::ServiceB};
use spoor_telemetry::{database, duration::DurationRange, faults::simulate_failure};
use tonic::{Request, Response, Status};
use tracing::Instrument;

use super::{Rounds, ServiceBArgs, calc::Calculator};

/// The gRPC service `spoor.ab.v1.ServiceB`.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) settings: ServiceBArgs,
    pub(super) calculator: Calculator,
}

#[tonic::async_trait]
impl ServiceB for Work {
    async fn work(&self, request: Request<WorkRequest>) -> Result<Response<WorkReply>, Status> {
        let request = request.into_inner();
        // Both are validated before the wait, so that an invalid request fails
        // immediately.
        let wait = self.wait_of(&request)?;
        let rounds = self.rounds_of(&request)?;
        query(wait).await;
        let result = self
            .calculator
            .run(rounds)
            .await
            .map_err(|_| Status::internal("heavy_calc was aborted"))?;
        // Only after the work, so that failed requests take as long as others.
        simulate_failure(self.settings.error_rate)
            .map_err(|failure| Status::internal(failure.to_string()))?;
        let waited_millis = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        Ok(Response::new(WorkReply {
            waited_millis,
            result,
        }))
    }
}

impl Work {
    fn wait_of(&self, request: &WorkRequest) -> Result<Duration, Status> {
        let Some(millis) = request.wait_millis else {
            return Ok(self.settings.wait.pick());
        };
        let wait = Duration::from_millis(millis.into());
        if wait > DurationRange::MAX {
            let max = DurationRange::MAX.as_millis();
            return Err(Status::invalid_argument(format!(
                "wait_millis: must be at most {max}, not {millis}"
            )));
        }
        Ok(wait)
    }

    fn rounds_of(&self, request: &WorkRequest) -> Result<Rounds, Status> {
        let default = self.settings.calc;
        let rounds = request.calc_rounds.map_or(Ok(default), Rounds::new);
        rounds.map_err(|error| Status::invalid_argument(format!("calc_rounds: {error}")))
    }
}

/// Waits in a span like that of a database client, so that a trace shows where the time goes. A
/// wait of zero makes no span.
async fn query(wait: Duration) {
    if wait.is_zero() {
        return;
    }
    let text = "SELECT * FROM orders WHERE customer = $1";
    let span = database::statement("postgresql", "SELECT orders", text);
    tokio::time::sleep(wait).instrument(span).await;
}
