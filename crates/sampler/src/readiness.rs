//! The readiness of the sampler.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    in_force::RulesInForce,
    phase::{Phase, Phases},
};

/// The time for which a sampler without rules waits for the first ones until it is ready. Later it
/// is ready without them, and keeps every trace: otherwise an unavailable control plane would stop
/// all spans.
const FIRST_RULES_WAIT: Duration = Duration::from_secs(5);

/// The readiness of the sampler. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Readiness {
    phases: Phases,
    /// The time until which the first rules are awaited, if any are.
    awaits_rules_until: Option<Instant>,
    rules: Arc<RulesInForce>,
}

impl Readiness {
    /// `has_control` is true if rules come from a control plane.
    pub(crate) fn new(phases: Phases, rules: Arc<RulesInForce>, has_control: bool) -> Self {
        let is_awaiting = has_control && rules.held().is_none();
        Self {
            phases,
            awaits_rules_until: is_awaiting.then(|| Instant::now() + FIRST_RULES_WAIT),
            rules,
        }
    }

    /// Returns the reason why the sampler is not ready, if it is not.
    pub(crate) fn check(&self) -> Result<(), String> {
        let reason = match self.phases.get() {
            Phase::Starting | Phase::Leaving => "not serving",
            Phase::Learning => "waiting for the rings from the control plane or a peer",
            Phase::Draining => "a member of no ring",
            Phase::Serving if self.is_awaiting_rules() => {
                "waiting for the first tail rules from the control plane"
            }
            Phase::Serving => return Ok(()),
        };
        Err(reason.to_owned())
    }

    fn is_awaiting_rules(&self) -> bool {
        let is_early = |until| Instant::now() < until;
        self.awaits_rules_until.is_some_and(is_early) && self.rules.held().is_none()
    }
}
