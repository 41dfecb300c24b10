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
    /// The field that is wrong, and what would be right.
    pub reason: String,
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
    let named = plan.version;
    let refusal = |reason| PlanRefusal {
        version: named.unwrap_or_default(),
        reason,
    };
    let Some(wire::Version { epoch, sequence }) = named else {
        return Err(refusal("version: must be there".to_owned()));
    };
    check(&plan).map_err(refusal)?;
    let version = Version { epoch, sequence };
    let builder = Builder::new(version, &plan, levels);
    builder.build(plan).map_err(refusal)
}

fn check(plan: &wire::Plan) -> Result<(), String> {
    let count = plan.phases.len();
    if count == 0 || count > MAX_PHASES {
        return Err(format!(
            "phases: must have from 1 to {MAX_PHASES} entries, not {count}"
        ));
    }
    let mut before = None;
    for (place, phase) in plan.phases.iter().enumerate() {
        let end = phase.until_unix_millis;
        let is_last = place + 1 == count;
        if end.is_none() != is_last {
            return Err(format!(
                "phases[{place}].until_unix_millis: must be there in each phase but the last"
            ));
        }
        if !is_last && before.is_some() && end <= before {
            return Err(format!(
                "phases[{place}].until_unix_millis: must be later than the phase before's"
            ));
        }
        before = end;
        check_operations(&phase.operations)
            .map_err(|problem| format!("phases[{place}].operations: {problem}"))?;
    }
    Ok(())
}

fn check_operations(operations: &[wire::OperationStrategy]) -> Result<(), String> {
    let count = operations.len();
    if count > MAX_OPERATIONS {
        return Err(format!(
            "must have at most {MAX_OPERATIONS} entries, not {count}"
        ));
    }
    let mut names = hashbrown::HashSet::with_capacity(count);
    for wire::OperationStrategy { operation, .. } in operations {
        if operation.is_empty() {
            return Err("an operation must not be empty".to_owned());
        }
        if !names.insert(operation.as_str()) {
            return Err(format!("\"{operation}\" must be there once"));
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

    fn build(mut self, plan: wire::Plan) -> Result<Prepared, String> {
        let phases = plan.phases.into_iter().enumerate();
        let phases = phases
            .map(|(place, phase)| {
                let prepared = self.phase(phase);
                prepared.map_err(|problem| format!("phases[{place}] {problem}"))
            })
            .collect::<Result<_, _>>()?;
        Ok(Prepared {
            version: self.version,
            digest: plan.digest,
            phases,
            counters: self.counters,
            levels: self.levels,
        })
    }

    fn phase(&mut self, phase: wire::Phase) -> Result<PreparedPhase, String> {
        let default = phase.default.map(|strategy| self.rule("", &strategy));
        let default = default.transpose()?;
        // Sparse, since it is read far more often than written: a lookup hardly ever meets a
        // name that is not the one sought.
        let mut operations = HashMap::with_capacity(4 * phase.operations.len());
        for wire::OperationStrategy {
            operation,
            strategy,
        } in phase.operations
        {
            let rule = self.rule(&operation, &strategy.unwrap_or_default())?;
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

    fn rule(&mut self, operation: &str, strategy: &wire::Strategy) -> Result<Rule, String> {
        use wire::strategy::Strategy::{ProbabilityMillionths, TracesPerSecond};
        let problem = match strategy.strategy {
            Some(ProbabilityMillionths(found)) => match Probability::from_millionths(found) {
                Ok(probability) => return Ok(Rule::probability(probability)),
                Err(_) => format!("probability_millionths must be at most 1000000, not {found}"),
            },
            Some(TracesPerSecond(rate)) if rate.is_finite() && rate > 0.0 => {
                return Ok(Rule::RateLimit(self.bucket(operation, rate)));
            }
            Some(TracesPerSecond(found)) => {
                format!("traces_per_second must be a number over 0, not {found}")
            }
            None => "must have a strategy that this client knows".to_owned(),
        };
        Err(format!("\"{operation}\": {problem}"))
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
