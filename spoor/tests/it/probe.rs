//! `spoor probe`: a request and its trace.

use crate::lab::{Lab, command, run, succeeded};

#[tokio::test(flavor = "multi_thread")]
async fn finds_the_trace_of_a_request_in_both_services() {
    let lab = Lab::start().await;
    let found = succeeded(probe(&lab, &["--expect", "service-a,service-b"]).await);
    let (id, found) = found.trim_end().split_once(": ").unwrap();
    assert_eq!(
        (id.len(), found),
        (32, "complete, 5 spans of service-a, service-b")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn says_what_is_missing_when_the_time_is_over() {
    let lab = Lab::start().await;
    let ended = probe(&lab, &["--expect", "service-z", "--timeout", "4s"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for expected in ["within 4s", "it has no span of service-z"] {
        assert!(ended.stderr.contains(expected), "{expected}: {ended:?}");
    }
}

#[tokio::test]
async fn absent_lab_is_named_with_what_to_do() {
    let mut probe = command();
    // Nothing listens on port 1, which only root may open.
    probe.args(["probe", "--url", "http://127.0.0.1:1/", "--timeout", "2s"]);
    let ended = run(&mut probe, "").await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let said = "nothing listens at http://127.0.0.1:1/; start a lab with `spoor up`";
    assert!(ended.stderr.contains(said), "{ended:?}");
}

async fn probe(lab: &Lab, options: &[&str]) -> crate::lab::Ended {
    let edge = format!("{}/?wait=1ms", lab.url("service-a"));
    let traces = lab.url("traces");
    let mut probe = command();
    probe
        .args(["probe", "--url", &edge, "--traces-url", traces])
        .args(options);
    run(&mut probe, "").await
}
