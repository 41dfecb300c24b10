//! Tail sampling: each trace is decided on once, as a whole.

mod changes;

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::any_value::Value,
    trace::v1::{ResourceSpans, Span, Status, span::Event},
};
use prost::Message;
use rstest::rstest;
use spoor_policy::{
    AttributeKey, Namespace, Policy, PolicyFields, PolicyKey, PolicyName, Rule, RuleCondition,
    RuleName, ServiceName, TailPolicy, TailTable, Target, Version, resolve,
};
use spoor_traces::{KeepReason, Pipeline, PipelineSettings, TailSettings, TraceId};
use tokio_util::sync::CancellationToken;

use crate::{
    receiver::assert_balanced,
    spans::{attribute, batch, span, text},
};

fn name() -> PolicyName {
    PolicyName::new("tail").unwrap()
}

/// A table with one policy, for service-a of the namespace of the test spans.
fn table(keep: Vec<(&str, RuleCondition)>, otherwise: &str) -> TailTable {
    let rule = |(name, condition)| Rule {
        name: RuleName::new(name).unwrap(),
        condition,
    };
    let tail = TailPolicy::new(
        keep.into_iter().map(rule).collect(),
        otherwise.parse().unwrap(),
    );
    let target = Target {
        service: ServiceName::new("service-a").unwrap(),
        operations: Vec::new(),
    };
    let key = PolicyKey {
        namespace: Namespace::new("demo").unwrap(),
        name: name(),
    };
    let now = jiff::Timestamp::now();
    let policy = Policy::new(PolicyFields {
        key,
        priority: 0,
        created: now,
        targets: vec![target],
        head: None,
        tail: Some(tail.unwrap()),
        expires_at: None,
    })
    .unwrap();
    resolve(&[policy], now).tail
}

fn rules() -> Vec<(&'static str, RuleCondition)> {
    let key = AttributeKey::new("customer.tier").unwrap();
    let values = vec!["gold".to_owned(), "7".to_owned()];
    vec![
        ("errors", RuleCondition::Error),
        (
            "slow",
            RuleCondition::SlowerThan(Duration::from_millis(500)),
        ),
        ("gold", RuleCondition::Attribute { key, values }),
    ]
}

fn start(tail: TailSettings) -> (Pipeline, CancellationToken) {
    let shutdown = CancellationToken::new();
    let settings = PipelineSettings {
        tail,
        ..PipelineSettings::default()
    };
    (Pipeline::start(settings, shutdown.clone()), shutdown)
}

/// A decision wait so long that it does not end during a test.
fn long_wait() -> TailSettings {
    TailSettings {
        decision_wait: Duration::from_secs(3600),
        max_trace_duration: Duration::from_secs(3600),
        ..TailSettings::default()
    }
}

fn send(pipeline: &Pipeline, resource_spans: Vec<ResourceSpans>) {
    pipeline
        .accept(&ExportTraceServiceRequest { resource_spans }.encode_to_vec())
        .unwrap();
}

fn id_of(span: &Span) -> TraceId {
    TraceId::from_bytes(span.trace_id.clone().try_into().unwrap())
}

/// A trace with these low 64 bits in its ID.
fn trace(low: u64) -> Span {
    span(low, 1, 0, "GET /", 1_000, 1_100)
}

fn gold_event() -> Event {
    Event {
        attributes: vec![text("customer.tier", "gold")],
        ..Event::default()
    }
}

fn with_state(low: u64, state: &str) -> Span {
    Span {
        trace_state: state.to_owned(),
        ..trace(low)
    }
}

fn rule(rule: &str) -> Option<KeepReason> {
    Some(KeepReason::Rule {
        policy: name(),
        rule: RuleName::new(rule).unwrap(),
    })
}

fn by_otherwise(rate: &str) -> Option<KeepReason> {
    Some(KeepReason::Otherwise {
        policy: name(),
        rate: rate.parse().unwrap(),
    })
}

fn failed() -> Option<Status> {
    Some(Status {
        code: 2,
        ..Status::default()
    })
}

