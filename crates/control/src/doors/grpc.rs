//! Jaeger's remote sampling over gRPC.

use http::header::USER_AGENT;
use spoor_policy::ServiceName;
use spoor_proto::jaeger::api_v2::{
    SamplingStrategyParameters, SamplingStrategyResponse,
    sampling_manager_server::{SamplingManager, SamplingManagerServer},
};
use tonic::{Request, Response, Status, metadata::MetadataValue};

use crate::{Control, metrics::Door, pollers::Asker};

/// Far more than a service's name takes.
const MAX_REQUEST: usize = 4 * 1024;

impl Control {
    /// `jaeger.api_v2.SamplingManager`.
    #[must_use]
    pub fn sampling_grpc(&self) -> SamplingManagerServer<impl SamplingManager + use<>> {
        SamplingManagerServer::new(Sampling(self.clone())).max_decoding_message_size(MAX_REQUEST)
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
        let asker = request
            .remote_addr()
            .map(|peer| Asker::new(peer, user_agent));
        let peer = asker.as_ref().map(Asker::address);
        let service = ServiceName::new(&request.get_ref().service_name)
            .map_err(|error| Status::invalid_argument(format!("serviceName {error}")))?;
        let identified = control.0.settings.identify.polling(peer, &service);
        let namespace = identified
            .inspect_err(|denied| control.0.metrics.refused(Door::Grpc, denied.reason()))?;
        let answer = control
            .answer(namespace, service, asker.as_ref())
            .ok_or_else(|| Status::unavailable("no policies are known yet"))?;
        control.0.metrics.polled(Door::Grpc);
        Ok(Response::new(answer.into_proto()))
    }
}
