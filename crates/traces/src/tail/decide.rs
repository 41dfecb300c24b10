//! Decides on a whole trace.

use std::ptr;

use hashbrown::HashMap;
use spoor_policy::{PolicyName, Rule, RuleCondition, TailPolicy, TailTable};

use super::{counts::PolicyRef, randomness::Head};
use crate::{
    KeepReason, TraceId,
    log::{Part, Segment, SpanEntry},
    scan::{Value, resource_attributes, span_attributes, trace_state},
    span::Signature,
};

/// A span that waits for its trace's decision, with its segment.
pub(super) type WaitingSpan<'a> = (&'a Segment, &'a SpanEntry);

/// The decision on a trace.
pub(super) struct Decided<'t> {
    /// The reason to keep the trace, or `None` to drop it.
    pub(super) kept: Option<KeepReason>,
    /// The policy that decided, if one did.
    pub(super) policy: Option<PolicyRef<'t>>,
}

impl Decided<'_> {
    /// Keeps a trace on which no policy decides.
    fn without_policy(kept: KeepReason) -> Self {
        Self {
            kept: Some(kept),
            policy: None,
        }
    }
}

/// Decides on a trace.
pub(super) fn decide<'t>(
    table: &'t TailTable,
    resources: &mut ResourceRules,
    id: TraceId,
    spans: &[WaitingSpan<'_>],
) -> Decided<'t> {
    if table.is_empty() {
        return Decided::without_policy(KeepReason::NoPolicy);
    }
    let Some(root) = root_of(spans) else {
        // Without a root, the service and so the policy are unknown. The Collector keeps such a
        // trace, too.
        return Decided::without_policy(KeepReason::NoRoot);
    };
    let Some((decided_by, policy)) = policy_for(table, root) else {
        return Decided::without_policy(KeepReason::NoPolicy);
    };
    let name = decided_by.name;
    let kept = match first_match(policy, resources, spans) {
        Some(rule) => Some(KeepReason::Rule {
            policy: name.clone(),
            rule: rule.name.clone(),
        }),
        None => otherwise(name, policy, id, root, spans),
    };
    Decided {
        kept,
        policy: Some(decided_by),
    }
}

/// As [`decide`], unless a sampler before this one has kept the trace by the policy that would decide
/// on it here. That sampler has counted the decision.
pub(super) fn follow_or_decide<'t>(
    table: &'t TailTable,
    resources: &mut ResourceRules,
    id: TraceId,
    spans: &[WaitingSpan<'_>],
) -> Decided<'t> {
    match kept_before(table, spans) {
        Some(kept) => Decided::without_policy(kept),
        None => decide(table, resources, id, spans),
    }
}

/// The reason of a sampler before this one, according to the root, if the policy here has it, too.
fn kept_before(table: &TailTable, spans: &[WaitingSpan<'_>]) -> Option<KeepReason> {
    let (segment, root) = root_of(spans)?;
    let mut recorded = None;
    span_attributes(segment.body(root), |name, value| {
        if name == KeepReason::ATTRIBUTE.as_bytes()
            && let Value::Text(text) = value
        {
            recorded = Some(text);
        }
    });
    let recorded = std::str::from_utf8(recorded?).ok()?;
    let (name, reason) = recorded.split_once('/')?;
    let (decides, policy) = policy_for(table, (segment, root))?;
    if decides.name.as_str() != name {
        return None;
    }
    let name = decides.name.clone();
    match reason {
        "otherwise" => Some(KeepReason::Otherwise {
            policy: name,
            rate: policy.otherwise(),
        }),
        "head" => Some(KeepReason::Head { policy: name }),
        rule => {
            let mut rules = policy.keep().iter().map(|rule| &rule.name);
            let rule = rules.find(|known| known.as_str() == rule)?.clone();
            Some(KeepReason::Rule { policy: name, rule })
        }
    }
}

/// The root of a trace. It may have several, but gets one decision. The Collector applies the
/// policies of every root (docs/tail-rules.md).
fn root_of<'a>(spans: &[WaitingSpan<'a>]) -> Option<WaitingSpan<'a>> {
    let roots = spans
        .iter()
        .filter(|(_, span)| span.signature.contains(Signature::ROOT));
    roots.min_by_key(|(_, span)| span.start).copied()
}

fn policy_for<'t>(
    table: &'t TailTable,
    (segment, root): WaitingSpan<'_>,
) -> Option<(PolicyRef<'t>, &'t TailPolicy)> {
    let operation = segment.operations.get(root.operation)?;
    let (namespace, service) = segment.service_of(segment.sources.get(root.source)?)?;
    let name = std::str::from_utf8(operation.name.of(&segment.bytes)).unwrap_or_default();
    let (namespace, name, policy) = table.policy(namespace, service, name)?;
    Some((PolicyRef { namespace, name }, policy))
}

