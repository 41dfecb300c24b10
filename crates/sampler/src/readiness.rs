//! The readiness of the sampler.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::in_force::RulesInForce;

/// The time for which a sampler without rules waits for the first ones until it is ready. Later it
/// is ready without them, and keeps every trace: otherwise an unavailable control plane would stop
/// all spans.
const FIRST_RULES_WAIT: Duration = Duration::from_secs(5);

/// The readiness of the sampler. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Readiness {
    is_serving: Arc<AtomicBool>,
    /// The time until which the first rules are awaited, if any are.
    awaits_rules_until: Option<Instant>,
    rules: Arc<RulesInForce>,
}

impl Readiness {
    /// `has_control` is true if rules come from a control plane.
    pub(crate) fn new(rules: Arc<RulesInForce>, has_control: bool) -> Self {
        let is_awaiting = has_control && rules.held().is_none();
        Self {
            is_serving: Arc::default(),
            awaits_rules_until: is_awaiting.then(|| Instant::now() + FIRST_RULES_WAIT),
            rules,
        }
    }

    pub(crate) fn set_serving(&self, is_serving: bool) {
        self.is_serving.store(is_serving, Relaxed);
    }

    /// Returns the reason why the sampler is not ready, if it is not.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !self.is_serving.load(Relaxed) {
            return Err("not serving".to_owned());
        }
        let is_early = |until| Instant::now() < until;
        if self.awaits_rules_until.is_some_and(is_early) && self.rules.held().is_none() {
            return Err("waiting for the first tail rules of the control plane".to_owned());
        }
        Ok(())
    }
}
