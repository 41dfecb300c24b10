//! Jaeger's remote sampling over gRPC.

use http::header::USER_AGENT;
use spoor_policy::ServiceName;
use spoor_proto::jaeger::api_v2::{
    SamplingStrategyParameters, SamplingStrategyResponse,
    sampling_manager_server::{SamplingManager, SamplingManagerServer},
};
use tonic::{Request, Response, Status, metadata::MetadataValue};

use crate::{control::Control, metrics::Endpoint, pollers::PollSource};

/// The longest request accepted, far longer than a service name.
const MAX_REQUEST_BYTES: usize = 4 * 1024;

impl Control {
    /// The gRPC service `jaeger.api_v2.SamplingManager`.
    #[must_use]
    pub fn sampling_grpc(&self) -> SamplingManagerServer<impl SamplingManager + use<>> {
        SamplingManagerServer::new(Sampling(self.clone()))
            // tonic's default accepts 4 MiB, far more than a name.
            .max_decoding_message_size(MAX_REQUEST_BYTES)
    }
}

struct Sampling(Control);

#[tonic::async_trait]
impl SamplingManager for Sampling {
    async fn get_sampling_strategy(
        &self,
        request: Request<SamplingStrategyParameters>,
    ) -> Result<Response<SamplingStrategyResponse>, Status> {
        let Self(control) = self;
        let user_agent = request.metadata().get(USER_AGENT.as_str());
        let user_agent = user_agent.map(MetadataValue::as_encoded_bytes);
        let source = request
            .remote_addr()
            .map(|peer| PollSource::new(peer, user_agent));
        let service = ServiceName::new(&request.get_ref().service_name)
            .inspect_err(|_| control.metrics().count_refused(Endpoint::Grpc, "Malformed"))
            .map_err(|error| Status::invalid_argument(format!("serviceName {error}")))?;
        let response = control.poll(Endpoint::Grpc, service, source, Response::new);
        Ok(response.await?)
    }
}
