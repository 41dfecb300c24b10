//! The status of a stack, for people and for the `policies` role.

mod health;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use spoor_api::{
    FieldError,
    stack::{Collector, Jaeger, Route, Sampler, SamplerEngine, Stack},
    status::{Condition, ConditionStatus, ConditionUpdate, conditions},
    tracing_stack::{SamplerStatus, StackEndpoints, TailInForce, TracingStackStatus},
};

pub use self::health::{StackHealth, live, sampler_set};
use super::{
    apply::{ApplyReport, StackProblem},
    build::{PoliciesService, jaeger, otlp_service},
    collector::{ports, rollout::RolloutWait},
    objects::labels::Component,
    parse::StackObject,
    rings::ScalingPlan,
    route::{CollectorAction, EngineChange, RoutePlan, Traffic},
};

/// The reason of `Progressing` while traffic moves from one route to the other.
pub const MOVING_TRAFFIC: &str = "MovingTraffic";

/// The reason of `Degraded` while spans were lost recently, unless there is another problem.
pub const SPANS_LOST: &str = "SpansLost";

/// The findings about a reconciled stack.
#[derive(Debug)]
pub struct Findings<'a> {
    /// The stack.
    pub stack: &'a Stack,
    /// The stack as the API server sent it.
    pub object: &'a StackObject,
    /// The status that was written last.
    pub previous: &'a TracingStackStatus,
    /// The health of its parts.
    pub health: &'a StackHealth,
    /// The next step of its change of route.
    pub route_plan: &'a RoutePlan,
    /// The reason why a tier of the Collector waits.
    pub waiting: Option<RolloutWait>,
    /// The next step of scaling its samplers, if it runs those of Spoor.
    pub scaling: Option<&'a ScalingPlan>,
    /// The result of applying its objects.
    pub report: &'a ApplyReport,
    /// The Service of the `policies` role.
    pub policies_service: &'a PoliciesService,
    /// Its pods.
    pub pods: &'a [Pod],
    /// The condition `Contested`, if another installation tried to claim the namespace.
    pub contested: Option<(&'static str, ConditionUpdate)>,
    /// The time.
    pub now: Timestamp,
}

