//! The six steps, for one stack.

use std::time::Duration;

use jiff::Timestamp;
use spoor_api::{
    TracingStack,
    stack::{Route, Stack},
    status::{Condition, ConditionStatus},
    tracing_stack::TracingStackStatus,
};

use super::{
    apply::{self, Problem, Report, Wanted},
    build::{self, Built, Surroundings, Tiers, entrance, labels::Component},
    children::Detail,
    collector::{
        self, DECIDE, GATHER, SPEC_HASH,
        rollout::{Live, Observed, Plan, Waiting},
    },
    dereference::{Cluster, Found, Seen},
    gather_losses::{self, GatherLosses},
    preprocess::preprocess,
    readings::{Look, Readings},
    route::{self, Fate, Progress, Traffic},
    status::{self, Findings, Health},
    validate::validate,
};
use crate::{
    kubernetes::{
        apply::{Applier, ApplyError},
        events::{Event, Events},
        resources::{self, reference},
    },
    lease::Claims,
};

/// After a failure that may pass.
const RETRY: Duration = Duration::from_secs(10);

/// What reconciling needs beside the stack.
pub struct Reconciler {
    /// What is followed.
    pub cluster: Cluster,
    /// Applies objects.
    pub applier: Applier,
    /// Tells events.
    pub events: Events,
    /// Asks Collectors how they are.
    pub readings: Readings,
    /// What gathering Collectors have lost.
    pub losses: GatherLosses,
    /// The namespaces that this installation serves.
    pub claims: Claims,
}

