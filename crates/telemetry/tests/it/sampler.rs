//! Decisions under the plan in force.

use std::sync::Arc;

use jiff::{Timestamp, ToSpan};
use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};
use proptest::prelude::*;
use rstest::rstest;
use spoor_policy::Probability;
use spoor_proto::spoor::control::v1::{
    Count, OperationStrategy, Phase, Plan, Strategy, Version, strategy,
};
use spoor_telemetry::sampler::{Live, LiveSampler};

const LOW_56_BITS: u64 = (1 << 56) - 1;

pub fn probability(millionths: u32) -> Strategy {
    Strategy {
        strategy: Some(strategy::Strategy::ProbabilityMillionths(millionths)),
    }
}

fn rate(traces_per_second: f64) -> Strategy {
    Strategy {
        strategy: Some(strategy::Strategy::TracesPerSecond(traces_per_second)),
    }
}

pub fn phase(default: Option<Strategy>, operations: &[(&str, Strategy)]) -> Phase {
    let operations = operations
        .iter()
        .map(|(operation, strategy)| OperationStrategy {
            operation: (*operation).to_owned(),
            strategy: Some(*strategy),
        });
    Phase {
        until_unix_millis: None,
        default,
        operations: operations.collect(),
    }
}

pub fn plan(sequence: u64, phases: Vec<Phase>) -> Plan {
    let version = Some(Version { epoch: 1, sequence });
    Plan {
        version,
        digest: sequence.to_be_bytes().to_vec(),
        phases,
    }
}

fn sampler(phases: Vec<Phase>) -> (Arc<Live>, LiveSampler) {
    let live = Arc::new(Live::default());
    live.install(plan(1, phases)).unwrap();
    (
        Arc::clone(&live),
        LiveSampler::new(live, Probability::ALWAYS),
    )
}

fn with_probability(millionths: u32) -> LiveSampler {
    sampler(vec![phase(Some(probability(millionths)), &[])]).1
}

fn decide(sampler: &LiveSampler, id: TraceId, name: &str, parent: &Context) -> SamplingResult {
    sampler.should_sample(Some(parent), id, name, &SpanKind::Server, &[], &[])
}

pub fn root(sampler: &LiveSampler, id: u128, name: &str) -> SamplingResult {
    decide(sampler, TraceId::from(id), name, &Context::new())
}

fn keeps(result: &SamplingResult) -> bool {
    result.decision == SamplingDecision::RecordAndSample
}

fn with_parent(id: u128, span: u64, flags: TraceFlags, remote: bool, state: &str) -> Context {
    let state: TraceState = state.parse().unwrap();
    let parent = SpanContext::new(TraceId::from(id), SpanId::from(span), flags, remote, state);
    Context::new().with_remote_span_context(parent)
}

fn count(counts: &[Count], operation: &str) -> (u64, u64) {
    let matching = counts.iter().find(|count| count.operation == operation);
    matching.map_or((0, 0), |count| (count.started, count.sampled))
}

proptest! {
    #[test]
    fn keeps_ids_at_or_above_the_threshold(
        millionths in 0..=1_000_000_u32,
        high: u128,
        offset in -2_i64..=2,
    ) {
        let threshold = u64::try_from(
            u128::from(1_000_000 - millionths) * (1 << 56) / 1_000_000
        ).unwrap();
        let randomness = threshold.saturating_add_signed(offset).min(LOW_56_BITS);
        let id = (high & !u128::from(LOW_56_BITS)) | u128::from(randomness);
        prop_assume!(id != 0);
        let kept = keeps(&root(&with_probability(millionths), id, "GET /"));
        prop_assert_eq!(kept, randomness >= threshold);
    }

    #[test]
    fn higher_probability_keeps_what_a_lower_keeps(
        id in 1_u128..,
        low in 0..=1_000_000_u32,
        high in 0..=1_000_000_u32,
    ) {
        let (low, high) = (low.min(high), low.max(high));
        let kept_low = keeps(&root(&with_probability(low), id, "GET /"));
        let kept_high = keeps(&root(&with_probability(high), id, "GET /"));
        prop_assert!(kept_high || !kept_low);
    }

    #[test]
    fn the_parent_decides(
        id in 1_u128..,
        span in 1_u64..,
        millionths in 0..=1_000_000_u32,
        sampled: bool,
        remote: bool,
    ) {
        let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
        let parent = with_parent(id, span, flags, remote, "ot=th:8;rv:01234567890123,foo=1");
        let result = decide(&with_probability(millionths), TraceId::from(id), "GET /", &parent);
        prop_assert_eq!(keeps(&result), sampled);
        prop_assert_eq!(result.trace_state.header(), "ot=th:8;rv:01234567890123,foo=1");
    }
}

