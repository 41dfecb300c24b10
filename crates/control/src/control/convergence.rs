//! The convergence of instances to a version.

use std::time::{Duration, Instant};

use spoor_policy::Version;

use super::Control;
use crate::{record::PlanState, service::Service};

/// The shortest time between two checks of all instances.
///
/// A check after every acknowledgement would cost the square of the number of instances.
const MIN_CHECK_INTERVAL: Duration = Duration::from_millis(2);

/// The state in which every expected and connected instance has its service's newest plan in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Convergence {
    /// The number of instances.
    pub instances: usize,
    /// The time from the publication to the last acknowledgement of a plan that it changed. Zero
    /// if it changed no plan.
    pub took: Duration,
}

impl Control {
    /// Waits until this version or a later one is published, every expected and connected instance
    /// has its service's newest plan in force, and none is silent. There is no timeout.
    pub async fn converged(&self, version: Version) -> Convergence {
        let mut changed = self.changed();
        loop {
            // Before the check, so that a change during the check is not missed.
            changed.mark_unchanged();
            if let Some(convergence) = self.convergence(version) {
                return convergence;
            }
            // The sender lives in `Control`, so it cannot close while this borrows it.
            let _ = changed.changed().await;
            tokio::time::sleep(MIN_CHECK_INTERVAL).await;
        }
    }

    /// The result of [`Control::converged`], if it is complete now. With thousands of services, this
    /// takes milliseconds.
    #[must_use]
    pub fn convergence(&self, version: Version) -> Option<Convergence> {
        self.convergence_of(version, false)
    }

    /// Like [`Control::convergence`], but only for the services whose plan has changed at this
    /// version or later.
    #[must_use]
    pub fn convergence_where_changed(&self, version: Version) -> Option<Convergence> {
        self.convergence_of(version, true)
    }

    fn convergence_of(&self, version: Version, only_changed: bool) -> Option<Convergence> {
        let published = self.0.published.load();
        if published.as_ref().is_none_or(|it| it.version < version) {
            return None;
        }
        let now = Instant::now();
        let mut all = Convergence::default();
        for service in self.0.services.all() {
            if only_changed && !has_plan_since(&service, version) {
                continue;
            }
            let silent_after = self.0.settings.silent_after;
            // Returns at the first instance that has not converged.
            let of_service = convergence_of(&service, version, silent_after, now)?;
            all.instances += of_service.instances;
            all.took = all.took.max(of_service.took);
        }
        Some(all)
    }
}

fn has_plan_since(service: &Service, version: Version) -> bool {
    let state = service.state();
    let served = state.served.as_ref();
    served.is_some_and(|served| served.version >= version)
}

fn convergence_of(
    service: &Service,
    version: Version,
    silent_after: Duration,
    now: Instant,
) -> Option<Convergence> {
    let state = service.state();
    let served = state.served.as_deref();
    let (mut instances, mut took) = (0, Duration::ZERO);
    for (_, processes) in state.expected_or_connected() {
        if processes?.plan_state(served, silent_after, now) != PlanState::Current {
            return None;
        }
        instances += 1;
        if served.is_some_and(|served| served.version >= version) {
            took = took.max(processes?.took().unwrap_or_default());
        }
    }
    Some(Convergence { instances, took })
}