impl Findings<'_> {
    /// Builds the status of a valid stack.
    #[must_use]
    pub fn status(&self) -> TracingStackStatus {
        let updates = [
            (Condition::AVAILABLE, self.available()),
            (Condition::PROGRESSING, self.progressing()),
            (Condition::DEGRADED, self.degraded()),
        ];
        let updates = updates.into_iter().chain(self.contested.clone());
        let generation = self.object.generation;
        TracingStackStatus {
            conditions: conditions(updates, generation, &self.previous.conditions, self.now),
            observed_generation: generation,
            endpoints: Some(self.endpoints()),
            route: Some(self.route_plan.route()),
            storage: Some(match &self.stack.jaeger {
                Jaeger::Managed(jaeger) => jaeger.storage.status_name().to_owned(),
                Jaeger::Existing(_) => "Existing".to_owned(),
            }),
            tail: self.tail(),
            sampler: self.sampler(),
        }
    }

    /// The condition `Available`: spans are accepted and traces can be queried.
    fn available(&self) -> ConditionUpdate {
        let target = self.route_plan.target;
        let mut missing = vec![];
        if target.route == Route::Collector {
            let parts = self.collector_parts(target.engine).into_iter();
            let unavailable = parts.filter(|(_, part)| !part.is_available);
            missing.extend(unavailable.map(|(name, _)| name));
        }
        if matches!(self.stack.jaeger, Jaeger::Managed(_)) && !self.health.jaeger.is_available {
            missing.push("Jaeger");
        }
        if missing.is_empty() {
            let message = "accepts spans and serves queries";
            ConditionUpdate::new(ConditionStatus::True, "Ready", message)
        } else {
            let message = format!("no ready pods for {}", missing.join(", "));
            ConditionUpdate::new(ConditionStatus::False, "NotReady", message)
        }
    }

    /// The condition `Progressing`: a change is under way.
    fn progressing(&self) -> ConditionUpdate {
        let Some((reason, message)) = self.change() else {
            let message = "everything runs as specified";
            return ConditionUpdate::new(ConditionStatus::False, "Settled", message);
        };
        ConditionUpdate::new(ConditionStatus::True, reason, message)
    }

    /// The change that is under way, as a reason and a message.
    fn change(&self) -> Option<(&'static str, String)> {
        let to = self.route_plan.target.route;
        match self.route_plan.traffic {
            Traffic::Waiting if self.stack.route == to => {
                return Some(("WaitingForRoute", self.engine_wait()));
            }
            Traffic::Moving { .. } if self.route_plan.route() == to => {
                let message = "new connections go to the Collector with the new sampler; those to \
                               the former one are ending";
                return Some((MOVING_TRAFFIC, message.to_owned()));
            }
            Traffic::Waiting => {
                let desired = self.stack.route;
                let message = format!("route {desired} is not ready yet; traffic stays on {to}");
                return Some(("WaitingForRoute", message));
            }
            Traffic::Moving { .. } => {
                let from = self.route_plan.route();
                let message =
                    format!("new connections take route {to}; those on {from} are ending");
                return Some((MOVING_TRAFFIC, message));
            }
            Traffic::Held => {
                let message = "the Collector stays until Jaeger is ready to accept the spans that \
                               it may still hold";
                return Some((MOVING_TRAFFIC, message.to_owned()));
            }
            Traffic::Settled => {}
        }
        if let Some(waiting) = self.waiting {
            return Some(("RollingOut", waiting.to_string()));
        }
        // The Deployment's status may still describe the previous revision, which looks complete.
        if !self.report.rolled.is_empty() {
            let rolled = self.report.rolled.join(" and ");
            let message = format!("applied {rolled}; waiting for the new pods");
            return Some(("RollingOut", message));
        }
        // Before the pods: those of the earlier stack say nothing about this one.
        if self.report.is_waiting {
            let message = "waiting until the former objects of the same names are deleted";
            return Some(("Replacing", message.to_owned()));
        }
        if let Some(message) = self.scaling.and_then(scaling_message) {
            return Some(("Scaling", message));
        }
        let rolling = self.parts().filter(|(_, part)| !part.is_complete);
        let names: Vec<_> = rolling.map(|(name, _)| name).collect();
        if !names.is_empty() {
            let message = format!("waiting for the pods of {}", names.join(" and "));
            return Some(("RollingOut", message));
        }
        if let EngineChange::Overlapping { .. } = self.route_plan.engine_change {
            let message = "the new sampler keeps every trace until none can have spans in the \
                           former one";
            return Some((MOVING_TRAFFIC, message.to_owned()));
        }
        self.route_plan.keeps_former_engine.then(|| {
            let message = "the former sampler stays until it has sent the traces that it may hold";
            (MOVING_TRAFFIC, message.to_owned())
        })
    }

    /// The reason why traffic stays on the former engine.
    fn engine_wait(&self) -> String {
        if self.route_plan.engine_change != EngineChange::Preparing {
            return "the new sampler is not ready yet; traffic stays on the former one".to_owned();
        }
        let message = "the new sampler is ready; traffic stays on the former one until that one \
                       keeps every trace";
        match self.waiting {
            Some(waiting) => format!("{message}; {waiting}"),
            None => message.to_owned(),
        }
    }

    /// The condition `Degraded`, which names the stack's problems.
    fn degraded(&self) -> ConditionUpdate {
        let problems = self.report.problems.iter();
        let problems = problems.map(|it| (it.reason, it.message.clone()));
        let failing = health::failing(self.pods, self.now).into_iter();
        let failing = failing.map(|message| ("PodsFailing", message));
        let mut problems: Vec<_> = problems.chain(failing).collect();
        // A condition has one reason, so the first problem gives it; the message contains all. Lost
        // spans come last, since they do not affect new ones.
        problems.sort_by_key(|(reason, _)| *reason == SPANS_LOST);
        let (reasons, messages): (Vec<_>, Vec<_>) = problems.into_iter().unzip();
        let Some(&reason) = reasons.first() else {
            return ConditionUpdate::new(ConditionStatus::False, "AsExpected", "no problems found");
        };
        let message = messages.join("; ");
        let mut before = self.previous.conditions.iter();
        let before = before.find(|condition| condition.kind == Condition::DEGRADED);
        // The Collector lists valid values in another order at every start, since Go's maps have
        // none. The first text stays, so that a restart alone does not change the status.
        let message = match before {
            Some(before) if words(&before.message) == words(&message) => before.message.clone(),
            _ => message,
        };
        ConditionUpdate::new(ConditionStatus::True, reason, message)
    }

    fn parts(&self) -> impl Iterator<Item = (&'static str, &health::PartHealth)> {
        let jaeger = matches!(self.stack.jaeger, Jaeger::Managed(_));
        let collector = self.route_plan.collector == CollectorAction::Run;
        let jaeger = jaeger.then_some(("Jaeger", &self.health.jaeger));
        let collector = collector.then(|| self.collector_parts(self.stack.sampler.engine()));
        jaeger.into_iter().chain(collector.into_iter().flatten())
    }

    /// The parts behind the route to the Collector that the operator runs, with their names.
    fn collector_parts(&self, engine: SamplerEngine) -> Vec<(&'static str, &health::PartHealth)> {
        let sampler = ("the sampler", &self.health.sampler);
        match (&self.stack.collector, engine) {
            (Collector::Managed(_), SamplerEngine::OpenTelemetry) => vec![
                ("the gathering Collector", &self.health.gather),
                ("the deciding Collector", &self.health.decide),
            ],
            (Collector::Managed(_), SamplerEngine::Spoor) => {
                vec![("the Collector", &self.health.collector), sampler]
            }
            (Collector::Existing(_), SamplerEngine::Spoor) => vec![sampler],
            (Collector::Existing(_), SamplerEngine::OpenTelemetry) => vec![],
        }
    }

    fn endpoints(&self) -> StackEndpoints {
        let namespace = &self.stack.namespace;
        let [collector, _] = Component::of_engine(self.stack.sampler.engine());
        let collector = collector.name_in(self.stack);
        let has_collector = matches!(self.stack.collector, Collector::Managed(_))
            && self.route_plan.collector == CollectorAction::Run;
        StackEndpoints {
            otlp: Some(otlp_service::address(self.stack)),
            query: match &self.stack.jaeger {
                Jaeger::Managed(_) => {
                    let service = jaeger::query_name(self.stack);
                    Some(format!("{service}.{namespace}.svc:{}", jaeger::QUERY_PORT))
                }
                Jaeger::Existing(existing) => existing.query.as_ref().map(ToString::to_string),
            },
            sampling: Some(format!("{}:5778", self.policies_service.host())),
            prometheus: has_collector
                .then(|| format!("{collector}.{namespace}.svc:{}", ports::SPAN_METRICS)),
        }
    }

    /// The samplers of Spoor, if the stack has them.
    fn sampler(&self) -> Option<SamplerStatus> {
        let Sampler::Spoor(sampler) = &self.stack.sampler else {
            return None;
        };
        let is_needed = self.route_plan.collector != CollectorAction::Remove;
        let previous = self.previous.sampler.as_ref();
        let rings = self.scaling.map(|plan| &plan.rings);
        let rings = rings.or_else(|| previous?.rings.as_ref());
        is_needed.then(|| SamplerStatus {
            engine: SamplerEngine::Spoor,
            replicas: sampler.replicas.into(),
            ready_replicas: self.health.ready_samplers,
            rings: rings.cloned(),
        })
    }

    /// The tail rules in force in the Collector's own sampler. During a rollout they are those from
    /// before. While the status of a stack with samplers has them, the role `policies` sends no
    /// rules to the samplers of its namespace.
    fn tail(&self) -> Option<TailInForce> {
        let is_managed = matches!(self.stack.collector, Collector::Managed(_));
        let target = self.route_plan.target;
        let is_stock = target.engine == SamplerEngine::OpenTelemetry
            || self.route_plan.engine_change.is_without_rules();
        if !is_managed || !is_stock || self.route_plan.collector == CollectorAction::Remove {
            return None;
        }
        let in_force = self.health.tail.clone();
        in_force.or_else(|| self.previous.tail.clone())
    }
}

