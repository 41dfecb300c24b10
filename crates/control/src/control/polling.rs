//! Serves strategies to unmodified SDKs that poll.

use std::time::Instant;

use jiff::Timestamp;
use spoor_policy::{ServiceName, Strategies};
use spoor_proto::jaeger::api_v2::SamplingStrategyResponse;

use super::Control;
use crate::{identity::Denied, jaeger_strategy, metrics::Endpoint, pollers::PollSource};

/// The most operations in a response that is made on the worker thread that received the request,
/// which takes less time than handing the work to another thread. Thousands take milliseconds.
const MAX_OPERATIONS_INLINE: usize = 64;

impl Control {
    /// The strategy for a client that polls, encoded for its endpoint by `encode`.
    ///
    /// Records the request: clients that poll regularly count as instances.
    pub(crate) async fn poll<T: Send + 'static>(
        &self,
        endpoint: Endpoint,
        service: ServiceName,
        source: Option<PollSource>,
        encode: impl FnOnce(SamplingStrategyResponse) -> T + Send + 'static,
    ) -> Result<T, Denied> {
        let address = source.as_ref().map(|it| it.address);
        let count = |denied: &Denied| self.0.metrics.count_refused(endpoint, denied.reason());
        let namespace = self.0.settings.identify.polling(address, &service);
        let namespace = namespace.inspect_err(count)?;
        let now = Instant::now();
        let key = (namespace, service);
        // Before the first publication, a client gets no strategy and is not recorded.
        let published = self.0.published.load_full();
        let published = published.ok_or(Denied::NotPublished).inspect_err(count)?;
        let known = self.0.services.get(&key);
        if let Some(source) = &source {
            self.0.pollers.record(&key, source, now);
            if let Some(service) = &known {
                self.schedule_rebalance(service);
            }
            self.notify_change();
        }
        let time = Timestamp::now();
        let strategies = published.plan(&key).at(time);
        let operations = strategies.map_or(0, |it| it.operations.len());
        let respond = move |control: &Self| {
            let none = Strategies::default();
            let strategies = published.plan(&key).at(time).unwrap_or(&none);
            // A closure, since only rate limits need the number, and counting takes locks.
            let instances = || {
                let connected = known.map_or(0, |service| service.state().connected);
                connected + control.0.pollers.sharers(&key, source.as_ref(), now)
            };
            let default = control.0.settings.polling_default;
            encode(jaeger_strategy::response(strategies, default, instances))
        };
        let response = if operations <= MAX_OPERATIONS_INLINE {
            Some(respond(self))
        } else {
            self.run_blocking(respond).await
        };
        let response = response.ok_or(Denied::Busy).inspect_err(count)?;
        self.0.metrics.count_poll(endpoint);
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use spoor_policy::{
        Namespace, Policy, PolicyFields, PolicyKey, Probability, Strategy, Target, resolve,
    };
    use tokio::time::timeout;

    use super::*;
    use crate::settings::ControlSettings;

    /// A policy for 40 operations of a service.
    fn policy(name: &str, service: &str) -> Policy {
        let operations = (0..40).map(|number| format!("{name}-{number}").parse().unwrap());
        let target = Target {
            service: service.parse().unwrap(),
            operations: operations.collect(),
        };
        Policy::new(PolicyFields {
            key: PolicyKey {
                namespace: Namespace::default(),
                name: name.parse().unwrap(),
            },
            priority: 0,
            created: Timestamp::UNIX_EPOCH,
            targets: vec![target],
            head: Some(Strategy::Probability(Probability::NEVER)),
            tail: None,
            expires_at: None,
        })
        .unwrap()
    }

    #[tokio::test]
    async fn only_long_responses_wait_for_a_turn() {
        let control = Control::new(ControlSettings::default());
        let policies = [
            policy("one", "short"),
            policy("two", "long"),
            policy("three", "long"),
        ];
        control.publish(resolve(&policies, Timestamp::now()));
        let poll = |service: &str| {
            let operations = |response: SamplingStrategyResponse| {
                let operations = response.operation_sampling.unwrap();
                operations.per_operation_strategies.len()
            };
            let service = service.parse().unwrap();
            control.poll(Endpoint::Http, service, None, operations)
        };
        let turn = control.0.blocking_turn.acquire().await.unwrap();
        assert_eq!(poll("short").await, Ok(40));
        let waiting = timeout(Duration::ZERO, poll("long")).await;
        assert!(waiting.is_err(), "it waits for its turn");
        drop(turn);
        assert_eq!(poll("long").await, Ok(80));
    }
}
