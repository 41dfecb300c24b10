//! `spoor probe`: a request and its trace.

use crate::lab::{Lab, command, run, succeeded};

#[tokio::test(flavor = "multi_thread")]
async fn finds_a_trace_of_both_services() {
    let lab = Lab::start().await;
    let found = succeeded(probe(&lab, &["--expect", "service-a,service-b"]).await);
    let (id, found) = found.trim_end().split_once(": ").unwrap();
    assert_eq!(
        (id.len(), found),
        (32, "complete, 5 spans of service-a, service-b")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn timeout_names_what_is_missing() {
    let lab = Lab::start().await;
    let ended = probe(&lab, &["--expect", "service-z", "--timeout", "4s"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for expected in ["within 4s", "it has no span of service-z"] {
        assert!(ended.stderr.contains(expected), "{expected}: {ended:?}");
    }
}

#[tokio::test]
async fn missing_lab_is_reported_with_a_fix() {
    let mut probe = command();
    // Nothing listens on port 1, which only root may open.
    probe.args(["probe", "--url", "http://127.0.0.1:1/", "--timeout", "2s"]);
    let ended = run(&mut probe, "").await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let expected = "nothing listens at http://127.0.0.1:1/; start a lab with `spoor up`";
    assert!(ended.stderr.contains(expected), "{ended:?}");
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