/// The progress of scaling the samplers, if it is not complete.
fn scaling_message(plan: &ScalingPlan) -> Option<String> {
    let (current, former) = plan.rings.members.split_last()?;
    let replicas = plan.replicas;
    if !former.is_empty() {
        return Some(format!(
            "{current} of {replicas} samplers divide the new traces; earlier ones stay where they \
             are until no late spans are expected, which takes at least ten minutes"
        ));
    }
    (u32::from(replicas) > *current).then(|| {
        format!(
            "{current} of {replicas} samplers divide the traces; the others are starting, or \
             sending what they hold"
        )
    })
}

/// The status of a stack that is left as it is because of a problem.
#[must_use]
pub fn blocked(
    problem: StackProblem,
    contested: Option<(&'static str, ConditionUpdate)>,
    object: &StackObject,
    previous: &TracingStackStatus,
    now: Timestamp,
) -> TracingStackStatus {
    let degraded = ConditionUpdate::new(ConditionStatus::True, problem.reason, problem.message);
    let updates = std::iter::once((Condition::DEGRADED, degraded)).chain(contested);
    let updated = conditions(updates, object.generation, &previous.conditions, now);
    // The stack still runs as before, so its other conditions still hold.
    let others = previous.conditions.iter().filter(|condition| {
        ![Condition::DEGRADED, Condition::CONTESTED].contains(&condition.kind.as_str())
    });
    TracingStackStatus {
        conditions: others.cloned().chain(updated).collect(),
        observed_generation: object.generation,
        ..previous.clone()
    }
}

/// Joins all errors of a stack into one line.
#[must_use]
pub fn format_errors(errors: &[FieldError]) -> String {
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    errors.join("; ")
}

/// The words of a message in alphabetical order.
fn words(message: &str) -> Vec<&str> {
    let is_delimiter = |char: char| char.is_whitespace() || "[]()".contains(char);
    let mut words: Vec<_> = message.split(is_delimiter).collect();
    words.sort_unstable();
    words
}
