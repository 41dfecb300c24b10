#![allow(clippy::unwrap_used)]

use jiff::Timestamp;
use spoor_policy::{
    Namespace, Policy, PolicyFields, PolicyKey, Strategy, Target, TracesPerSecond, resolve,
};
use spoor_proto::spoor::control::v1::client_message::Message;

use super::*;
use crate::settings::ControlSettings;

/// A control plane with a rate limit for the service `a`.
fn control() -> Control {
    let control = Control::new(ControlSettings::default());
    let policy = Policy::new(PolicyFields {
        key: PolicyKey {
            namespace: Namespace::default(),
            name: "limit".parse().unwrap(),
        },
        priority: 0,
        created: Timestamp::UNIX_EPOCH,
        targets: vec![Target {
            service: "a".parse().unwrap(),
            operations: vec![],
        }],
        head: Some(Strategy::RateLimit(TracesPerSecond::new(10).unwrap())),
        tail: None,
        expires_at: None,
    });
    let policies = [policy.unwrap()];
    control.publish(resolve(&policies, Timestamp::now()));
    control
}

/// Connects the process with a plan that it already has, if any.
fn connect(control: &Control, held: Option<&ServedPlan>) -> (Session, Option<Arc<ServedPlan>>) {
    connect_process(control, "", held)
}

/// Connects a process of the same instance.
fn connect_process(
    control: &Control,
    start: &str,
    held: Option<&ServedPlan>,
) -> (Session, Option<Arc<ServedPlan>>) {
    let identity = Identity {
        namespace: Namespace::default(),
        service: "a".parse().unwrap(),
        instance: "1".to_owned(),
    };
    let hello = proto::Hello {
        service: "a".to_owned(),
        instance: "1".to_owned(),
        start: start.to_owned(),
        held: held.map(|plan| served_plan::version_to_proto(plan.version)),
        held_digest: held.map_or_else(Vec::new, |plan| plan.digest.0.to_be_bytes().to_vec()),
    };
    Session::register(control, &identity, &hello).unwrap()
}

/// Connects the process for the first time, and sends it the plan.
fn connect_with_plan(control: &Control) -> (Session, Arc<ServedPlan>) {
    let (session, held) = connect(control, None);
    assert!(held.is_none());
    let outgoing = session.outgoing();
    let served = outgoing.borrow().plan.clone().unwrap();
    session.record_sent(&served).unwrap();
    (session, served)
}

#[test]
fn report_with_too_many_counts_updates_spans() {
    let control = control();
    let (session, served) = connect_with_plan(&control);
    let now = Timestamp::now().as_millisecond();
    let report = proto::Report {
        counts: vec![proto::Count {
            version: Some(served_plan::version_to_proto(served.version)),
            first_unix_millis: now,
            last_unix_millis: now,
            started: 3,
            ..Default::default()
        }],
        spans_exported: 7,
        ..Default::default()
    };
    let handle_report = || {
        let message = Some(Message::Report(report.clone()));
        let message = proto::ClientMessage { message };
        session.handle_message(message).unwrap();
        let exported = control.instances()[0].spans_exported;
        let counts = control.counts(&Namespace::default(), &"a".parse().unwrap(), None);
        (exported, counts.started)
    };
    let room = Arc::clone(control.count_room());
    let all = u32::try_from(room.available_permits()).unwrap();
    let taken = room.try_acquire_many_owned(all).unwrap();
    assert_eq!(handle_report(), (7, 0));
    drop(taken);
    assert_eq!(handle_report(), (7, 3));
}

#[test]
fn drop_reasons_of_an_instance_are_bounded() {
    let control = control();
    let streams = [0, 1, 2].map(|process| {
        let (session, _) = connect_process(&control, &process.to_string(), None);
        let dropped = (0..8).map(|number| proto::DroppedSpans {
            reason: format!("Reason{process}{number}"),
            spans: 1,
        });
        let report = proto::Report {
            spans_dropped: dropped.collect(),
            ..Default::default()
        };
        let message = Some(Message::Report(report));
        session
            .handle_message(proto::ClientMessage { message })
            .unwrap();
        session
    });
    let instances = control.instances();
    let dropped = &instances[0].spans_dropped;
    assert_eq!((dropped.len(), dropped["Other"]), (9, 16));
    drop(streams);
    // They still count after the processes have ended.
    let dropped = control.spans_dropped();
    assert_eq!((dropped.len(), dropped.values().sum::<u64>()), (24, 24));
}

#[test]
fn logged_reason_is_one_short_line() {
    let sent = format!(
        "a\r\n\u{1b}[31m\u{202e}b\u{85}\u{2066}{}",
        "x".repeat(1_000)
    );
    let reason = record::shortened(&sent);
    assert!(reason.starts_with("a[31mbx"), "{reason}");
    assert_eq!(reason.len(), 256);
}

#[test]
fn shares_end_with_the_stream() {
    let control = control();
    let (session, served) = connect_with_plan(&control);
    let mut state = session.service.state();
    let record = session.record(&mut state.instances).unwrap();
    record.acknowledge(served.version, None);
    assert!(record.loan.set(&None, 0.5));
    record.loan.add_message(|| 1);
    drop(state);
    assert_eq!(session.shares(None).unwrap().0, 1);
    drop(session);
    let (session, held) = connect(&control, Some(&served));
    // The process still applies its shares, until it receives the plan again.
    assert!(held.is_none());
    assert_eq!(session.shares(None), None);
}
