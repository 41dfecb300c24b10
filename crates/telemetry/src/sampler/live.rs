//! The plan in force.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use jiff::Timestamp;
use parking_lot::Mutex;
use spoor_policy::Version;
use spoor_proto::spoor::control::v1 as wire;

use super::{
    bucket,
    counts::{Counters, Decisions},
    plan::{self, Levels, PlanRefusal, PreparedPlan},
    to_wire,
    view::View,
};

/// The most plans whose counts are reported: the one in force and those before it.
const MAX_REMEMBERED_PLANS: usize = 8;

/// The plan in force: installed by the control stream, read by the sampler.
#[derive(derive_more::Debug)]
#[debug("Live({:?})", self.held())]
pub struct Live {
    /// The generation of `view`, which a thread compares before it uses its own copy.
    pub(super) generation: AtomicU64,
    view: ArcSwap<View>,
    plans: Mutex<Plans>,
}

struct Plans {
    current: Option<PreparedPlan>,
    /// The number of the shares in force, or 0 while the plan's rates apply unchanged.
    shares: u64,
    /// The counts of the current plan and those before it, newest first.
    counters: VecDeque<Arc<Counters>>,
    /// The counts before the first plan.
    without_plan: Arc<Counters>,
    /// The sum of the counts that were removed.
    forgotten: Decisions,
}

/// The version and the digest of the plan in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPlan {
    /// The version.
    pub version: Version,
    /// The digest from the control plane.
    pub digest: Vec<u8>,
}

impl Default for Live {
    /// Creates a state without a plan, in which the sampler's fallback decides.
    fn default() -> Self {
        let counters = Arc::new(Counters::new(None, vec!["".into()]));
        let without_plan = Arc::clone(&counters);
        let view = View::new(None, HashMap::new(), counters);
        let plans = Plans {
            current: None,
            shares: 0,
            counters: VecDeque::new(),
            without_plan,
            forgotten: Decisions::default(),
        };
        Self {
            generation: AtomicU64::new(view.generation),
            view: ArcSwap::from_pointee(view),
            plans: Mutex::new(plans),
        }
    }
}

impl Live {
    /// Puts a plan in force. It applies to every decision that starts after this returns. Returns
    /// the plan's version.
    ///
    /// # Errors
    /// [`PlanRefusal`], and the earlier plan stays in force.
    pub fn install(&self, plan: wire::Plan) -> Result<Version, PlanRefusal> {
        let mut plans = self.plans.lock();
        // On a new connection, the control plane may send the same plan again. Its counts continue,
        // but the shares of the previous connection end.
        if let Some(same) = plans.installed(&plan) {
            self.set_shares(&mut plans, &wire::Shares::default());
            return Ok(same);
        }
        let none = Levels::new();
        let current = plans.current.as_ref();
        let levels = current.map_or(&none, |current| &current.levels);
        let prepared = plan::prepare(plan, levels)?;
        let version = prepared.held.version;
        plans.counters.push_front(Arc::clone(&prepared.counters));
        if plans.counters.len() > MAX_REMEMBERED_PLANS
            && let Some(oldest) = plans.counters.pop_back()
        {
            plans.forgotten += oldest.decisions();
        }
        plans.current = Some(prepared);
        plans.shares = 0;
        self.enter_phase(&plans, Timestamp::now());
        Ok(version)
    }

    /// Changes the rates of the plan in force. Returns false, and changes nothing, if the shares
    /// are for another plan or invalid.
    pub fn apply_shares(&self, shares: &wire::Shares) -> bool {
        let mut plans = self.plans.lock();
        let current = plans.current.as_ref();
        let is_current =
            current.is_some_and(|plan| shares.version == Some(to_wire(plan.held.version)));
        let mut factors = shares.shares.iter().map(|share| share.factor);
        // Zero or infinity would close or open a bucket for good.
        let is_valid = factors.all(|factor| factor.is_normal() && factor > 0.0);
        if is_current && is_valid {
            self.set_shares(&mut plans, shares);
            return true;
        }
        false
    }

    /// The number of the shares in force, or 0 while the plan's rates apply unchanged.
    #[must_use]
    pub fn shares(&self) -> u64 {
        self.plans.lock().shares
    }

    fn set_shares(&self, plans: &mut Plans, shares: &wire::Shares) {
        if plans.shares == shares.number {
            return;
        }
        plans.shares = shares.number;
        let named = shares.shares.iter();
        let factors: HashMap<&str, f64> = named
            .map(|share| (share.operation.as_str(), share.factor))
            .collect();
        let factor = |operation: &str| factors.get(operation).copied().unwrap_or(1.0);
        let in_force = self.view();
        for phase in plans.current.iter().flat_map(|plan| &plan.phases) {
            let is_in_force = Arc::ptr_eq(&phase.view, &in_force);
            for (operation, bucket) in phase.view.buckets() {
                // Phases share their levels, so only the bucket in force converts its level.
                match is_in_force {
                    true => bucket.set_share_in_force(factor(operation), bucket::now()),
                    false => bucket.set_share(factor(operation)),
                }
            }
        }
    }

    /// Starts the phase of the plan for this time. The control stream calls this when a phase ends,
    /// connected or not.
    pub fn advance(&self, now: Timestamp) {
        self.enter_phase(&self.plans.lock(), now);
    }

    /// The end of the first phase that has not ended by `now`.
    #[must_use]
    pub fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        let plans = self.plans.lock();
        let ends = plans.current.iter().flat_map(|plan| &plan.phases);
        ends.filter_map(|phase| Timestamp::from_millisecond(phase.until_unix_millis?).ok())
            .find(|end| *end > now)
    }

    /// The version and the digest of the plan in force; `None` before the first.
    #[must_use]
    pub fn held(&self) -> Option<HeldPlan> {
        let plans = self.plans.lock();
        plans.current.as_ref().map(|current| current.held.clone())
    }

    /// The root decisions under each entry of the plan in force and of the last ones before it,
    /// since the process started. Entries without any are left out.
    #[must_use]
    pub fn counts(&self) -> Vec<wire::Count> {
        // Copied, so that the sum does not delay a new plan.
        let counters = self.plans.lock().counters.clone();
        counters.iter().flat_map(|it| it.report()).collect()
    }

    /// All root decisions, with any plan or none.
    #[must_use]
    pub fn decisions(&self) -> Decisions {
        let plans = self.plans.lock();
        let mut all = plans.forgotten;
        for counters in plans.counters.iter().chain([&plans.without_plan]) {
            all += counters.decisions();
        }
        all
    }

    pub(super) fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    fn enter_phase(&self, plans: &Plans, now: Timestamp) {
        let now = now.as_millisecond();
        let is_current = |until: Option<i64>| until.is_none_or(|until| now < until);
        let mut phases = plans.current.iter().flat_map(|plan| &plan.phases);
        let Some(phase) = phases.find(|phase| is_current(phase.until_unix_millis)) else {
            return;
        };
        // In this order: a thread that reads the new generation also reads the new view.
        self.view.store(Arc::clone(&phase.view));
        self.generation
            .store(phase.view.generation, Ordering::Release);
    }
}

impl Plans {
    /// The version of the plan, if it is already in force. Its counts then continue.
    fn installed(&self, plan: &wire::Plan) -> Option<Version> {
        let held = &self.current.as_ref()?.held;
        let is_same = plan.version == Some(to_wire(held.version)) && held.digest == plan.digest;
        is_same.then_some(held.version)
    }
}