#[test]
fn probabilities_0_and_1_are_exact() {
    for id in [1, u128::MAX, u128::from(LOW_56_BITS), 1 << 56] {
        assert!(keeps(&root(&with_probability(1_000_000), id, "GET /")));
        assert!(!keeps(&root(&with_probability(0), id, "GET /")));
    }
}

#[rstest]
#[case(1_000_000, "ot=th:0")]
#[case(500_000, "ot=th:8")]
#[case(10_000, "ot=th:fd70a3d70a3d7")]
#[case(1_000, "ot=th:ffbe76c8b43958")]
fn tracestate_has_the_threshold_of_a_kept_trace(#[case] millionths: u32, #[case] state: &str) {
    let result = root(&with_probability(millionths), u128::MAX, "GET /");
    assert_eq!(result.trace_state.header(), state);
}

#[test]
fn dropped_trace_has_no_threshold() {
    assert_eq!(
        root(&with_probability(10_000), 1 << 60, "GET /").trace_state,
        TraceState::NONE
    );
}

#[rstest]
#[case::others_stay("foo=1,bar=2", true, "ot=th:8,foo=1,bar=2")]
#[case::randomness_keeps("ot=rv:ffffffffffffff,foo=1", true, "ot=th:8;rv:ffffffffffffff,foo=1")]
#[case::randomness_drops("foo=1,ot=rv:00000000000000", false, "foo=1,ot=rv:00000000000000")]
#[case::old_threshold_is_replaced("ot=th:c;xy:1,foo=1", true, "ot=th:8;xy:1,foo=1")]
#[case::malformed_randomness_is_ignored("ot=rv:00", true, "ot=th:8;rv:00")]
#[case::upper_case_randomness_is_ignored("ot=rv:0000000000000A", true, "ot=th:8;rv:0000000000000A")]
fn root_decision_changes_only_the_threshold(
    #[case] incoming: &str,
    #[case] kept: bool,
    #[case] outgoing: &str,
) {
    let context = with_parent(0, 0, TraceFlags::NOT_SAMPLED, true, incoming);
    let result = decide(
        &with_probability(500_000),
        TraceId::from(u128::MAX),
        "GET /",
        &context,
    );
    assert_eq!(keeps(&result), kept);
    assert_eq!(result.trace_state.header(), outgoing);
}

#[test]
fn decides_by_the_name_at_the_start() {
    let operations = [
        ("GET /", probability(1_000_000)),
        ("GET /b", probability(0)),
    ];
    let (live, sampler) = sampler(vec![phase(Some(probability(0)), &operations)]);
    assert!(keeps(&root(&sampler, 1, "GET /")));
    assert!(!keeps(&root(&sampler, 1, "GET /b")));
    assert!(!keeps(&root(&sampler, 1, "GET /c")));
    let counts = live.counts();
    assert_eq!(count(&counts, "GET /"), (1, 1));
    assert_eq!(count(&counts, "GET /b"), (1, 0));
    assert_eq!(count(&counts, ""), (1, 0));
}

#[test]
fn fallback_decides_until_a_plan_arrives() {
    let live = Arc::new(Live::default());
    let sampler = LiveSampler::new(Arc::clone(&live), Probability::NEVER);
    assert!(!keeps(&root(&sampler, u128::MAX, "GET /")));
    assert_eq!(live.held(), None);
    assert_eq!(live.counts(), Vec::new());

    live.install(plan(
        1,
        vec![phase(None, &[("GET /", probability(1_000_000))])],
    ))
    .unwrap();
    assert!(keeps(&root(&sampler, 1, "GET /")));
    assert!(!keeps(&root(&sampler, u128::MAX, "GET /other")));
    assert_eq!(count(&live.counts(), ""), (1, 0));
}

