//! Stacks with Spoor's sampler.

use spoor_api::tracing_stack::SamplerRings;

use super::*;

/// A stack with Spoor's sampler, all parts of which run.
fn with_sampler() -> Case {
    Case {
        spec: json!({"sampler": {"engine": "Spoor"}}),
        target: OtlpTarget {
            route: Route::Collector,
            engine: SamplerEngine::Spoor,
            since: None,
        },
        health: StackHealth {
            jaeger: READY,
            collector: READY,
            sampler: READY,
            ready_samplers: 1,
            ..StackHealth::default()
        },
        ..Case::default()
    }
}

#[test]
fn status_of_a_stack_with_a_sampler() {
    let status = with_sampler().status();
    let expected = SamplerStatus {
        engine: SamplerEngine::Spoor,
        replicas: 1,
        ready_replicas: 1,
        rings: None,
    };
    assert_eq!(status.sampler, Some(expected));
    assert_eq!(status.tail, None);
    let prometheus = status.endpoints.as_ref().unwrap().prometheus.as_deref();
    assert_eq!(prometheus, Some("tracing-collector.shop.svc:8889"));
    let text = conditions_of(&status);
    assert!(text.contains("Available=True Ready"), "{text}");
    assert!(text.contains("Progressing=False Settled"), "{text}");
}

#[test]
fn status_while_samplers_are_scaled() {
    let status = |members: &[u32]| {
        let rings = SamplerRings {
            generation: 7,
            members: members.to_vec(),
        };
        let mut case = with_sampler();
        case.spec["sampler"]["replicas"] = json!(3);
        case.health.ready_samplers = 3;
        case.scaling = Some(ScalingPlan {
            rings: rings.clone(),
            replicas: 3,
            is_complete: members == [3],
        });
        let status = case.status();
        let sampler = status.sampler.clone().unwrap();
        assert_eq!((sampler.replicas, sampler.rings), (3, Some(rings)));
        conditions_of(&status)
    };
    for (members, expected) in [
        (&[1][..], "Scaling: 1 of 3 samplers divide the traces; the"),
        (
            &[1, 3][..],
            "Scaling: 3 of 3 samplers divide the new traces; earlier",
        ),
        (&[3][..], "Settled: "),
    ] {
        let text = status(members);
        assert!(text.contains(expected), "{members:?}: {text}");
    }
}

#[test]
fn rings_outlive_other_states() {
    let rings = SamplerRings {
        generation: 7,
        members: vec![3],
    };
    let mut case = with_sampler();
    case.previous.sampler = Some(SamplerStatus {
        rings: Some(rings.clone()),
        ..SamplerStatus::default()
    });
    let status = case.status();
    assert_eq!(status.sampler.unwrap().rings, Some(rings));
}

#[test]
fn missing_sampler_is_named() {
    let mut case = with_sampler();
    case.health.sampler = STARTING;
    case.health.ready_samplers = 0;
    let text = conditions_of(&case.status());
    let missing = "Available=False NotReady: no ready pods for the sampler";
    assert!(text.contains(missing), "{text}");
    let waiting = "Progressing=True RollingOut: waiting for the pods of the sampler";
    assert!(text.contains(waiting), "{text}");
}

#[test]
fn sampler_of_an_existing_collector_is_named() {
    let existing = json!({"otlp": "collector.tools.svc:4317", "kept": "collector.tools.svc:4319"});
    let case = |sampler| {
        let mut case = with_sampler();
        case.spec = json!({"collector": {"existing": existing}});
        case.health.collector = PartHealth::default();
        case.health.sampler = sampler;
        case.status()
    };
    let ready = case(READY);
    assert_eq!(ready.sampler.as_ref().unwrap().ready_replicas, 1);
    assert_eq!(ready.endpoints.as_ref().unwrap().prometheus, None);
    let text = conditions_of(&ready);
    assert!(text.contains("Available=True Ready"), "{text}");
    assert!(text.contains("Progressing=False Settled"), "{text}");
    let text = conditions_of(&case(STARTING));
    let missing = "Available=False NotReady: no ready pods for the sampler";
    assert!(text.contains(missing), "{text}");
    let waiting = "Progressing=True RollingOut: waiting for the pods of the sampler";
    assert!(text.contains(waiting), "{text}");
}

#[test]
fn status_while_the_engine_changes() {
    let former = OtlpTarget {
        route: Route::Collector,
        engine: SamplerEngine::OpenTelemetry,
        since: None,
    };
    let mut starting = with_sampler();
    starting.target = former;
    starting.health.sampler = STARTING;
    starting.health.gather = READY;
    starting.health.decide = READY;
    let starting = starting.status();
    let text = conditions_of(&starting);
    assert!(text.contains("Available=True Ready"), "{text}");
    let waiting = "Progressing=True WaitingForRoute: the new sampler is not ready yet";
    assert!(text.contains(waiting), "{text}");

    let mut preparing = with_sampler();
    preparing.target = former;
    preparing.health.gather = READY;
    preparing.health.decide = READY;
    preparing.health.tail = Case::default().health.tail;
    preparing.former_engine_keeps_all = false;
    preparing.waiting = Some(RolloutWait::ExporterFails);
    let preparing = preparing.status();
    assert!(preparing.tail.is_some());
    let text = conditions_of(&preparing);
    let waiting = "Progressing=True WaitingForRoute: the new sampler is ready; traffic stays on \
                   the former one until that one keeps every trace; waiting to apply new tail rules";
    assert!(text.contains(waiting), "{text}");

    let mut moving = with_sampler();
    moving.target = former;
    moving.health.gather = READY;
    moving.health.decide = READY;
    let moving = moving.status();
    assert_eq!(moving.route, Some(Route::Collector));
    let text = conditions_of(&moving);
    let leaving = "Progressing=True MovingTraffic: new connections go to the Collector with";
    assert!(text.contains(leaving), "{text}");

    let moved = |second| {
        let mut moved = with_sampler();
        moved.target.since = Some(time(0));
        moved.at = second;
        moved.health.gather = READY;
        moved.health.decide = READY;
        moved.health.tail = Case::default().health.tail;
        moved.status()
    };
    let overlapping = moved(30);
    assert!(overlapping.tail.is_some());
    let text = conditions_of(&overlapping);
    let keeping = "Progressing=True MovingTraffic: the new sampler keeps every trace until none";
    assert!(text.contains(keeping), "{text}");
    let complete = moved(60);
    assert_eq!(complete.tail, None);
    let text = conditions_of(&complete);
    let staying = "Progressing=True MovingTraffic: the former sampler stays until";
    assert!(text.contains(staying), "{text}");
}
