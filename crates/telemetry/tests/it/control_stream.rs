//! The stream's client against a control plane that the test controls.

mod plane;

use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use spoor_proto::spoor::control::v1::{
    Fault, Faults as WireFaults, Hello, client_message::Message as FromClient,
    server_message::Message as ToClient,
};
use tokio::{
    net::TcpListener,
    time::{Instant, timeout},
};
use tonic::Status;

use crate::sampler::{phase, plan, probability};
use plane::{Client, DEADLINE, Plane, everything, nothing, plane, until};

#[tokio::test]
async fn sends_hello_and_acknowledges_a_plan() {
    let mut plane = plane().await;
    let client = Client::start(plane.address);
    let mut stream = plane.next().await;
    let hello = stream.hello().await;
    assert_eq!(
        (hello.service.as_str(), hello.instance.as_str()),
        ("service-a", "one")
    );
    assert_eq!(hello.start, "start");
    assert_eq!((hello.held, hello.held_digest), (None, Vec::new()));

    stream.push(nothing(1)).await;
    let FromClient::Acknowledgement(acknowledged) = stream.next_message().await else {
        panic!("expected an acknowledgement");
    };
    assert_eq!(acknowledged.version.unwrap().sequence, 1);
    assert!(!client.sample_root());
    client.stop().await;
}

#[tokio::test]
async fn refuses_a_bad_plan_and_keeps_the_last() {
    let mut plane = plane().await;
    let client = Client::start(plane.address);
    let mut stream = plane.next().await;
    stream.push(nothing(1)).await;
    assert!(matches!(stream.hello().await, Hello { .. }));
    assert!(matches!(
        stream.next_message().await,
        FromClient::Acknowledgement(_)
    ));

    stream
        .push(plan(2, vec![phase(Some(probability(2_000_000)), &[])]))
        .await;
    let FromClient::Refusal(refusal) = stream.next_message().await else {
        panic!("expected a refusal")
    };
    assert_eq!(refusal.version.unwrap().sequence, 2);
    assert!(
        refusal.reason.contains("probability_millionths"),
        "{}",
        refusal.reason
    );
    assert!(!client.sample_root(), "the previous plan stays in force");

    stream.push(everything(3)).await;
    assert!(matches!(
        stream.next_message().await,
        FromClient::Acknowledgement(_)
    ));
    assert!(client.sample_root());
    client.stop().await;
}

#[tokio::test]
async fn applies_and_removes_faults() {
    let mut plane = plane().await;
    let client = Client::start(plane.address);
    let stream = plane.next().await;
    let delay_millis = 300;
    let fault = Fault {
        operation: String::new(),
        delay_millis,
        error_rate_millionths: 1_000_000,
    };
    stream
        .send(ToClient::Faults(WireFaults {
            faults: vec![fault],
        }))
        .await;
    until("the fault", || client.faults.decide("GET /").should_fail).await;
    assert_eq!(
        client.faults.decide("GET /").delay,
        Some(Duration::from_millis(300))
    );

    stream
        .send(ToClient::Faults(WireFaults { faults: Vec::new() }))
        .await;
    until("no fault", || !client.faults.decide("GET /").should_fail).await;
    client.stop().await;
}

#[tokio::test]
async fn empty_list_keeps_faults_of_the_settings() {
    let mut plane = plane().await;
    let client = Client::start(plane.address);
    let faults = spoor_telemetry::faults::parse("errors=100%").unwrap();
    client.faults.set(faults);
    let mut stream = plane.next().await;
    let none = WireFaults { faults: Vec::new() };
    stream.send(ToClient::Faults(none)).await;
    // Messages are handled in order.
    stream.push(nothing(1)).await;
    assert!(matches!(stream.next_message().await, FromClient::Hello(_)));
    assert!(matches!(
        stream.next_message().await,
        FromClient::Acknowledgement(_)
    ));
    assert!(client.faults.decide("GET /").should_fail);
    client.stop().await;
}

