#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};
use spoor_api::{Metadata, TracingStack, stack::SamplerEngine};

use super::*;
use crate::stacks::validate::validate;

/// A stack whose Collector decides itself, unless the spec has another sampler.
fn stack(mut spec: Value) -> Stack {
    if spec["sampler"].is_null() && spec["collector"]["existing"].is_null() {
        spec["sampler"] = json!({"engine": "OpenTelemetry"});
    }
    let spec = serde_json::from_value(spec).unwrap();
    validate(&TracingStack::new(Metadata::named("tracing"), spec)).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn target(route: Route, since: Option<Timestamp>) -> OtlpTarget {
    OtlpTarget {
        route,
        engine: SamplerEngine::OpenTelemetry,
        since,
    }
}

/// The state in which everything runs and traffic takes this route.
fn running(to: Route, since: Option<Timestamp>) -> RouteState {
    RouteState {
        target: Some(target(to, since)),
        jaeger_is_ready: true,
        collector_is_ready: true,
        collector_exists: true,
        former_engine_exists: false,
        former_engine_keeps_all: true,
    }
}

#[test]
fn new_stack_has_its_route_at_once() {
    for (route, action) in [
        ("Collector", CollectorAction::Run),
        ("Direct", CollectorAction::Remove),
    ] {
        let stack = stack(json!({"route": route}));
        let nothing = RouteState {
            target: None,
            jaeger_is_ready: false,
            collector_is_ready: false,
            collector_exists: false,
            former_engine_exists: false,
            former_engine_keeps_all: true,
        };
        let progress = plan(&stack, &nothing, at(0));
        assert_eq!(progress.target, target(stack.route, None));
        assert_eq!(
            (progress.collector, progress.traffic),
            (action, Traffic::Settled)
        );
    }
}

#[test]
fn collector_stays_until_its_spans_are_sent() {
    let stack = stack(json!({"route": "Direct"}));
    let first = plan(&stack, &running(Route::Collector, None), at(0));
    assert_eq!(first.target, target(Route::Direct, Some(at(0))));
    assert_eq!(first.collector, CollectorAction::Keep);
    assert_eq!(first.route(), Route::Collector, "not all traffic has moved");
    let Traffic::Moving { left } = first.traffic else {
        panic!("{:?}", first.traffic);
    };
    // Connections end within 5.5 s and 5 s of grace; the waits of both tiers are 2.17 s and 5 s.
    let expected = Duration::from_secs(18)..Duration::from_secs(40);
    assert!(expected.contains(&left), "{left:?}");

    let seconds = i64::try_from(left.as_secs()).unwrap();
    let before = plan(
        &stack,
        &running(Route::Direct, Some(at(0))),
        at(seconds - 1),
    );
    assert_eq!(
        (before.collector, before.route()),
        (CollectorAction::Keep, Route::Collector)
    );
    let after = plan(
        &stack,
        &running(Route::Direct, Some(at(0))),
        at(seconds + 1),
    );
    assert_eq!(
        (after.collector, after.route()),
        (CollectorAction::Remove, Route::Direct)
    );
}

#[test]
fn collector_with_spans_waits_for_jaeger() {
    let stack = stack(json!({"route": "Direct"}));
    let unavailable = RouteState {
        jaeger_is_ready: false,
        ..running(Route::Direct, Some(at(0)))
    };
    let held = plan(&stack, &unavailable, at(1000));
    assert_eq!(
        (held.collector, held.traffic),
        (CollectorAction::Keep, Traffic::Held)
    );
    // Once the Collector is gone, a restart of Jaeger does not bring it back.
    let gone = RouteState {
        collector_exists: false,
        ..unavailable
    };
    assert_eq!(
        plan(&stack, &gone, at(1000)).collector,
        CollectorAction::Remove
    );
}

#[test]
fn traffic_waits_for_a_ready_collector() {
    let stack = stack(json!({}));
    let starting = RouteState {
        collector_is_ready: false,
        ..running(Route::Direct, None)
    };
    let waiting = plan(&stack, &starting, at(0));
    assert_eq!(waiting.target.route, Route::Direct);
    assert_eq!(
        (waiting.collector, waiting.traffic),
        (CollectorAction::Run, Traffic::Waiting)
    );
    assert_eq!(waiting.route(), Route::Direct);
    let switched = plan(&stack, &running(Route::Direct, None), at(7));
    assert_eq!(switched.target, target(Route::Collector, Some(at(7))));
}

#[test]
fn route_can_be_reversed_at_once() {
    let back = plan(
        &stack(json!({})),
        &running(Route::Direct, Some(at(0))),
        at(5),
    );
    assert_eq!(
        (back.target.route, back.target.since),
        (Route::Collector, Some(at(5)))
    );
    assert_eq!(back.collector, CollectorAction::Run);
}

#[test]
fn existing_parts_are_assumed_ready() {
    let stack = stack(json!({"collector": {"existing": {"otlp": "collector.tools.svc:4317"}}}));
    let state = RouteState {
        collector_is_ready: false,
        collector_exists: false,
        ..running(Route::Direct, None)
    };
    assert_eq!(plan(&stack, &state, at(0)).target.route, Route::Collector);
}

/// A stack with an existing Collector and a sampler behind it.
fn with_existing_collector(mut spec: Value) -> Stack {
    let existing = json!({"otlp": "collector.tools.svc:4317", "kept": "collector.tools.svc:4319"});
    spec["collector"]["existing"] = existing;
    stack(spec)
}

#[test]
fn existing_collector_waits_for_its_sampler() {
    let stack = with_existing_collector(json!({}));
    let starting = RouteState {
        collector_is_ready: false,
        ..running(Route::Direct, None)
    };
    let waiting = plan(&stack, &starting, at(0));
    assert_eq!(waiting.target.route, Route::Direct);
    assert_eq!(
        (waiting.collector, waiting.traffic),
        (CollectorAction::Run, Traffic::Waiting)
    );
    let switched = plan(&stack, &running(Route::Direct, None), at(7));
    assert_eq!(switched.target.route, Route::Collector);
}

#[test]
fn new_sampler_of_existing_collector_moves_nothing() {
    let stack = with_existing_collector(json!({}));
    let state = RouteState {
        collector_is_ready: false,
        ..running(Route::Collector, None)
    };
    let settled = plan(&stack, &state, at(0));
    let expected = OtlpTarget {
        engine: SamplerEngine::Spoor,
        ..target(Route::Collector, None)
    };
    assert_eq!(settled.target, expected);
    assert_eq!(settled.traffic, Traffic::Settled);
    assert_eq!(settled.route(), Route::Collector);
}

#[test]
fn existing_collectors_sampler_stays_to_drain() {
    let stack = with_existing_collector(json!({"route": "Direct"}));
    let leaving = plan(&stack, &running(Route::Collector, None), at(0));
    assert_eq!(leaving.collector, CollectorAction::Keep);
    let Traffic::Moving { left } = leaving.traffic else {
        panic!("{:?}", leaving.traffic);
    };
    // `maxTraceDuration` is 30 s.
    assert!(left > Duration::from_secs(30), "{left:?}");
}

#[test]
fn collector_does_not_wait_for_an_existing_jaeger() {
    let existing = json!({"otlp": "jaeger.tools.svc:4317"});
    let stack = stack(json!({"route": "Direct", "jaeger": {"existing": existing}}));
    // The operator does not know its state.
    let state = RouteState {
        jaeger_is_ready: false,
        ..running(Route::Direct, Some(at(0)))
    };
    let settled = plan(&stack, &state, at(1000));
    assert_eq!(settled.traffic, Traffic::Settled);
    assert_eq!(settled.collector, CollectorAction::Remove);
}

/// The state of a stack that changes its engine, while the Collectors of both engines run.
fn changing_engine(since: Option<Timestamp>, engine: SamplerEngine) -> RouteState {
    RouteState {
        target: Some(OtlpTarget {
            engine,
            ..target(Route::Collector, since)
        }),
        former_engine_exists: true,
        ..running(Route::Collector, None)
    }
}

#[test]
fn upgraded_stack_moves_to_the_sampler() {
    let stack = stack(json!({"sampler": {"engine": "Spoor"}}));
    let starting = RouteState {
        collector_is_ready: false,
        ..changing_engine(None, SamplerEngine::OpenTelemetry)
    };
    let waiting = plan(&stack, &starting, at(0));
    assert_eq!(waiting.target, target(Route::Collector, None));
    assert_eq!(waiting.traffic, Traffic::Waiting);
    assert_eq!(waiting.engine_change, EngineChange::Starting);
    assert_eq!(waiting.collector, CollectorAction::Run);
    assert!(waiting.keeps_former_engine);

    let moving = plan(
        &stack,
        &changing_engine(None, SamplerEngine::OpenTelemetry),
        at(0),
    );
    let switched = OtlpTarget {
        engine: SamplerEngine::Spoor,
        ..target(Route::Collector, Some(at(0)))
    };
    assert_eq!(moving.target, switched);
    assert_eq!(moving.route(), Route::Collector);
    assert!(matches!(moving.traffic, Traffic::Moving { .. }));
    assert!(moving.keeps_former_engine);
}

#[test]
fn traffic_waits_until_the_former_engine_keeps_all() {
    for (spec, former) in [
        ("Spoor", SamplerEngine::OpenTelemetry),
        ("OpenTelemetry", SamplerEngine::Spoor),
    ] {
        let stack = stack(json!({"sampler": {"engine": spec}}));
        let state = RouteState {
            former_engine_keeps_all: false,
            ..changing_engine(None, former)
        };
        let waiting = plan(&stack, &state, at(0));
        assert_eq!(waiting.target.engine, former);
        assert_eq!(waiting.traffic, Traffic::Waiting);
        assert_eq!(waiting.engine_change, EngineChange::Preparing);
        assert_eq!(waiting.replan_in, Some(PREPARATION_INTERVAL));
        assert!(waiting.keeps_former_engine);
    }
}

#[rstest]
// `maxTraceDuration` is 30 s.
#[case::to_the_sampler("Spoor", SamplerEngine::Spoor, 44..50)]
// The waits of both tiers are 2.17 s and 5 s.
#[case::to_the_tiers("OpenTelemetry", SamplerEngine::OpenTelemetry, 21..27)]
fn engines_overlap_until_traces_are_complete(
    #[case] spec: &str,
    #[case] engine: SamplerEngine,
    #[case] seconds: std::ops::Range<i64>,
) {
    let stack = stack(json!({"sampler": {"engine": spec}}));
    let state = changing_engine(Some(at(0)), engine);
    let change = |second| plan(&stack, &state, at(second)).engine_change;
    let overlaps = |second| matches!(change(second), EngineChange::Overlapping { .. });
    assert!(overlaps(0));
    assert!(overlaps(seconds.start), "{:?}", change(seconds.start));
    assert_eq!(change(seconds.end), EngineChange::None);
    let settled = plan(&stack, &state, at(seconds.start - 1));
    assert_eq!(settled.traffic, Traffic::Settled);
    let left = settled.replan_in.unwrap();
    assert!(left < Duration::from_secs(10), "{left:?}");
}

#[test]
fn direct_route_has_no_change_of_engine() {
    let direct = stack(json!({"route": "Direct", "sampler": {"engine": "Spoor"}}));
    let state = RouteState {
        former_engine_keeps_all: false,
        ..changing_engine(None, SamplerEngine::OpenTelemetry)
    };
    let leaving = plan(&direct, &state, at(0));
    assert_eq!(leaving.target.route, Route::Direct);
    assert_eq!(leaving.engine_change, EngineChange::None);
}

#[test]
fn former_engine_stays_until_its_spans_are_sent() {
    let stack = stack(json!({"sampler": {"engine": "Spoor"}}));
    let state = changing_engine(Some(at(0)), SamplerEngine::Spoor);
    let settled = plan(&stack, &state, at(60));
    assert_eq!(settled.traffic, Traffic::Settled);
    assert!(settled.keeps_former_engine);
    let left = settled.replan_in.unwrap();
    assert_eq!(left, FORMER_ENGINE_DRAIN - Duration::from_secs(60));
    let later = plan(&stack, &state, at(1000));
    assert!(!later.keeps_former_engine);
    assert_eq!(later.replan_in, None);
}

#[test]
fn engine_makes_no_difference_on_the_direct_route() {
    let stack = stack(json!({"route": "Direct", "sampler": {"engine": "Spoor"}}));
    let state = running(Route::Direct, None);
    let settled = plan(&stack, &state, at(0));
    assert_eq!(settled.target, target(Route::Direct, None));
    assert_eq!(settled.traffic, Traffic::Settled);
}

proptest! {
    /// Traffic never takes a route that is not ready, and the Collector is never removed while
    /// traffic takes its route or is moving.
    #[test]
    fn traffic_never_goes_to_an_unready_route(
        spec_is_direct: bool,
        is_direct: bool,
        since in proptest::option::of(0i64..100),
        jaeger_is_ready: bool,
        collector_is_ready: bool,
        now in 0i64..200,
    ) {
        let route = |direct| if direct { Route::Direct } else { Route::Collector };
        let stack = stack(json!({"route": route(spec_is_direct)}));
        let state = RouteState {
            target: Some(target(route(is_direct), since.map(at))),
            jaeger_is_ready,
            collector_is_ready,
            collector_exists: true,
            former_engine_exists: false,
            former_engine_keeps_all: true,
        };
        let progress = plan(&stack, &state, at(now));
        let is_ready = match progress.target.route {
            Route::Direct => jaeger_is_ready,
            Route::Collector => collector_is_ready,
        };
        let has_switched = progress.target.route != route(is_direct);
        prop_assert!(!has_switched || is_ready);
        if progress.collector == CollectorAction::Remove {
            prop_assert_eq!(progress.target.route, Route::Direct);
            prop_assert_eq!(progress.traffic, Traffic::Settled);
        }
        // Planning again at once changes nothing.
        let again = RouteState { target: Some(progress.target), ..state };
        prop_assert_eq!(plan(&stack, &again, at(now)), progress);
    }
}
