//! Converts a plan from the wire to the views that decide.

use std::sync::Arc;

use hashbrown::HashMap;
use spoor_policy::{Probability, Strategies, Version};
use spoor_proto::spoor::control::v1 as wire;

use super::{
    HeldPlan,
    bucket::{self, Level, TokenBucket},
    counts::Counters,
    view::{Entry, Rule, View},
};

/// The most phases in a plan.
const MAX_PHASES: usize = 1024;

/// The reason why a plan was refused. The previous plan stays in force.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct PlanRefusal {
    /// The version that the plan has.
    pub version: wire::Version,
    /// The field that is invalid, and its valid values.
    pub reason: String,
}

/// A valid plan.
#[derive(Debug)]
pub(super) struct PreparedPlan {
    pub(super) held: HeldPlan,
    pub(super) phases: Vec<PreparedPhase>,
    pub(super) counters: Arc<Counters>,
    /// The rate limits' levels by operation, for the next plan.
    pub(super) levels: Levels,
}

#[derive(Debug)]
pub(super) struct PreparedPhase {
    pub(super) until_unix_millis: Option<i64>,
    pub(super) view: Arc<View>,
}

pub(super) type Levels = HashMap<Box<str>, Level>;

/// Checks a plan and prepares it. `levels` are those of the plan in force.
pub(super) fn prepare(plan: wire::Plan, levels: &Levels) -> Result<PreparedPlan, PlanRefusal> {
    let version = plan.version;
    let refusal = |reason| PlanRefusal {
        version: version.unwrap_or_default(),
        reason,
    };
    let Some(wire::Version { epoch, sequence }) = version else {
        return Err(refusal("version: must be set".to_owned()));
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
    let mut previous_end = None;
    for (index, phase) in plan.phases.iter().enumerate() {
        let end = phase.until_unix_millis;
        let is_last = index + 1 == count;
        if end.is_none() != is_last {
            return Err(format!(
                "phases[{index}].until_unix_millis: must be set in every phase but the last"
            ));
        }
        if !is_last && previous_end.is_some() && end <= previous_end {
            return Err(format!(
                "phases[{index}].until_unix_millis: must be later than in the previous phase"
            ));
        }
        previous_end = end;
        check_operations(&phase.operations)
            .map_err(|problem| format!("phases[{index}].operations: {problem}"))?;
    }
    Ok(())
}

fn check_operations(operations: &[wire::OperationStrategy]) -> Result<(), String> {
    let (count, max) = (operations.len(), Strategies::MAX_OPERATIONS);
    if count > max {
        return Err(format!("must have at most {max} entries, not {count}"));
    }
    let mut names = hashbrown::HashSet::with_capacity(count);
    for wire::OperationStrategy { operation, .. } in operations {
        if operation.is_empty() {
            return Err("an operation must not be empty".to_owned());
        }
        if !names.insert(operation.as_str()) {
            return Err(format!("duplicate operation \"{operation}\"; list it once"));
        }
    }
    Ok(())
}

struct Builder<'a> {
    version: Version,
    entries: HashMap<Box<str>, usize>,
    counters: Arc<Counters>,
    previous_levels: &'a Levels,
    levels: Levels,
    now: u64,
}

impl<'a> Builder<'a> {
    /// An operation has the same entry in all phases.
    fn new(version: Version, plan: &wire::Plan, previous_levels: &'a Levels) -> Self {
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
        Self {
            version,
            entries,
            counters,
            previous_levels,
            levels: Levels::new(),
            now: bucket::now(),
        }
    }

    fn build(mut self, plan: wire::Plan) -> Result<PreparedPlan, String> {
        let phases = plan.phases.into_iter().enumerate();
        let phases = phases
            .map(|(index, phase)| {
                let prepared = self.phase(phase);
                prepared.map_err(|problem| format!("phases[{index}].{problem}"))
            })
            .collect::<Result<_, _>>()?;
        Ok(PreparedPlan {
            held: HeldPlan {
                version: self.version,
                digest: plan.digest,
            },
            phases,
            counters: self.counters,
            levels: self.levels,
        })
    }

    fn phase(&mut self, phase: wire::Phase) -> Result<PreparedPhase, String> {
        let default = phase.default.map(|strategy| self.rule("", &strategy));
        let default = default.transpose()?;
        // Sparse, since it is read far more often than written: lookups then hardly ever compare
        // different names.
        let mut operations = HashMap::with_capacity(4 * phase.operations.len());
        for named in phase.operations {
            let rule = self.rule(&named.operation, &named.strategy.unwrap_or_default())?;
            let index = self.entries.get(named.operation.as_str()).copied();
            let index = index.unwrap_or_default();
            operations.insert(named.operation.into_boxed_str(), Entry { index, rule });
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
            Some(ProbabilityMillionths(value)) => match Probability::from_millionths(value) {
                Ok(probability) => return Ok(Rule::probability(probability)),
                Err(_) => format!("probability_millionths must be at most 1000000, not {value}"),
            },
            Some(TracesPerSecond(rate)) if rate.is_finite() && rate > 0.0 => {
                return Ok(Rule::RateLimit(self.bucket(operation, rate)));
            }
            Some(TracesPerSecond(value)) => {
                format!("traces_per_second must be greater than 0, not {value}")
            }
            None => "must have a strategy that this client supports".to_owned(),
        };
        let field = match operation {
            "" => "default".to_owned(),
            name => format!("operations[{name:?}]"),
        };
        Err(format!("{field}: {problem}"))
    }

    fn bucket(&mut self, operation: &str, rate: f64) -> TokenBucket {
        // Phases and successive plans share one level for each operation, so that a change
        // never adds a token.
        let previous = || self.previous_levels.get(operation);
        let level = self.levels.get(operation).or_else(previous).cloned();
        let bucket = TokenBucket::new(rate, level, self.now);
        self.levels
            .insert(operation.into(), Arc::clone(&bucket.level));
        bucket
    }
}