#[tokio::test]
async fn services_of_waiting_traces_are_listed() {
    let stop = CancellationToken::new();
    let settings = PipelineSettings {
        tail: long_wait(),
        ..PipelineSettings::default()
    };
    let pipeline = Pipeline::start(settings, stop);
    send(&pipeline, vec![batch("kept", vec![trace(1)])]);
    pipeline.set_tail(table(rules(), "0%"));
    send(&pipeline, vec![batch("waiting", vec![trace(2)])]);
    let namespaces = ["demo", "default"].map(|name| Namespace::new(name).unwrap());
    let deadline = Instant::now() + Duration::from_secs(3600);
    let services = pipeline.services_in(deadline, &namespaces.into());
    let services: Vec<(&str, Vec<&str>)> = services
        .iter()
        .map(|(namespace, services)| {
            let services = services.iter().map(|service| service.as_str());
            (namespace.as_str(), services.collect())
        })
        .collect();
    assert_eq!(
        services,
        [("default", vec![]), ("demo", vec!["kept", "waiting"])]
    );
}

const HALF: u64 = 1 << 55;
const MOST: u64 = (1 << 56) - 1;

#[rstest]
#[case::no_rule(trace(1), None, "0%", None)]
#[case::otherwise(trace(1), None, "100%", by_otherwise("100%"))]
#[case::error(Span { status: failed(), ..trace(1) }, None, "0%", rule("errors"))]
#[case::child_error(trace(1), Some(Span { status: failed(), ..span(1, 2, 1, "x", 1_000, 1_001) }), "0%", rule("errors"))]
#[case::not_slow(span(1, 1, 0, "GET /", 1_000, 1_500), None, "0%", None)]
#[case::slow(span(1, 1, 0, "GET /", 1_000, 1_501), None, "0%", rule("slow"))]
#[case::slow_in_total(trace(1), Some(span(1, 2, 1, "x", 1_300, 1_501)), "0%", rule("slow"))]
#[case::gold(Span { attributes: vec![text("customer.tier", "gold")], ..trace(1) }, None, "0%", rule("gold"))]
#[case::number(Span { attributes: vec![attribute("customer.tier", Value::IntValue(7))], ..trace(1) }, None, "0%", rule("gold"))]
#[case::silver(Span { attributes: vec![text("customer.tier", "silver")], ..trace(1) }, None, "0%", None)]
#[case::event(Span { events: vec![gold_event()], ..trace(1) }, None, "0%", None)]
#[case::head_kept_fewer(with_state(MOST, "ot=th:fd70a3d70a3d71"), None, "10%", Some(KeepReason::Head { policy: name() }))]
#[case::head_kept_more(with_state(MOST, "ot=th:8"), None, "10%", by_otherwise("10%"))]
#[case::too_many_for_otherwise(with_state(HALF, "ot=th:8"), None, "10%", None)]
#[case::explicit_randomness(
    with_state(HALF, "ot=th:8;rv:ffffffffffffff"),
    None,
    "10%",
    by_otherwise("10%")
)]
#[case::state_of_a_child(trace(HALF), Some(Span { trace_state: "ot=th:8".into(), ..span(HALF, 2, 1, "x", 1_000, 1_001) }), "10%", None)]
#[case::without_root(
    span(1, 1, 9, "GET /", 1_000, 1_100),
    None,
    "0%",
    Some(KeepReason::NoRoot)
)]
#[tokio::test]
async fn decides_by_the_rules(
    #[case] first: Span,
    #[case] second: Option<Span>,
    #[case] otherwise: &str,
    #[case] expected: Option<KeepReason>,
) {
    let (pipeline, _) = start(long_wait());
    pipeline.set_tail(table(rules(), otherwise));
    let id = id_of(&first);
    send(&pipeline, vec![batch("service-a", vec![first])]);
    if let Some(span) = second {
        send(&pipeline, vec![batch("service-b", vec![span])]);
    }
    assert!(pipeline.store().is_empty());
    pipeline.drain().await;
    assert_eq!(pipeline.store().trace(id).map(|trace| trace.kept), expected);
    assert_balanced(&pipeline);
}

