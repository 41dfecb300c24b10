//! Serves strategies to unmodified SDKs that poll.

use std::time::Instant;

use jiff::Timestamp;
use spoor_policy::{ServiceName, Strategies};
use spoor_proto::jaeger::api_v2::SamplingStrategyResponse;

use super::Control;
use crate::{identity::Denied, jaeger_strategy, metrics::Endpoint, pollers::PollSource};

impl Control {
    /// The strategy for a client that polls.
    ///
    /// Records the request: clients that poll regularly count as instances.
    pub(crate) fn poll(
        &self,
        endpoint: Endpoint,
        service: ServiceName,
        source: Option<&PollSource>,
    ) -> Result<SamplingStrategyResponse, Denied> {
        let address = source.map(PollSource::address);
        let count = |denied: &Denied| self.0.metrics.count_refused(endpoint, denied.reason());
        let namespace = self.0.settings.identify.polling(address, &service);
        let namespace = namespace.inspect_err(count)?;
        let now = Instant::now();
        let key = (namespace, service);
        // Before the first publication, a client gets no strategy and is not recorded.
        let published = self.0.published.load_full();
        let published = published.ok_or(Denied::NotPublished).inspect_err(count)?;
        let known = self.0.services.get(&key);
        if let Some(source) = source {
            self.0.pollers.record(&key, source, now);
            if let Some(service) = &known {
                self.schedule_rebalance(service);
            }
            self.notify_change();
        }
        let plan = published.plan(&key);
        let none = Strategies::default();
        let strategies = plan.at(Timestamp::now()).unwrap_or(&none);
        // A closure, since only rate limits need the number, and counting takes locks.
        let instances = || {
            let connected = known.map_or(0, |service| service.state().connected);
            connected + self.0.pollers.sharers(&key, source, now)
        };
        let default = self.0.settings.polling_default;
        self.0.metrics.count_poll(endpoint);
        Ok(jaeger_strategy::response(strategies, default, instances))
    }
}
