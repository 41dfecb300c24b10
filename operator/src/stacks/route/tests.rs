#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use serde_json::{Value, json};
use spoor_api::{Metadata, TracingStack};

use super::*;
use crate::stacks::validate::validate;

fn stack(spec: Value) -> Stack {
    let spec = serde_json::from_value(spec).unwrap();
    validate(&TracingStack::new(Metadata::named("tracing"), spec)).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// Everything runs, and services lead there.
fn running(to: Route, since: Option<Timestamp>) -> Observed {
    Observed {
        leads: Some(Leads { to, since }),
        jaeger_is_ready: true,
        collector_is_ready: true,
        collector_exists: true,
    }
}

#[test]
fn a_new_stack_leads_where_it_should_from_the_beginning() {
    for (route, fate) in [("Collector", Fate::Run), ("Direct", Fate::Go)] {
        let stack = stack(json!({"route": route}));
        let nothing = Observed {
            leads: None,
            jaeger_is_ready: false,
            collector_is_ready: false,
            collector_exists: false,
        };
        let progress = next(&stack, &nothing, at(0));
        let leads = Leads {
            to: stack.route,
            since: None,
        };
        assert_eq!(progress.leads, leads);
        assert_eq!(
            (progress.collector, progress.traffic),
            (fate, Traffic::Settled)
        );
    }
}

#[test]
fn to_jaeger_the_collector_stays_until_all_that_it_took_is_through() {
    let stack = stack(json!({"route": "Direct"}));
    let first = next(&stack, &running(Route::Collector, None), at(0));
    let turned = Leads {
        to: Route::Direct,
        since: Some(at(0)),
    };
    assert_eq!(first.leads, turned);
    assert_eq!(first.collector, Fate::Stay);
    assert_eq!(first.route(), Route::Collector, "not all traffic has moved");
    let Traffic::Moving { left } = first.traffic else {
        panic!("{:?}", first.traffic);
    };
    // Connections end within 5.5 s and 5 s of grace; the waits of both tiers are 2 s and 5 s.
    let expected = Duration::from_secs(18)..Duration::from_secs(40);
    assert!(expected.contains(&left), "{left:?}");

    let seconds = i64::try_from(left.as_secs()).unwrap();
    let before = next(
        &stack,
        &running(Route::Direct, Some(at(0))),
        at(seconds - 1),
    );
    assert_eq!(
        (before.collector, before.route()),
        (Fate::Stay, Route::Collector)
    );
    let after = next(
        &stack,
        &running(Route::Direct, Some(at(0))),
        at(seconds + 1),
    );
    assert_eq!((after.collector, after.route()), (Fate::Go, Route::Direct));
}

#[test]
fn what_the_collector_may_still_hold_waits_for_jaeger() {
    let stack = stack(json!({"route": "Direct"}));
    let away = Observed {
        jaeger_is_ready: false,
        ..running(Route::Direct, Some(at(0)))
    };
    let held = next(&stack, &away, at(1000));
    assert_eq!((held.collector, held.traffic), (Fate::Stay, Traffic::Held));
    // Once it is gone, a Jaeger that begins anew doesn't bring it back.
    let gone = Observed {
        collector_exists: false,
        ..away
    };
    assert_eq!(next(&stack, &gone, at(1000)).collector, Fate::Go);
}

#[test]
fn to_the_collector_traffic_waits_until_it_is_ready() {
    let stack = stack(json!({}));
    let starting = Observed {
        collector_is_ready: false,
        ..running(Route::Direct, None)
    };
    let waiting = next(&stack, &starting, at(0));
    assert_eq!(waiting.leads.to, Route::Direct);
    assert_eq!(
        (waiting.collector, waiting.traffic),
        (Fate::Run, Traffic::Waiting)
    );
    assert_eq!(waiting.route(), Route::Direct);
    let turned = next(&stack, &running(Route::Direct, None), at(7));
    let leads = Leads {
        to: Route::Collector,
        since: Some(at(7)),
    };
    assert_eq!(turned.leads, leads);
}

#[test]
fn a_change_of_mind_on_the_way_turns_back_at_once() {
    let back = next(
        &stack(json!({})),
        &running(Route::Direct, Some(at(0))),
        at(5),
    );
    assert_eq!(
        (back.leads.to, back.leads.since),
        (Route::Collector, Some(at(5)))
    );
    assert_eq!(back.collector, Fate::Run);
}

#[test]
fn what_somebody_else_runs_is_taken_to_be_there() {
    let stack = stack(json!({"collector": {"existing": {"otlp": "collector.tools.svc:4317"}}}));
    let observed = Observed {
        collector_is_ready: false,
        collector_exists: false,
        ..running(Route::Direct, None)
    };
    assert_eq!(next(&stack, &observed, at(0)).leads.to, Route::Collector);
}

proptest! {
    /// Whatever happens, services are never turned to what isn't ready, and the Collector never
    /// goes while they lead to it or while traffic is moving.
    #[test]
    fn traffic_is_never_sent_into_nothing(
        wants_direct: bool,
        leads_direct: bool,
        since in proptest::option::of(0i64..100),
        jaeger_is_ready: bool,
        collector_is_ready: bool,
        now in 0i64..200,
    ) {
        let route = |direct| if direct { Route::Direct } else { Route::Collector };
        let stack = stack(json!({"route": route(wants_direct).as_str()}));
        let observed = Observed {
            leads: Some(Leads { to: route(leads_direct), since: since.map(at) }),
            jaeger_is_ready,
            collector_is_ready,
            collector_exists: true,
        };
        let progress = next(&stack, &observed, at(now));
        let is_ready = match progress.leads.to {
            Route::Direct => jaeger_is_ready,
            Route::Collector => collector_is_ready,
        };
        let has_turned = progress.leads.to != route(leads_direct);
        prop_assert!(!has_turned || is_ready);
        if progress.collector == Fate::Go {
            prop_assert_eq!(progress.leads.to, Route::Direct);
            prop_assert_eq!(progress.traffic, Traffic::Settled);
        }
        // Looking again at once changes nothing.
        let again = Observed { leads: Some(progress.leads), ..observed };
        prop_assert_eq!(next(&stack, &again, at(now)), progress);
    }
}
