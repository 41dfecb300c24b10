//! The convergence of instances to a version.

use std::time::{Duration, Instant};

use spoor_policy::Version;

use super::Control;
use crate::record::PlanState;

/// The shortest time between two checks of all instances.
///
/// With a check after every acknowledgement, the work would grow with the square of the number of
/// instances.
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
        let (silent_after, now) = (self.0.settings.silent_after, Instant::now());
        let mut all = Convergence::default();
        for service in self.0.services.all() {
            let state = service.state();
            let served = state.served.as_deref();
            let has_changed = served.is_some_and(|served| served.version >= version);
            if only_changed && !has_changed {
                continue;
            }
            for (_, processes) in state.expected_or_connected() {
                // Returns at the first instance that has not converged.
                if processes?.plan_state(served, silent_after, now) != PlanState::Current {
                    return None;
                }
                all.instances += 1;
                if has_changed {
                    all.took = all.took.max(processes?.took().unwrap_or_default());
                }
            }
        }
        Some(all)
    }
}
