//! The phases of a sampler.

use tokio::sync::watch;

/// The phase of a sampler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing is served yet.
    Starting,
    /// The rings that are active are not known yet. It accepts no spans, since a trace could then
    /// be split between it and another sampler.
    Learning,
    /// It accepts spans. A sampler without peers is in this phase until it leaves.
    Serving,
    /// It is a member of no ring, and accepts spans from peers only.
    Draining,
    /// It shuts down.
    Leaving,
}

impl Phase {
    /// Returns whether the rings that are active are known, if there are any.
    pub(crate) fn has_learned(self) -> bool {
        !matches!(self, Self::Starting | Self::Learning)
    }
}

/// The current phase of a sampler, whose changes can be awaited. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Phases(watch::Sender<Phase>);

impl Default for Phases {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Starting))
    }
}

impl Phases {
    pub(crate) fn get(&self) -> Phase {
        *self.0.borrow()
    }

    /// Enters the phase that `next` returns, unless the sampler is leaving. Of two
    /// concurrent calls, the second one calls `next` after the first one has ended.
    pub(crate) fn enter(&self, next: impl FnOnce() -> Phase) {
        self.0.send_if_modified(|phase| {
            if *phase == Phase::Leaving {
                return false;
            }
            let next = next();
            let is_new = *phase != next;
            if is_new {
                tracing::info!(from = ?*phase, to = ?next, "phase changed");
            }
            *phase = next;
            is_new
        });
    }

    /// Waits for a phase for which `is_awaited` returns true, and returns it.
    pub(crate) async fn wait_for(&self, is_awaited: impl Fn(Phase) -> bool) -> Phase {
        let mut phases = self.0.subscribe();
        let awaited = phases.wait_for(|phase| is_awaited(*phase)).await;
        // There is an error only without a sender, and this is one.
        awaited.map_or(Phase::Leaving, |phase| *phase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn leaving_is_the_last_phase() {
        let phases = Phases::default();
        assert_eq!(phases.get(), Phase::Starting);
        let leaving = phases.clone();
        let waiting =
            tokio::spawn(async move { leaving.wait_for(|it| it == Phase::Leaving).await });
        phases.enter(|| Phase::Serving);
        assert_eq!(phases.get(), Phase::Serving);
        phases.enter(|| Phase::Leaving);
        phases.enter(|| Phase::Serving);
        assert_eq!(phases.get(), Phase::Leaving);
        assert_eq!(waiting.await.ok(), Some(Phase::Leaving));
    }
}
