//! `spoor load`, and its traces in `spoor traces` and `spoor trace`.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    time::timeout,
};

use crate::lab::{Lab, command, eventually, policy, run, send};

#[tokio::test(flavor = "multi_thread")]
async fn load_produces_complete_traces() {
    let lab = Lab::start().await;
    let sent = lab
        // Few at a time: forty computations at once would exceed service-a's deadline on a busy
        // machine.
        .load(&[
            "--requests",
            "40",
            "--connections",
            "4",
            "--path",
            "/?wait=1ms",
        ])
        .await;
    assert_eq!(
        (&sent["requests"], &sent["failed"]),
        (&40.into(), &0.into()),
        "{sent:#}"
    );
    assert_eq!(sent["corrected"], false, "{sent:#}");

    let all = || async {
        lab.traces(&["traces", "--service", "service-a", "--limit", "100"])
            .await
    };
    let is_complete = |found: &serde_json::Value| {
        let traces = found.as_array().unwrap();
        traces.len() == 40 && traces.iter().all(|trace| trace["spans"] == 5)
    };
    let found = eventually("40 traces of 5 spans", all, is_complete).await;
    assert_eq!(found[0]["root"], "GET /");
    // Without an address of the query API, the lab is asked for it.
    let shown = lab.json(&["traces", "--limit", "1", "-o", "json"]).await;
    assert_eq!(shown[0]["root"], "GET /");
    assert_eq!(
        found[0]["services"],
        serde_json::json!(["service-a", "service-b"])
    );

    let latest = lab.traces_text(&["trace", "latest"]).await;
    for expected in ["service-b", "heavy_calc", "Bottleneck: ", "◀ slowest"] {
        assert!(latest.contains(expected), "{expected} in {latest}");
    }
    assert!(
        !latest.contains('\u{1b}'),
        "no colour outside a terminal: {latest:?}"
    );
}

#[tokio::test]
async fn follow_prints_only_new_traces() {
    let lab = Lab::start_with(&["--services", "service-b,service-a"]).await;
    lab.request().await;
    let all = || async { lab.traces(&["traces"]).await };
    let is_found = |found: &serde_json::Value| !found[0].is_null();
    let found = eventually("the first trace", all, is_found).await;
    let earlier = found[0]["traceId"].as_str().unwrap();

    let mut follow = command();
    follow.env("SPOOR_TRACES_URL", lab.url("traces"));
    follow.args(["traces", "--follow"]).stdout(Stdio::piped());
    let mut process = follow.spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let shown = async {
        // Printed once the earlier traces are known.
        let heading = lines.next_line().await.unwrap().unwrap();
        assert!(heading.starts_with("TRACE "), "{heading}");
        lab.request().await;
        let line = lines.next_line().await.unwrap().unwrap();
        assert!(line.contains("GET /") && !line.contains(earlier), "{line}");
        send("-INT", process.id().unwrap());
        assert_eq!(lines.next_line().await.unwrap(), None);
        process.wait().await.unwrap().code()
    };
    let code = timeout(Duration::from_secs(60), shown).await.unwrap();
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn policy_that_hides_traces_is_named() {
    let lab = Lab::start_with(&["--services", "service-b,service-a"]).await;
    lab.apply(&policy("off", "0%")).await;
    assert_eq!(lab.requests(3).await, 0);
    let url = lab.url("traces");
    let ended = lab.spoor(&["trace", "latest", "--traces-url", url]).await;
    let named = "policy off (0%) is in force; delete it to keep every trace\n";
    assert!(ended.stderr.ends_with(named), "{ended:?}");
    let arguments = ["traces", "--service", "service-a", "--traces-url", url];
    let ended = lab.spoor(&arguments).await;
    assert!(ended.stderr.ends_with(named), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn latency_counts_from_the_due_time() {
    let lab = Lab::start().await;
    let sent = lab
        .load(&[
            "--rate",
            "40",
            "--duration",
            "1s",
            "--connections",
            "1",
            "--path",
            "/?wait=100ms&calc=0",
        ])
        .await;
    // One connection sends ten requests per second: the last of 40 waits for most of the others.
    assert_eq!(sent["corrected"], true, "{sent:#}");
    let slowest = sent["latencyMilliseconds"]["max"].as_f64().unwrap();
    assert!(slowest >= 500.0, "{sent:#}");
    let (sent_in_time, unsent) = (&sent["requests"], &sent["unsent"]);
    assert_eq!(
        sent_in_time.as_u64().unwrap() + unsent.as_u64().unwrap(),
        40,
        "unsent requests are reported: {sent:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_cause_failures_and_error_spans() {
    let lab = Lab::start().await;
    lab.ok(&["fault", "service-b", "--errors", "100%"]).await;
    let failing = || async {
        lab.load(&["--requests", "5", "--path", "/?wait=0ms&calc=0"])
            .await
    };
    let sent = eventually("all to fail", failing, |sent| sent["failed"] == 5).await;
    assert_eq!(sent["results"]["500"], 5, "{sent:#}");
    let red = || async { lab.traces(&["traces", "--errors"]).await };
    let both = |found: &serde_json::Value| found[0]["errors"].as_u64() >= Some(2);
    eventually("errors on both services' spans", red, both).await;
    lab.ok(&["fault", "--clear"]).await;
    eventually("none to fail", failing, |sent| sent["failed"] == 0).await;
}

#[tokio::test]
async fn unknown_trace_prints_one_line() {
    let lab = Lab::start_with(&["--services", "service-b"]).await;
    let mut trace = command();
    let id = "5b8aa5a2d2c872e8321cf37308d69df2";
    trace.args(["trace", id, "--traces-url", lab.url("traces")]);
    let ended = run(&mut trace, "").await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert!(
        ended.stderr.contains("no trace 5b8aa5a2") && !ended.stderr.contains('{'),
        "{ended:?}"
    );
}

#[tokio::test]
async fn missing_server_prints_one_line() {
    let nowhere = "http://127.0.0.1:9";
    for arguments in [
        vec!["load", "--url", nowhere],
        vec!["traces", "--traces-url", nowhere],
        vec!["trace", "latest", "--traces-url", nowhere],
    ] {
        let ended = run(command().args(&arguments), "").await;
        assert_eq!(ended.code, Some(1), "{arguments:?}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{arguments:?}: {ended:?}");
        assert!(
            ended.stderr.contains("spoor up"),
            "{arguments:?}: {ended:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lab_exports_the_traces_of_its_own_work() {
    let receiver = Lab::start_with(&["--services", "service-b"]).await;
    let endpoint = [("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url("otlp-grpc"))];
    let lab = Lab::start_in_environment(&endpoint, &["--services", "service-b"]).await;
    let policy = policy("own", "0%").replace("service-a", "service-b");
    lab.apply(&policy).await;
    let operation = "POST /v1/policies";
    let requests = async || {
        let found = ["traces", "--service", "spoor-lab", "--operation", operation];
        receiver.traces(&found).await
    };
    let found = eventually("the request's trace", &requests, |it| it[0]["spans"] == 2).await;
    let id = found[0]["traceId"].as_str().unwrap();
    let spans = receiver.traces(&["trace", id]).await["spans"].take();
    assert_eq!(spans[0]["operation"], operation, "{spans:#}");
    assert_eq!(spans[1]["operation"], "publish policies", "{spans:#}");
}