impl Reconciler {
    /// Brings the cluster to what a stack asks for, and says what became of it. Gives the time
    /// after which to do so again though nothing has changed. `trust_problem` is why the doors'
    /// certificate can't be kept valid.
    ///
    /// # Errors
    /// When the status can't be written.
    pub async fn reconcile(
        &self,
        seen: &Seen,
        surroundings: &Surroundings,
        trust_problem: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<Duration>, ApplyError> {
        let found = self.cluster.dereference(&seen.key);
        let asked = preprocess(seen, &found.policies, now);
        let valid = asked
            .stack
            .and_then(|stack| validate(&stack).map_err(|errors| status::sentence(&errors)));
        let stack = match valid {
            Ok(stack) => stack,
            Err(problem) => {
                let problem = Problem {
                    reason: "Invalid",
                    message: format!("{problem}; what ran before runs on"),
                };
                let contested = self.claims.contested(&seen.key.namespace);
                let status = status::blocked(problem, contested, seen, &asked.status, now);
                self.tell(seen, &asked.status, &status).await?;
                return Ok(None);
            }
        };
        let health = Health::of(&stack, &found);
        let leads = leads(&stack, &found);
        let observed = route::Observed {
            leads,
            jaeger_is_ready: health.jaeger.is_available,
            collector_is_ready: health.gather.is_complete && health.decide.is_complete,
            collector_exists: health.gather.exists || health.decide.exists,
        };
        let progress = route::next(&stack, &observed, now);
        let needs_collector = progress.collector == Fate::Run;
        let built = build::build(
            &stack,
            surroundings,
            progress.leads,
            needs_collector,
            &asked.tail,
        );
        let plan = self
            .plan(&stack, seen, &found, built.tiers.as_ref(), now)
            .await;
        let wanted = wanted(built, &plan, progress.collector);
        let mut report = apply::apply(&self.applier, seen, &found, wanted).await;
        report.problems.extend(trust_problem.map(untrusted));
        let lost = self.losses.recent(&seen.key).map(|lost| Problem {
            reason: "SpansLost",
            message: gather_losses::message(lost),
        });
        let retry = (!report.problems.is_empty() || report.is_waiting).then_some(RETRY);
        report.problems.extend(lost);
        let status = Findings {
            stack: &stack,
            seen,
            previous: &asked.status,
            health: &health,
            progress: &progress,
            waiting: plan.waiting,
            report: &report,
            doors: &surroundings.doors,
            pods: &found.pods,
            contested: self.claims.contested(&seen.key.namespace),
            now,
        }
        .status();
        self.tell_turn(seen, leads.map(|leads| leads.to), &progress);
        self.tell_repairs(seen, &report);
        self.tell(seen, &asked.status, &status).await?;
        let moving = match progress.traffic {
            Traffic::Moving { left } => Some(left),
            Traffic::Settled | Traffic::Waiting | Traffic::Held => None,
        };
        let expiry = asked.next_expiry.map(|end| {
            let left = end.duration_since(now);
            Duration::try_from(left).unwrap_or_default()
        });
        Ok([retry, moving, plan.again_in, expiry]
            .into_iter()
            .flatten()
            .min())
    }

    /// Says of a stack that it waits for the certificate of the doors.
    ///
    /// # Errors
    /// When the status can't be written.
    pub async fn report_untrusted(
        &self,
        seen: &Seen,
        problem: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<Duration>, ApplyError> {
        let asked = preprocess(seen, &[], now);
        let contested = self.claims.contested(&seen.key.namespace);
        let problem = untrusted(problem.unwrap_or_default());
        let status = status::blocked(problem, contested, seen, &asked.status, now);
        self.tell(seen, &asked.status, &status).await?;
        Ok(None)
    }

    /// What the Collector's tiers may do now.
    async fn plan(
        &self,
        stack: &Stack,
        seen: &Seen,
        found: &Found,
        tiers: Option<&Tiers>,
        now: Timestamp,
    ) -> Plan {
        let Some(tiers) = tiers else {
            return Plan::default();
        };
        let name = |tier: &str| format!("{}-{tier}", stack.name);
        let gather = status::live(found, &name(GATHER), Component::Gather);
        let decide = status::live(found, &name(DECIDE), Component::Decide);
        let plan_with = |exporter| {
            let observed = Observed {
                gather: gather
                    .as_ref()
                    .map(|(workload, pods)| Live { workload, pods }),
                decide: decide
                    .as_ref()
                    .map(|(workload, pods)| Live { workload, pods }),
                exporter,
            };
            collector::rollout::plan(&observed, &tiers.collector, now)
        };
        let mut plan = plan_with(collector::exporter::Exporter::Unknown);
        let is_outdated = decide.as_ref().is_some_and(|(workload, _)| {
            spec_hash(workload) != spec_hash(&tiers.collector.decide.workload)
        });
        if plan.decide && is_outdated {
            let pods = decide.as_ref().map(|(_, pods)| pods.as_slice());
            match self
                .readings
                .look(&seen.key, pods.unwrap_or_default())
                .await
            {
                Look::Known(exporter) => plan = plan_with(exporter),
                Look::Again(after) => {
                    // Neither tier moves until that is known.
                    plan.decide = false;
                    plan.gather = false;
                    plan.waiting = Some(Waiting::ExporterUnknown);
                    plan.again_in = [plan.again_in, Some(after)].into_iter().flatten().min();
                }
            }
        }
        plan
    }

    /// Writes a status that says something else, with an event for what people should know.
    async fn tell(
        &self,
        seen: &Seen,
        previous: &TracingStackStatus,
        status: &TracingStackStatus,
    ) -> Result<(), ApplyError> {
        if status == previous {
            return Ok(());
        }
        let resource = resources::tracing_stacks();
        self.applier
            .apply_status(&resource, &seen.key, status)
            .await?;
        for condition in &status.conditions {
            let mut before = previous.conditions.iter();
            let before = before.find(|before| before.kind == condition.kind);
            let is_new = before.is_none_or(|before| {
                (before.status, &before.reason) != (condition.status, &condition.reason)
            });
            let (is_warning, action) = match (condition.kind.as_str(), condition.status) {
                (Condition::DEGRADED, ConditionStatus::True) => (true, "Reconcile"),
                (Condition::CONTESTED, ConditionStatus::True) => (true, "Refuse"),
                (Condition::AVAILABLE, ConditionStatus::True) => (false, "Reconcile"),
                (Condition::PROGRESSING, ConditionStatus::False)
                    if before.is_some_and(|before| before.reason == status::MOVING_TRAFFIC) =>
                {
                    (false, "Route")
                }
                (Condition::AVAILABLE, ConditionStatus::False) if before.is_some() => {
                    (true, "Reconcile")
                }
                _ => continue,
            };
            if is_new {
                let reason = match action {
                    "Route" => "TrafficMoved".to_owned(),
                    _ => condition.reason.clone(),
                };
                self.event(seen, is_warning, reason, action, condition.message.clone());
            }
        }
        Ok(())
    }

    fn tell_turn(&self, seen: &Seen, led_to: Option<Route>, progress: &Progress) {
        let to = progress.leads.to;
        if let Some(from) = led_to.filter(|from| *from != to) {
            let note = format!(
                "services now lead to route {} instead of {}",
                to.as_str(),
                from.as_str()
            );
            self.event(seen, false, "RouteTurned".to_owned(), "Route", note);
        }
    }

    /// Tells that another installation serves the stack.
    pub fn tell_refusal(&self, seen: &Seen, by: &str) {
        let regarding = reference(TracingStack::KIND, &seen.key, &seen.uid);
        let identity = self.claims.identity();
        self.events.tell(Event::refused(regarding, by, identity));
    }

    fn tell_repairs(&self, seen: &Seen, report: &Report) {
        for repaired in &report.repaired {
            let note = format!("{repaired}: it is as the stack says again");
            self.event(seen, true, "Repaired".to_owned(), "Apply", note);
        }
    }

    fn event(
        &self,
        seen: &Seen,
        is_warning: bool,
        reason: String,
        action: &'static str,
        note: String,
    ) {
        self.events.tell(Event {
            regarding: reference(TracingStack::KIND, &seen.key, &seen.uid),
            is_warning,
            reason,
            action,
            note,
        });
    }
}

fn untrusted(problem: &str) -> Problem {
    Problem {
        reason: "CertificateFailed",
        message: format!(
            "the certificate of the policies' endpoints cannot be kept valid, so services may not \
             connect: {problem}"
        ),
    }
}

/// Where the entrance leads now, by its own word.
fn leads(stack: &Stack, found: &Found) -> Option<entrance::Leads> {
    let name = entrance::name(stack);
    let annotations = found
        .children
        .iter()
        .find_map(|child| match &child.detail {
            Detail::Service(annotations) if child.key.name == name => Some(annotations),
            _ => None,
        })?;
    let to = match annotations.get(entrance::ROUTE)?.as_str() {
        "Direct" => Route::Direct,
        _ => Route::Collector,
    };
    let since = annotations.get(entrance::SINCE);
    Some(entrance::Leads {
        to,
        since: since.and_then(|since| since.parse().ok()),
    })
}

/// What is to be applied now, and what is to be left alone.
fn wanted(built: Built, plan: &Plan, collector: Fate) -> Wanted {
    let mut wanted = Wanted {
        apply: built.objects,
        ..Wanted::default()
    };
    if collector == Fate::Stay {
        wanted.leave_components = vec![Component::Gather.as_str(), Component::Decide.as_str()];
    }
    if let Some(tiers) = built.tiers {
        let tiers = [
            (plan.gather, tiers.gather, Component::Gather),
            (plan.decide, tiers.decide, Component::Decide),
        ];
        for (is_allowed, objects, component) in tiers {
            if is_allowed {
                wanted.apply.extend(objects);
            } else {
                wanted.leave_components.push(component.as_str());
            }
        }
    }
    wanted.apply.sort_by_key(|object| object.kind);
    wanted
}

fn spec_hash(workload: &k8s_openapi::api::apps::v1::Deployment) -> Option<&String> {
    workload.metadata.annotations.as_ref()?.get(SPEC_HASH)
}
