//! From a plan as it came over the wire to the views that decide.

use std::sync::Arc;

use hashbrown::HashMap;
use spoor_policy::{Probability, Version};
use spoor_proto::spoor::control::v1 as wire;

use super::{
    bucket::{self, Level, TokenBucket},
    counts::Counters,
    view::{Entry, Rule, View},
};

/// Operations in a phase, at most.
const MAX_OPERATIONS: usize = 4096;
/// Phases in a plan, at most.
const MAX_PHASES: usize = 1024;

/// The reason that a plan was refused. The plan in force before stays.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct PlanRefusal {
    /// The plan's version, as it said it.
    pub version: wire::Version,
    /// The fault.
    pub reason: InvalidPlan,
}

/// A fault in a plan.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidPlan {
    /// No version to acknowledge.
    #[error("version: must be there")]
    MissingVersion,
    /// Nothing to decide by.
    #[error("phases: must have from 1 to {MAX_PHASES} entries, not {0}")]
    PhaseCount(usize),
    /// A phase that never ends has another behind it, or the last one ends.
    #[error("phases[{phase}].until_unix_millis: must be there in each phase but the last")]
    UnexpectedEnd {
        /// The phase's place.
        phase: usize,
    },
    /// A phase ends before the one in front of it.
    #[error("phases[{phase}].until_unix_millis: must be later than the phase before's")]
    EndsDescend {
        /// The phase's place.
        phase: usize,
    },
    /// More operations than a client takes.
    #[error("phases[{phase}].operations: must have at most {MAX_OPERATIONS} entries, not {found}")]
    TooManyOperations {
        /// The phase's place.
        phase: usize,
        /// Their number.
        found: usize,
    },
    /// An entry of the operations without a name.
    #[error("phases[{phase}].operations: an operation must not be empty")]
    UnnamedOperation {
        /// The phase's place.
        phase: usize,
    },
    /// Two entries for one name.
    #[error("phases[{phase}].operations: \"{operation}\" must be there once")]
    RepeatedOperation {
        /// The phase's place.
        phase: usize,
        /// The name.
        operation: String,
    },
    /// A strategy of a kind that this client does not know.
    #[error("phases[{phase}] \"{operation}\": must have a strategy that this client knows")]
    UnknownStrategy {
        /// The phase's place.
        phase: usize,
        /// The operation; empty for the default.
        operation: String,
    },
    /// A probability over 100 %.
    #[error(
        "phases[{phase}] \"{operation}\": probability_millionths must be at most 1000000, not {found}"
    )]
    Probability {
        /// The phase's place.
        phase: usize,
        /// The operation; empty for the default.
        operation: String,
        /// The number found.
        found: u32,
    },
    /// A rate that is no positive number.
    #[error(
        "phases[{phase}] \"{operation}\": traces_per_second must be a number over 0, not {found}"
    )]
    Rate {
        /// The phase's place.
        phase: usize,
        /// The operation; empty for the default.
        operation: String,
        /// The number found.
        found: f64,
    },
}

/// A plan that was found valid.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) version: Version,
    pub(super) digest: Vec<u8>,
    pub(super) phases: Vec<PreparedPhase>,
    pub(super) counters: Arc<Counters>,
    /// The rate limits' levels by operation, for the plan that follows.
    pub(super) levels: Levels,
}

#[derive(Debug)]
pub(super) struct PreparedPhase {
    pub(super) until_unix_millis: Option<i64>,
    pub(super) view: Arc<View>,
}

pub(super) type Levels = HashMap<Box<str>, Level>;

/// Checks a plan and lays it out; `levels` are those of the plan in force.
pub(super) fn prepare(plan: wire::Plan, levels: &Levels) -> Result<Prepared, PlanRefusal> {
    // A refusal names the version, and here there is none to name.
    let Some(version) = plan.version else {
        let version = wire::Version::default();
        return Err(PlanRefusal {
            version,
            reason: InvalidPlan::MissingVersion,
        });
    };
    let prepared = check(&plan).and_then(|()| {
        let version = Version {
            epoch: version.epoch,
            sequence: version.sequence,
        };
        Builder::new(version, &plan, levels).build(plan)
    });
    prepared.map_err(|reason| PlanRefusal { version, reason })
}

fn check(plan: &wire::Plan) -> Result<(), InvalidPlan> {
    let count = plan.phases.len();
    if count == 0 || count > MAX_PHASES {
        return Err(InvalidPlan::PhaseCount(count));
    }
    let mut before = None;
    for (phase, wire) in plan.phases.iter().enumerate() {
        let is_last = phase + 1 == count;
        if wire.until_unix_millis.is_none() != is_last {
            return Err(InvalidPlan::UnexpectedEnd { phase });
        }
        if !is_last && before.is_some() && wire.until_unix_millis <= before {
            return Err(InvalidPlan::EndsDescend { phase });
        }
        before = wire.until_unix_millis;
        check_operations(phase, &wire.operations)?;
    }
    Ok(())
}

