//! The rules in force.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;
use spoor_policy::{Digest, Version};
use spoor_proto::spoor::control::v1::{self as wire, RuleCount, TailCount, TailRules};
use spoor_traces::Forwarder;

use crate::{InvalidRules, Rules, saved::RulesFile};

/// The rules by which a forwarder decides, and the state of their source.
#[derive(Debug)]
pub(crate) struct RulesInForce {
    forwarder: Forwarder,
    file: Option<RulesFile>,
    held: Mutex<Option<HeldRules>>,
    is_connected: AtomicBool,
}

/// The identity of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeldRules {
    pub(crate) version: Version,
    pub(crate) digest: Digest,
}

impl From<&Rules> for HeldRules {
    fn from(rules: &Rules) -> Self {
        Self {
            version: rules.version,
            digest: rules.digest,
        }
    }
}

impl RulesInForce {
    /// `held` are the rules by which the forwarder decides from its start.
    pub(crate) fn new(
        forwarder: Forwarder,
        file: Option<RulesFile>,
        held: Option<HeldRules>,
    ) -> Self {
        Self {
            forwarder,
            file,
            held: Mutex::new(held),
            is_connected: AtomicBool::new(false),
        }
    }

    pub(crate) fn held(&self) -> Option<HeldRules> {
        *self.held.lock()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.is_connected.load(Relaxed)
    }

    pub(crate) fn set_connected(&self, is_connected: bool) {
        self.is_connected.store(is_connected, Relaxed);
    }

    /// Puts the saved rules in force, unless there are others already.
    pub(crate) fn load(&self) {
        let saved = self.file.as_ref().and_then(RulesFile::load_if_valid);
        let mut held = self.held.lock();
        if let Some(rules) = saved.filter(|_| held.is_none()) {
            *held = Some(HeldRules::from(&rules));
            self.forwarder.set_tail(rules.version, rules.table);
        }
    }

    /// Puts valid rules in force and saves them. Otherwise the former ones stay.
    pub(crate) async fn install(&self, message: &TailRules) -> Result<Version, InvalidRules> {
        let rules = Rules::read(message)?;
        let held = HeldRules::from(&rules);
        {
            // Held until they are in force, so that saved ones cannot replace them.
            let mut present = self.held.lock();
            self.forwarder.set_tail(rules.version, rules.table);
            *present = Some(held);
        }
        tracing::info!(
            version = %held.version,
            digest = %held.digest,
            policies = message.policies.len(),
            "tail rules in force"
        );
        if let Some(file) = &self.file
            && let Err(error) = file.save(message).await
        {
            // In force nevertheless: only a restart without the control plane needs the file.
            let path = file.path().display();
            tracing::warn!(%error, %path, "cannot save the tail rules");
        }
        Ok(held.version)
    }

    /// The decisions by the latest rules, for a report.
    pub(crate) fn counts(&self) -> Vec<TailCount> {
        let counts = self.forwarder.tail_counts().into_iter();
        let counts = counts.map(|count| {
            let decisions = count.decisions;
            let rules = decisions.rules.into_iter().map(|(rule, kept)| RuleCount {
                rule: rule.to_string(),
                kept,
            });
            TailCount {
                version: Some(to_wire(count.version)),
                policy: count.policy.name.to_string(),
                decided: decisions.decided,
                rules: rules.collect(),
                unmatched: decisions.unmatched,
                unmatched_kept: decisions.unmatched_kept,
            }
        });
        counts.collect()
    }
}

pub(crate) fn to_wire(version: Version) -> wire::Version {
    wire::Version {
        epoch: version.epoch,
        sequence: version.sequence,
    }
}