#[tokio::test]
async fn keeps_traces_of_untargeted_services() {
    let (pipeline, _) = start(long_wait());
    pipeline.set_tail(table(rules(), "0%"));
    send(&pipeline, vec![batch("service-b", vec![trace(1)])]);
    pipeline.drain().await;
    assert_eq!(
        pipeline.store().trace(id_of(&trace(1))).unwrap().kept,
        KeepReason::NoPolicy
    );
}

#[tokio::test]
async fn rules_in_force_apply_to_a_shared_resource() {
    let (pipeline, _) = start(long_wait());
    let gold = |numbers: std::ops::Range<u64>| {
        let mut batch = batch("service-a", numbers.map(trace).collect());
        let attributes = &mut batch.resource.as_mut().unwrap().attributes;
        attributes.push(text("customer.tier", "gold"));
        vec![batch]
    };
    pipeline.set_tail(table(rules(), "0%"));
    send(&pipeline, gold(1..100));
    send(&pipeline, vec![batch("service-a", vec![trace(100)])]);
    pipeline.drain().await;
    assert_eq!(pipeline.store().len(), 99);
    let key = AttributeKey::new("customer.tier").unwrap();
    let values = vec!["silver".to_owned()];
    let silver = ("silver", RuleCondition::Attribute { key, values });
    pipeline.set_tail(table(vec![silver], "0%"));
    send(&pipeline, gold(200..300));
    pipeline.drain().await;
    assert_eq!(pipeline.store().len(), 99);
    assert_eq!(pipeline.totals().traces_dropped, 101);
}

#[tokio::test]
async fn decisions_are_counted_by_version_and_policy() {
    let (pipeline, _) = start(long_wait());
    let version = |sequence| Version { epoch: 1, sequence };
    let failed = |number| Span {
        status: failed(),
        ..trace(number)
    };
    pipeline.set_counted_tail(version(1), table(rules(), "0%"));
    let spans = vec![failed(1), trace(2), trace(3)];
    send(&pipeline, vec![batch("service-a", spans)]);
    send(&pipeline, vec![batch("service-b", vec![trace(4)])]);
    pipeline.drain().await;
    pipeline.set_counted_tail(version(2), table(rules(), "0%"));
    send(&pipeline, vec![batch("service-a", vec![trace(5)])]);
    pipeline.drain().await;
    let counts = pipeline.tail_counts();
    let decided: Vec<_> = counts
        .iter()
        .map(|it| {
            (
                it.version.sequence,
                it.policy.to_string(),
                it.decisions.decided,
            )
        })
        .collect();
    let policy = || "demo/tail".to_owned();
    assert_eq!(decided, [(1, policy(), 3), (2, policy(), 1)]);
    let by_first = &counts[0].decisions;
    assert_eq!(by_first.rules, [(RuleName::new("errors").unwrap(), 1)]);
    assert_eq!((by_first.unmatched, by_first.unmatched_kept), (2, 0));
}

#[tokio::test]
async fn traces_that_a_sampler_kept_are_not_counted() {
    let (pipeline, _) = start(long_wait());
    let version = Version {
        epoch: 1,
        sequence: 1,
    };
    pipeline.set_counted_tail(version, table(rules(), "0%"));
    let reasons = [
        "tail/errors",
        "tail/otherwise",
        "tail/head",
        "tail/former",
        "other/errors",
    ];
    let spans = (1..).zip(reasons).map(|(number, reason)| Span {
        attributes: vec![text("tailsampling.policy", reason)],
        ..trace(number)
    });
    send(&pipeline, vec![batch("service-a", spans.collect())]);
    pipeline.drain().await;
    let kept = [1, 2, 3, 4, 5].map(|number| {
        let stored = pipeline.store().trace(id_of(&trace(number)));
        stored.map(|stored| stored.kept)
    });
    let by_head = Some(KeepReason::Head { policy: name() });
    let expected = [rule("errors"), by_otherwise("0%"), by_head, None, None];
    assert_eq!(kept, expected);
    let counts = pipeline.tail_counts();
    assert_eq!((counts.len(), counts[0].decisions.decided), (1, 2));
}