fn check_operations(
    phase: usize,
    operations: &[wire::OperationStrategy],
) -> Result<(), InvalidPlan> {
    if operations.len() > MAX_OPERATIONS {
        return Err(InvalidPlan::TooManyOperations {
            phase,
            found: operations.len(),
        });
    }
    let mut names = hashbrown::HashSet::with_capacity(operations.len());
    for wire::OperationStrategy { operation, .. } in operations {
        if operation.is_empty() {
            return Err(InvalidPlan::UnnamedOperation { phase });
        }
        if !names.insert(operation.as_str()) {
            return Err(InvalidPlan::RepeatedOperation {
                phase,
                operation: operation.clone(),
            });
        }
    }
    Ok(())
}

struct Builder<'a> {
    version: Version,
    entries: HashMap<Box<str>, usize>,
    counters: Arc<Counters>,
    before: &'a Levels,
    levels: Levels,
    now: u64,
}

impl<'a> Builder<'a> {
    /// An operation counts under one entry in all phases.
    fn new(version: Version, plan: &wire::Plan, before: &'a Levels) -> Self {
        let mut names: Vec<Box<str>> = vec!["".into()];
        let mut entries = HashMap::new();
        for operation in plan.phases.iter().flat_map(|phase| &phase.operations) {
            let name = operation.operation.as_str();
            if !entries.contains_key(name) {
                entries.insert(Box::from(name), names.len());
                names.push(name.into());
            }
        }
        let counters = Arc::new(Counters::new(Some(version), names));
        let levels = Levels::new();
        Self {
            version,
            entries,
            counters,
            before,
            levels,
            now: bucket::now(),
        }
    }

    fn build(mut self, plan: wire::Plan) -> Result<Prepared, InvalidPlan> {
        let phases = plan.phases.into_iter().enumerate();
        let phases = phases
            .map(|(place, phase)| self.phase(place, phase))
            .collect::<Result<_, _>>()?;
        Ok(Prepared {
            version: self.version,
            digest: plan.digest,
            phases,
            counters: self.counters,
            levels: self.levels,
        })
    }

    fn phase(&mut self, place: usize, phase: wire::Phase) -> Result<PreparedPhase, InvalidPlan> {
        let default = match phase.default {
            Some(strategy) => Some(self.rule(place, "", &strategy)?),
            None => None,
        };
        // Sparse, since it is read far more often than written: a lookup hardly ever meets a
        // name that is not the one sought.
        let mut operations = HashMap::with_capacity(4 * phase.operations.len());
        for wire::OperationStrategy {
            operation,
            strategy,
        } in phase.operations
        {
            let rule = self.rule(place, &operation, &strategy.unwrap_or_default())?;
            let index = self
                .entries
                .get(operation.as_str())
                .copied()
                .unwrap_or_default();
            operations.insert(operation.into_boxed_str(), Entry { index, rule });
        }
        let view = View::new(default, operations, Arc::clone(&self.counters));
        Ok(PreparedPhase {
            until_unix_millis: phase.until_unix_millis,
            view: Arc::new(view),
        })
    }

    fn rule(
        &mut self,
        phase: usize,
        operation: &str,
        strategy: &wire::Strategy,
    ) -> Result<Rule, InvalidPlan> {
        use wire::strategy::Strategy::{ProbabilityMillionths, TracesPerSecond};
        let operation = operation.to_owned();
        match strategy.strategy {
            Some(ProbabilityMillionths(found)) => Probability::from_millionths(found)
                .map(Rule::probability)
                .map_err(|_| InvalidPlan::Probability {
                    phase,
                    operation,
                    found,
                }),
            Some(TracesPerSecond(rate)) if rate.is_finite() && rate > 0.0 => {
                Ok(Rule::RateLimit(self.bucket(&operation, rate)))
            }
            Some(TracesPerSecond(found)) => Err(InvalidPlan::Rate {
                phase,
                operation,
                found,
            }),
            None => Err(InvalidPlan::UnknownStrategy { phase, operation }),
        }
    }

    fn bucket(&mut self, operation: &str, rate: f64) -> TokenBucket {
        // Phases and successive plans share one level for each operation, so that no change gives a
        // token away.
        let level = self
            .levels
            .get(operation)
            .or_else(|| self.before.get(operation))
            .cloned();
        let bucket = TokenBucket::new(rate, level, self.now);
        self.levels
            .insert(operation.into(), Arc::clone(bucket.level()));
        bucket
    }
}
