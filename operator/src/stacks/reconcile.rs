//! The reconciliation of one stack: reads what exists, builds what should exist, applies the
//! difference and writes the status.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use spoor_api::{
    TracingStack,
    stack::{Sampler, SamplerEngine, Stack},
    status::{Condition, ConditionStatus},
    tracing_stack::TracingStackStatus,
};
use spoor_policy::TailTable;
use spoor_runtime::self_tracing::record_error;
use tracing::Span;

use super::{
    apply::{self, ApplyReport, DesiredObjects, StackProblem},
    build::{self, BuildContext, BuiltStack},
    collector::{
        self, CollectorObjects,
        rollout::{LiveTier, RolloutPlan, RolloutState, RolloutWait, spec_hash},
    },
    collector_probe::{CollectorProbe, ProbeOutcome},
    gather_losses::{self, GatherLosses},
    metrics_client::MetricsClient,
    objects::{labels::Component, sort_by_kind},
    parse::{StackObject, parse},
    pod_failure::recovers_in,
    route::{self, CollectorAction, EngineChange, RoutePlan},
    sampler_probe::SCALING_INTERVAL,
    sources::{RelatedObjects, StackSources},
    status::{self, Findings, StackHealth},
    validate::validate,
};
use crate::{
    kubernetes::{
        apply::{Applier, ApplyError},
        events::{Event, EventQueue},
        resources::{self, reference},
    },
    lease::NamespaceClaims,
};

/// The delay before the next attempt after a failure that may be temporary.
const RETRY_DELAY: Duration = Duration::from_secs(10);

/// Reconciles stacks.
pub struct Reconciler {
    /// The watched objects.
    pub sources: StackSources,
    /// Applies objects.
    pub applier: Arc<Applier>,
    /// Publishes events.
    pub events: Arc<EventQueue>,
    /// Reads Collectors' metrics.
    pub collector_probe: CollectorProbe,
    /// Reads samplers' metrics.
    pub metrics_client: MetricsClient,
    /// The spans that gathering Collectors have lost.
    pub losses: GatherLosses,
    /// The namespaces that this installation serves.
    pub claims: NamespaceClaims,
}