#[tokio::test]
async fn kubernetes_namespace_takes_precedence() {
    let (pipeline, _) = start(long_wait());
    pipeline.set_tail(table(Vec::new(), "0%"));
    let of = |number, namespace| {
        let mut batch = batch("service-a", vec![trace(number)]);
        let resource = batch.resource.as_mut().unwrap();
        let namespace = text("k8s.namespace.name", namespace);
        resource.attributes.insert(0, namespace);
        batch
    };
    send(
        &pipeline,
        vec![of(1, "elsewhere"), of(2, "demo"), of(3, "")],
    );
    pipeline.drain().await;
    let kept = |number| pipeline.store().trace(id_of(&trace(number))).is_some();
    assert_eq!([1, 2, 3].map(kept), [true, false, false]);
}

/// As in a stack, where `service.namespace` is any text that a workload has set.
#[tokio::test]
async fn set_namespace_replaces_that_of_the_service() {
    let (pipeline, _) = start(TailSettings {
        namespace: Some(Namespace::new("demo").unwrap()),
        ..long_wait()
    });
    pipeline.set_tail(table(Vec::new(), "0%"));
    let of = |number, key, namespace| {
        let mut batch = batch("service-a", vec![trace(number)]);
        let resource = batch.resource.as_mut().unwrap();
        resource.attributes.push(text(key, namespace));
        batch
    };
    let batches = vec![
        of(1, "service.namespace", "elsewhere"),
        of(2, "k8s.namespace.name", "elsewhere"),
        of(3, "k8s.namespace.name", "demo"),
    ];
    send(&pipeline, batches);
    pipeline.drain().await;
    let kept = |number| pipeline.store().trace(id_of(&trace(number))).is_some();
    assert_eq!([1, 2, 3].map(kept), [false, true, false]);
}

#[tokio::test]
async fn a_rule_finds_a_resource_attribute() {
    let (pipeline, _) = start(long_wait());
    let key = AttributeKey::new("service.instance.id").unwrap();
    let condition = RuleCondition::Attribute {
        key,
        values: vec!["6f1c".to_owned()],
    };
    pipeline.set_tail(table(vec![("instance", condition)], "0%"));
    send(&pipeline, vec![batch("service-a", vec![trace(1)])]);
    pipeline.drain().await;
    assert_eq!(pipeline.store().len(), 1);
}

/// Without a threshold, the traces may come from a head that keeps those with the larger IDs.
#[tokio::test]
async fn otherwise_keeps_its_share_of_large_ids() {
    let (pipeline, _) = start(long_wait());
    pipeline.set_tail(table(Vec::new(), "10%"));
    for thousand in 0..20 {
        let spans = (0..1_000)
            .map(|number: u64| (thousand * 1_000 + number).wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .map(|spread| trace(spread | 1 << 55))
            .collect();
        send(&pipeline, vec![batch("service-a", spans)]);
    }
    pipeline.drain().await;
    // 2000 expected; the standard deviation is 42.
    let kept = pipeline.store().len();
    assert!((1_750..2_250).contains(&kept), "{kept}");
}

/// A generator of sequential IDs, with a head that records either nothing or that it kept all.
#[rstest]
#[case::without_state("")]
#[case::all_kept_by_the_head("ot=th:0")]
#[tokio::test]
async fn sequential_ids_keep_their_share(#[case] state: &str) {
    let (pipeline, _) = start(long_wait());
    pipeline.set_tail(table(Vec::new(), "10%"));
    for thousand in 0..20 {
        let ids = (1..=1_000).map(|number: u64| thousand * 1_000 + number);
        let spans = ids.map(|id| with_state(id, state)).collect();
        send(&pipeline, vec![batch("service-a", spans)]);
    }
    pipeline.drain().await;
    // 2000 expected; the standard deviation is 42.
    let kept = pipeline.store().len();
    assert!((1_750..2_250).contains(&kept), "{kept}");
}
