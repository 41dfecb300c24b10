//! Divides rate limits again when instances come or go.

use std::{sync::Arc, time::Instant};

use tokio::runtime::Handle;

use super::Control;
use crate::service::Service;

impl Control {
    /// Divides a service's rate limits again after [`ControlSettings::settle_delay`], if its number of
    /// instances has changed.
    ///
    /// The delay collects changes that come together, such as a rollout: each division is a new
    /// version of the plan for every instance.
    ///
    /// [`ControlSettings::settle_delay`]: crate::settings::ControlSettings::settle_delay
    pub(crate) fn schedule_rebalance(&self, service: &Arc<Service>) {
        let sharers = service.state().served.as_ref().and_then(|it| it.sharers);
        let is_settled = sharers.is_none_or(|sharers| sharers == self.0.sharers(service));
        if is_settled || !service.claim_rebalance() {
            return;
        }
        let (control, service) = (self.clone(), service.clone());
        let Ok(runtime) = Handle::try_current() else {
            // If a session is dropped after its runtime, there are no streams to send plans to.
            service.release_rebalance();
            return;
        };
        runtime.spawn(async move {
            let settings = &control.0.settings;
            let stop = settings.shutdown.cancelled();
            let stopped = tokio::time::timeout(settings.settle_delay, stop).await;
            if stopped.is_err() {
                let rebalance = move |control: &Self| {
                    // Before the division: a change during it must schedule another.
                    service.release_rebalance();
                    control.rebalance(&service);
                };
                control.run_blocking(rebalance).await;
            }
        });
    }

    /// Serves a service's plan with its rate limits divided by the present number of instances.
    fn rebalance(&self, service: &Service) {
        let inner = &*self.0;
        // Held while serving, as in `publish`, so that versions reach a service in order.
        let mut sequence = inner.sequence.lock();
        let Some(published) = inner.published.load_full() else {
            return;
        };
        let next = *sequence + 1;
        // The number is used only if the plan differs from the one in force.
        if inner.serve(service, &published, inner.version(next), Instant::now()) {
            *sequence = next;
        }
    }
}