#[test]
fn rate_limit_holds_and_writes_no_threshold() {
    let (live, sampler) = sampler(vec![phase(Some(rate(5.0)), &[])]);
    let start = std::time::Instant::now();
    let kept: Vec<_> = (1..10_000)
        .map(|id| root(&sampler, id, "GET /"))
        .filter(keeps)
        .collect();
    let most = 1.0 + 5.0 * start.elapsed().as_secs_f64();
    assert!(!kept.is_empty(), "the first trace is kept");
    assert!(
        kept.len() as f64 <= most.ceil(),
        "{} kept, at most {most}",
        kept.len()
    );
    assert!(
        kept.iter()
            .all(|result| result.trace_state == TraceState::NONE)
    );
    assert_eq!(count(&live.counts(), ""), (9_999, kept.len() as u64));
}

#[test]
fn a_repeated_plan_adds_no_tokens() {
    let (live, sampler) = sampler(vec![phase(Some(rate(0.01)), &[])]);
    assert!(keeps(&root(&sampler, 1, "GET /")));
    live.install(plan(2, vec![phase(Some(rate(0.01)), &[])]))
        .unwrap();
    assert!(!keeps(&root(&sampler, 2, "GET /")));
}

#[test]
fn next_phase_starts_when_one_ends() {
    let now = Timestamp::now();
    let end = now.checked_add(1.hour()).unwrap();
    let mut first = phase(Some(probability(1_000_000)), &[]);
    first.until_unix_millis = Some(end.as_millisecond());
    let (live, sampler) = sampler(vec![first, phase(Some(probability(0)), &[])]);

    assert!(keeps(&root(&sampler, 1, "GET /")));
    assert_eq!(
        live.next_end(now).map(Timestamp::as_millisecond),
        Some(end.as_millisecond())
    );
    live.advance(now.checked_add(59.minutes()).unwrap());
    assert!(keeps(&root(&sampler, 1, "GET /")));
    live.advance(now.checked_add(61.minutes()).unwrap());
    assert!(!keeps(&root(&sampler, 1, "GET /")));
    assert_eq!(count(&live.counts(), ""), (3, 2));
}

#[test]
fn a_phase_that_has_ended_never_starts() {
    let mut first = phase(Some(probability(1_000_000)), &[]);
    first.until_unix_millis = Some(1);
    let (live, sampler) = sampler(vec![first, phase(Some(probability(0)), &[])]);
    assert!(!keeps(&root(&sampler, 1, "GET /")));
    assert_eq!(live.next_end(Timestamp::now()), None);
}

#[test]
fn all_threads_follow_and_no_decision_is_lost() {
    const THREADS: u64 = 4;
    const DECISIONS: u64 = 5_000;
    let (live, sampler) = sampler(vec![phase(Some(probability(1_000_000)), &[])]);
    let barrier = std::sync::Barrier::new(THREADS as usize + 1);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..DECISIONS {
                    assert!(keeps(&root(&sampler, 1, "GET /")));
                }
                barrier.wait();
                barrier.wait();
                for _ in 0..DECISIONS {
                    assert!(!keeps(&root(&sampler, 1, "GET /")));
                }
            });
        }
        barrier.wait();
        let during = live.counts();
        assert_eq!(
            count(&during, ""),
            (THREADS * DECISIONS, THREADS * DECISIONS)
        );
        live.install(plan(2, vec![phase(Some(probability(0)), &[])]))
            .unwrap();
        barrier.wait();
    });
    let counts = live.counts();
    let of = |sequence: u64| {
        let has = |count: &&Count| count.version.is_some_and(|it| it.sequence == sequence);
        counts
            .iter()
            .find(has)
            .map(|count| (count.started, count.sampled))
            .unwrap()
    };
    assert_eq!(of(1), (THREADS * DECISIONS, THREADS * DECISIONS));
    assert_eq!(of(2), (THREADS * DECISIONS, 0));
}