impl Reconciler {
    /// Brings the cluster to the state that a stack specifies, and writes its status. Returns the
    /// delay after which to reconcile again even if nothing has changed. There is no `context`
    /// until the certificate authority exists. `trust_problem` is the reason why the certificate of
    /// the policy endpoints cannot be kept valid.
    ///
    /// # Errors
    /// The status cannot be written.
    pub async fn reconcile(
        &self,
        object: &StackObject,
        context: Option<&BuildContext>,
        trust_problem: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<Duration>, ApplyError> {
        let related = self.sources.related_objects(&object.key);
        let parsed = parse(object, &related.policies, now);
        let valid = parsed
            .stack
            .and_then(|stack| validate(&stack).map_err(|errors| status::format_errors(&errors)));
        let valid = match (context, valid) {
            (Some(context), Ok(stack)) => Ok((context, stack)),
            (Some(_), Err(problem)) => {
                Span::current().record("spoor.outcome", "Invalid");
                Err(StackProblem {
                    reason: "Invalid",
                    message: format!("{problem}; correct the spec (existing objects are kept)"),
                })
            }
            (None, _) => Err(certificate_problem(trust_problem.unwrap_or_default())),
        };
        let (context, mut stack) = match valid {
            Ok(valid) => valid,
            Err(problem) => {
                let contested = self.claims.contested(&object.key.namespace);
                let status = status::blocked(problem, contested, object, &parsed.status, now);
                self.write_status(object, &parsed.status, &status).await?;
                return Ok(None);
            }
        };
        let health = StackHealth::of(&stack, &related);
        let engine = stack.sampler.engine();
        let state = self.route_state(&stack, &related, &health).await;
        let mut route_plan = route::plan(&stack, &state, now);
        let needs_collector = route_plan.collector == CollectorAction::Run;
        let samplers = parsed.status.sampler.as_ref();
        let scaling = match needs_collector {
            true => {
                self.plan_samplers(&stack, object, &related, samplers, now)
                    .await
            }
            // The samplers stay as they are until they are removed.
            false => None,
        };
        if let (Sampler::Spoor(sampler), Some(plan)) = (&mut stack.sampler, &scaling) {
            sampler.replicas = plan.replicas;
        }
        let (next, no_rules) = (route_plan.target, TailTable::default());
        let tail = match route_plan.engine_change {
            EngineChange::None => &parsed.resolution.tail,
            _ => &no_rules,
        };
        let built = build::build(&stack, context, next, needs_collector, tail);
        let former_tiers = match route_plan.engine_change {
            EngineChange::Preparing => build::former_tiers(&stack, context),
            _ => None,
        };
        // What exists is read before anything is applied: a tier's rollout depends on the pods that
        // are there, not on those that this attempt causes.
        let tiers = built.tiers.as_ref().or(former_tiers.as_ref());
        let mut plan = self
            .plan_rollout(&stack, object, &related, tiers, now)
            .await;
        let mut desired = desired_objects(built, &plan, &route_plan, engine);
        if let Some(tiers) = former_tiers
            && plan.can_change_decide
        {
            // The gathering tier stays as it is, so nothing waits.
            plan.waiting = None;
            desired.apply.extend(tiers.decide.objects());
            sort_by_kind(&mut desired.apply);
        }
        self.leave_former_sampler(&stack, &related, &health, &mut desired, &mut route_plan)
            .await;
        let mut report = apply::apply(&self.applier, object, &related, desired).await;
        report
            .problems
            .extend(trust_problem.map(certificate_problem));
        record_outcome(&report);
        let lost = self.losses.recent(&object.key).map(|lost| StackProblem {
            reason: status::SPANS_LOST,
            message: gather_losses::message(lost),
        });
        // Lost spans are added after this line, since another attempt cannot bring them back.
        let retry = (!report.problems.is_empty() || report.is_waiting).then_some(RETRY_DELAY);
        report.problems.extend(lost);
        let status = Findings {
            stack: &stack,
            object,
            previous: &parsed.status,
            health: &health,
            route_plan: &route_plan,
            waiting: plan.waiting,
            scaling: scaling.as_ref(),
            report: &report,
            policies_service: &context.policies_service,
            pods: &related.pods,
            contested: self.claims.contested(&object.key.namespace),
            now,
        }
        .status();
        // Published before the status is written: if that fails, the next attempt finds these
        // changes done and would not report them.
        let (before, to) = (state.target.map(|target| target.route), next.route);
        if let Some(from) = before.filter(|from| *from != to) {
            let note = format!("OTLP traffic now takes route {to} instead of {from}");
            self.publish_event(object, false, "RouteSwitched", "SwitchRoute", note);
        }
        for repaired in &report.repaired {
            let note = format!("{repaired}; restored to what the stack specifies");
            self.publish_event(object, true, "Repaired", "Apply", note);
        }
        self.write_status(object, &parsed.status, &status).await?;
        let expiry = parsed.resolution.next_expiry.map(|end| {
            let left = end.duration_since(now);
            Duration::try_from(left).unwrap_or_default()
        });
        let recovery = related.pods.iter();
        let recovery = recovery.filter_map(|pod| recovers_in(pod, now)).min();
        let replan = route_plan.replan_in;
        let is_scaling = scaling.is_some_and(|plan| !plan.is_complete);
        let rescale = is_scaling.then_some(SCALING_INTERVAL);
        let delays = [retry, replan, plan.replan_in, rescale, expiry, recovery];
        Ok(delays.into_iter().flatten().min())
    }

    /// Decides which of the Collector's tiers may change now.
    async fn plan_rollout(
        &self,
        stack: &Stack,
        object: &StackObject,
        related: &RelatedObjects,
        tiers: Option<&CollectorObjects>,
        now: Timestamp,
    ) -> RolloutPlan {
        let Some(tiers) = tiers else {
            return RolloutPlan::default();
        };
        let gather = status::live(related, stack, Component::Gather);
        let decide = status::live(related, stack, Component::Decide);
        let plan_with = |exporter| {
            let state = RolloutState {
                gather: gather.as_ref().map(LiveTier::of),
                decide: decide.as_ref().map(LiveTier::of),
                exporter,
            };
            collector::rollout::plan(&state, tiers, now)
        };
        // The exporter's health costs a request to the pod, so it is read only if everything else
        // allows the deciding pod to be replaced.
        let mut plan = plan_with(collector::exporter::ExporterHealth::Unknown);
        if let Some((workload, pods)) = &decide
            && plan.can_change_decide
            && spec_hash(workload) != spec_hash(&tiers.decide.workload)
        {
            match self.collector_probe.check(&object.key, pods).await {
                ProbeOutcome::Known(exporter) => plan = plan_with(exporter),
                ProbeOutcome::RetryAfter(after) => {
                    // Neither tier changes until the exporter's health is known.
                    plan.can_change_decide = false;
                    plan.can_change_gather = false;
                    plan.waiting = Some(RolloutWait::ExporterUnknown);
                    plan.replan_in = [plan.replan_in, Some(after)].into_iter().flatten().min();
                }
            }
        }
        plan
    }

    /// Writes the status if it has changed, and publishes an event for each change that people
    /// should know about.
    async fn write_status(
        &self,
        object: &StackObject,
        previous: &TracingStackStatus,
        status: &TracingStackStatus,
    ) -> Result<(), ApplyError> {
        // In steady state nothing is written but Leases.
        if status == previous {
            return Ok(());
        }
        let resource = resources::tracing_stacks();
        // Only to the version that it was derived from: two leaders must not write different rings.
        let version = object.resource_version.as_deref();
        let write = self
            .applier
            .apply_status(&resource, &object.key, version, status);
        match write.await {
            Ok(_) => {}
            // The watch reports the newer version, which is then reconciled.
            Err(error) if error.is_conflict() => return Ok(()),
            Err(error) => return Err(error),
        }
        for condition in &status.conditions {
            let mut before = previous.conditions.iter();
            let before = before.find(|before| before.kind == condition.kind);
            // A message changes with every count in it, so a new message alone causes no event.
            let is_new = before.is_none_or(|before| {
                (before.status, &before.reason) != (condition.status, &condition.reason)
            });
            let reason = condition.reason.as_str();
            let (is_warning, action, reason) = match (condition.kind.as_str(), condition.status) {
                (Condition::DEGRADED, ConditionStatus::True) => (true, "Reconcile", reason),
                (Condition::CONTESTED, ConditionStatus::True) => (true, "Refuse", reason),
                (Condition::AVAILABLE, ConditionStatus::True) => (false, "Reconcile", reason),
                // The end of a change of route is an event; the end of an ordinary rollout is
                // visible in the Deployment's own events.
                (Condition::PROGRESSING, ConditionStatus::False)
                    if before.is_some_and(|before| before.reason == status::MOVING_TRAFFIC) =>
                {
                    (false, "SwitchRoute", "TrafficMoved")
                }
                (Condition::AVAILABLE, ConditionStatus::False) if before.is_some() => {
                    (true, "Reconcile", reason)
                }
                _ => continue,
            };
            if is_new {
                let note = condition.message.clone();
                self.publish_event(object, is_warning, reason, action, note);
            }
        }
        Ok(())
    }

    /// Publishes an event that another installation serves the stack.
    pub fn report_refusal(&self, object: &StackObject, by: &str) {
        let regarding = reference(TracingStack::KIND, &object.key, &object.uid);
        self.events
            .publish(self.claims.refusal_event(regarding, by));
    }

    fn publish_event(
        &self,
        object: &StackObject,
        is_warning: bool,
        reason: &str,
        action: &'static str,
        note: String,
    ) {
        self.events.publish(Event {
            regarding: reference(TracingStack::KIND, &object.key, &object.uid),
            is_warning,
            reason: reason.to_owned(),
            action,
            note,
        });
    }
}

/// Records the outcome of an attempt in its span.
fn record_outcome(report: &ApplyReport) {
    let span = Span::current();
    let outcome = match report.problems.first() {
        Some(problem) => {
            record_error(&span, &problem.message);
            problem.reason
        }
        None if report.is_waiting => "Waiting",
        None => "Reconciled",
    };
    span.record("spoor.outcome", outcome);
}

fn certificate_problem(problem: &str) -> StackProblem {
    StackProblem {
        reason: "CertificateFailed",
        message: format!(
            "cannot keep the certificate of the policy endpoints valid, so services may be unable \
             to connect: {problem}"
        ),
    }
}

/// The objects to apply now, and those to leave as they are.
fn desired_objects(
    built: BuiltStack,
    plan: &RolloutPlan,
    route_plan: &RoutePlan,
    engine: SamplerEngine,
) -> DesiredObjects {
    let mut desired = DesiredObjects {
        apply: built.objects,
        ..DesiredObjects::default()
    };
    if route_plan.collector == CollectorAction::Keep {
        desired.leave_components.extend(components_of(engine));
    }
    if route_plan.keeps_former_engine {
        desired
            .leave_components
            .extend(components_of(engine.other()));
    }
    if let Some(tiers) = built.tiers {
        let tiers = [
            (plan.can_change_gather, tiers.gather, Component::Gather),
            (plan.can_change_decide, tiers.decide, Component::Decide),
        ];
        for (is_allowed, tier, component) in tiers {
            if is_allowed {
                desired.apply.extend(tier.objects());
            } else {
                desired.leave_components.push(component.as_str());
            }
        }
    }
    sort_by_kind(&mut desired.apply);
    desired
}

fn components_of(engine: SamplerEngine) -> [&'static str; 2] {
    Component::of_engine(engine).map(Component::as_str)
}