/// The first rule that the trace matches.
fn first_match<'p>(
    policy: &'p TailPolicy,
    resources: &mut ResourceRules,
    spans: &[WaitingSpan<'_>],
) -> Option<&'p Rule> {
    let rules = policy.keep();
    let is_match = |rule: &Rule| match &rule.condition {
        RuleCondition::Error => spans
            .iter()
            .any(|(_, span)| span.signature.contains(Signature::ERROR)),
        RuleCondition::SlowerThan(limit) => u128::from(duration(spans)) > limit.as_nanos(),
        RuleCondition::Attribute { .. } => false,
    };
    let other = rules.iter().position(is_match).unwrap_or(rules.len());
    // Attributes are read last, and only if an earlier rule depends on them.
    let mut earlier = rules.iter().take(other);
    let attribute = earlier
        .any(|rule| matches!(rule.condition, RuleCondition::Attribute { .. }))
        .then(|| first_attribute_rule(policy, resources, spans))
        .flatten();
    rules.get(attribute.map_or(other, |it| it.min(other)))
}

/// The time from the first start to the last end, in nanoseconds.
fn duration(spans: &[WaitingSpan<'_>]) -> u64 {
    let first = spans.iter().map(|(_, span)| span.start).min();
    let last = spans
        .iter()
        .map(|(_, span)| span.start.saturating_add(span.duration))
        .max();
    last.unwrap_or(0).saturating_sub(first.unwrap_or(0))
}

/// The most attributes of one trace that are compared with rules. A request of 27 KB, compressed,
/// may have a million; all receivers wait meanwhile.
const MAX_COMPARED_ATTRIBUTES: usize = 500_000;

/// The first attribute rule that each resource matches, and the number of its attributes, for one
/// table of policies. Any number of traces may share a long resource, and it may appear in one
/// trace any number of times. The key is the policy's address, the segment's serial number, and the
/// resource's part of the segment.
pub(super) type ResourceRules = HashMap<(usize, u64, Part), (Option<usize>, usize)>;

/// The most resources that are remembered, in about 3 MiB. The gathering log may take 256 MiB, so
/// if it has more, they are short and quickly read again.
const MAX_KNOWN_RESOURCES: usize = 1 << 15;

/// The first attribute rule that a resource matches, and the number of its attributes.
fn resource_rule(
    known: &mut ResourceRules,
    policy: &TailPolicy,
    segment: &Segment,
    resource: Part,
) -> (Option<usize>, usize) {
    if known.len() >= MAX_KNOWN_RESOURCES {
        known.clear();
    }
    let key = (ptr::from_ref(policy).addr(), segment.serial, resource);
    *known.entry(key).or_insert_with(|| {
        let (mut first, mut compared) = (None, 0);
        resource_attributes(resource.of(&segment.bytes), |name, value| {
            compared += 1;
            first = earlier(first, attribute_rule(policy, name, value));
        });
        (first, compared)
    })
}

/// The index of the first attribute rule that any of the spans or their resources match. As in the
/// Collector, attributes of events and scopes are not compared.
fn first_attribute_rule(
    policy: &TailPolicy,
    resources: &mut ResourceRules,
    spans: &[WaitingSpan<'_>],
) -> Option<usize> {
    let (mut first, mut compared) = (None, 0);
    let mut last_source = None;
    for (segment, span) in spans {
        if compared > MAX_COMPARED_ATTRIBUTES {
            break;
        }
        let source = Some((segment.serial, span.source));
        if source != last_source
            && let Some(source) = segment.sources.get(span.source)
        {
            let (rule, attributes) = resource_rule(resources, policy, segment, source.resource);
            first = earlier(first, rule);
            compared += attributes;
        }
        last_source = source;
        span_attributes(segment.body(span), |name, value| {
            compared += 1;
            if compared <= MAX_COMPARED_ATTRIBUTES {
                first = earlier(first, attribute_rule(policy, name, value));
            }
        });
    }
    first
}

fn attribute_rule(policy: &TailPolicy, name: &[u8], value: Value<&[u8]>) -> Option<usize> {
    policy.attribute_rule(name, value.comparable()?)
}

/// The index of the earlier of two rules.
fn earlier(one: Option<usize>, other: Option<usize>) -> Option<usize> {
    one.into_iter().chain(other).min()
}

/// Decides on a trace that no rule matches. `otherwise` is a share of all traces, of head and tail
/// together: if the head already kept fewer, nothing is dropped here. If the head did not record
/// its probability, `otherwise` is a share of the traces that arrived.
fn otherwise(
    name: &PolicyName,
    policy: &TailPolicy,
    id: TraceId,
    root: WaitingSpan<'_>,
    spans: &[WaitingSpan<'_>],
) -> Option<KeepReason> {
    let rate = policy.otherwise();
    let threshold = rate.threshold();
    let head = head(root, spans);
    if !threshold.keeps(head.randomness_of(id)) {
        return None;
    }
    let policy = name.clone();
    Some(match head.threshold {
        Some(of_head) if of_head > 0 && of_head >= threshold.value() => KeepReason::Head { policy },
        _ => KeepReason::Otherwise { policy, rate },
    })
}

/// The head's decision as recorded in the root, or else in the first span that has one.
fn head(root: WaitingSpan<'_>, spans: &[WaitingSpan<'_>]) -> Head {
    let all = std::iter::once(&root).chain(spans);
    all.filter(|(_, span)| span.signature.contains(Signature::TRACE_STATE))
        .map(|(segment, span)| trace_state(segment.body(span)))
        .map(|(state, flags)| Head::read(state, flags))
        .find(|head| head.threshold.is_some() || head.randomness.is_some())
        .unwrap_or_default()
}