#[tokio::test]
async fn reports_changes_and_heartbeats() {
    let mut plane = plane().await;
    let client = Client::start(plane.address);
    let mut stream = plane.next().await;
    stream.push(everything(1)).await;
    until("the plan", || client.live.held().is_some()).await;
    assert!(client.sample_root());
    let report = stream.report(|report| !report.counts.is_empty()).await;
    let count = report.counts.first().unwrap();
    assert_eq!((count.started, count.sampled), (1, 1));

    let mut again = stream.report(|_| true).await;
    assert!(again.unix_millis > report.unix_millis, "{again:?}");
    again.unix_millis = report.unix_millis;
    assert_eq!(again, report, "only the time has changed");
    client.stop().await;
}

#[tokio::test]
async fn sends_a_final_report_when_it_stops() {
    let mut plane = plane().await;
    let client = Client::start(plane.address);
    let mut stream = plane.next().await;
    stream.push(everything(1)).await;
    until("the plan", || client.live.held().is_some()).await;
    for _ in 0..1_000 {
        client.sample_root();
    }
    client.stop.cancel();
    let mut last = None;
    while let Some(message) = timeout(DEADLINE, stream.incoming.message())
        .await
        .unwrap()
        .unwrap()
    {
        last = message.message;
    }
    let Some(FromClient::Report(report)) = last else {
        panic!("expected a report, not {last:?}")
    };
    assert_eq!(
        report.counts.first().map(|count| count.started),
        Some(1_000)
    );
    drop(stream);
    client.stop().await;
}

#[tokio::test]
async fn lost_connection_keeps_the_plan() {
    let mut plane = plane().await;
    let address = plane.address;
    let client = Client::start(address);
    let mut stream = plane.next().await;
    stream.push(nothing(7)).await;
    assert!(matches!(stream.next_message().await, FromClient::Hello(_)));
    assert!(matches!(
        stream.next_message().await,
        FromClient::Acknowledgement(_)
    ));
    drop(stream);
    plane.kill().await;
    assert!(!client.sample_root());

    let mut plane = Plane::start(address).await;
    let back = Instant::now();
    let mut stream = plane.next().await;
    assert!(
        back.elapsed() < Duration::from_secs(2),
        "noticed after {:?}",
        back.elapsed()
    );
    let hello = stream.hello().await;
    assert_eq!(hello.held.unwrap().sequence, 7);
    assert_eq!(hello.held_digest, 7_u64.to_be_bytes());
    let report = stream.report(|_| true).await;
    assert_eq!(
        report.counts.first().map(|count| count.started),
        Some(1),
        "counts continue"
    );
    client.stop().await;
}

#[tokio::test]
async fn reconnect_delay_grows_under_overload() {
    let mut plane = plane().await;
    let client = Client::start(plane.address);
    let started = Instant::now();
    for _ in 0..5 {
        let stream = plane.next().await;
        let none = WireFaults { faults: Vec::new() };
        stream.send(ToClient::Faults(none)).await;
        stream.end(Status::resource_exhausted("no room")).await;
    }
    // The delays are at least half of 50, 100, 200 and 400 ms.
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(375), "{took:?}");
    client.stop().await;
}

#[tokio::test]
async fn phases_end_without_a_connection() {
    let mut plane = plane().await;
    let client = Client::start(plane.address);
    let stream = plane.next().await;
    let mut first = phase(Some(probability(0)), &[]);
    let end = Timestamp::now().checked_add(400.milliseconds()).unwrap();
    first.until_unix_millis = Some(end.as_millisecond());
    stream
        .push(plan(
            1,
            vec![first, phase(Some(probability(1_000_000)), &[])],
        ))
        .await;
    until("the plan", || client.live.held().is_some()).await;
    drop(stream);
    plane.kill().await;
    until("the phase's end", || client.sample_root()).await;
    assert!(Timestamp::now() >= end);
    client.stop().await;
}

#[tokio::test]
async fn stops_without_a_control_plane() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let client = Client::start(closed);
    assert!(client.sample_root(), "the fallback decides");
    let start = Instant::now();
    client.stop().await;
    assert!(start.elapsed() < Duration::from_secs(2));
}