#[test]
fn counts_have_their_times() {
    let before = Timestamp::now().as_millisecond();
    let (live, sampler) = sampler(vec![phase(Some(probability(0)), &[])]);
    root(&sampler, 1, "GET /");
    let counts = live.counts();
    let [count] = counts.as_slice() else {
        panic!("expected one entry, not {counts:?}")
    };
    let after = Timestamp::now().as_millisecond();
    assert!(before <= count.first_unix_millis);
    assert!(count.first_unix_millis <= count.last_unix_millis);
    assert!(count.last_unix_millis <= after);
    assert_eq!(
        live.counts(),
        counts,
        "reading the counts does not change them"
    );
}

#[test]
fn repeated_plan_keeps_its_counts() {
    let (live, sampler) = sampler(vec![phase(Some(probability(0)), &[])]);
    for started in 1..=20 {
        root(&sampler, 1, "GET /");
        live.install(plan(1, vec![phase(Some(probability(0)), &[])]))
            .unwrap();
        let counts = live.counts();
        assert_eq!(counts.len(), 1);
        assert_eq!(count(&counts, ""), (started, 0));
    }
}

#[test]
fn held_plan_has_its_version_and_digest() {
    let (live, _) = sampler(vec![phase(None, &[])]);
    let held = live.held().unwrap();
    assert_eq!((held.version.epoch, held.version.sequence), (1, 1));
    assert_eq!(held.digest, 1_u64.to_be_bytes());
}

fn ending(until: i64, default: Strategy) -> Phase {
    Phase {
        until_unix_millis: Some(until),
        default: Some(default),
        operations: Vec::new(),
    }
}

#[rstest]
#[case::nothing(vec![], "phases: must have from 1 to 1024 entries, not 0")]
#[case::last_ends(
    vec![ending(9, probability(1))],
    "phases[0].until_unix_millis: must be set in every phase but the last"
)]
#[case::descending(
    vec![ending(9, probability(1)), ending(8, probability(1)), phase(None, &[])],
    "phases[1].until_unix_millis: must be later than in the previous phase"
)]
#[case::too_much(
    vec![phase(Some(probability(1_000_001)), &[])],
    "phases[0].default: probability_millionths must be at most 1000000, not 1000001"
)]
#[case::no_rate(
    vec![phase(None, &[("GET /", rate(0.0))])],
    "phases[0].operations[\"GET /\"]: traces_per_second must be greater than 0, not 0"
)]
#[case::not_a_rate(
    vec![phase(Some(rate(f64::NAN)), &[])],
    "phases[0].default: traces_per_second must be greater than 0, not NaN"
)]
#[case::unknown(
    vec![phase(Some(Strategy { strategy: None }), &[])],
    "phases[0].default: must have a strategy that this client supports"
)]
#[case::unnamed(
    vec![phase(None, &[("", probability(1))])],
    "phases[0].operations: an operation must not be empty"
)]
#[case::twice(
    vec![phase(None, &[("a", probability(1)), ("a", probability(2))])],
    "phases[0].operations: duplicate operation \"a\"; list it once"
)]
fn a_bad_plan_changes_nothing(#[case] phases: Vec<Phase>, #[case] reason: &str) {
    let (live, sampler) = sampler(vec![phase(Some(probability(0)), &[])]);
    let refusal = live.install(plan(2, phases)).unwrap_err();
    assert_eq!(refusal.to_string(), reason);
    assert_eq!(refusal.version.sequence, 2);
    assert_eq!(live.held().map(|held| held.version.sequence), Some(1));
    assert!(!keeps(&root(&sampler, u128::MAX, "GET /")));
}

#[test]
fn dropped_trace_allocates_nothing() {
    let operations = [("GET /", probability(0)), ("GET /limited", rate(0.001))];
    let (_live, sampler) = sampler(vec![phase(Some(probability(0)), &operations)]);
    let context = Context::new();
    let names = ["GET /", "GET /limited", "GET /other"];
    let decide_all =
        || names.map(|name| keeps(&decide(&sampler, TraceId::from(1), name, &context)));
    decide_all();
    let allocations = allocation_counter::measure(|| {
        assert_eq!(decide_all(), [false; 3]);
    });
    assert_eq!(allocations.count_total, 0);
}
