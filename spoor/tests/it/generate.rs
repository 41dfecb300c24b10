//! `spoor generate`: its summary matches the traces that arrive.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::lab::{Lab, command, eventually, run};

#[tokio::test(flavor = "multi_thread")]
async fn reported_traces_arrive() {
    let lab = Lab::start().await;
    let mut generate = command();
    generate
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", lab.url("otlp-grpc"))
        .args(["generate", "--service", "shop", "--service", "till"])
        .args(["--traces", "60", "--rate", "100", "--spans", "5"])
        .args(["--spread", "200ms", "--errors", "50%", "--trace-ids"])
        .args(["--error-in", "last-span", "--output", "json"]);
    let ended = run(&mut generate, "").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let sent: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&sent["traces"], &sent["spans"]), (&60.into(), &300.into()));
    assert_eq!(sent["exported"], 300, "{sent:#}");
    assert_eq!(sent["services"]["till"]["traces"], 30, "{sent:#}");

    let found = || async { lab.traces(&["traces", "--limit", "100"]).await };
    let is_complete = |found: &Value| {
        let traces = found.as_array().unwrap();
        traces.len() == 60 && traces.iter().all(|trace| trace["spans"] == 5)
    };
    let found = eventually("60 traces of 5 spans", found, is_complete).await;
    let (mut with_error, mut without_error) = (BTreeSet::new(), BTreeSet::new());
    for trace in found.as_array().unwrap() {
        assert_eq!(trace["services"].as_array().unwrap().len(), 2, "{trace:#}");
        let id = trace["traceId"].as_str().unwrap();
        match trace["errors"] == 1 {
            true => with_error.insert(id),
            false => without_error.insert(id),
        };
    }
    assert_eq!(sent["errors"], with_error.len(), "{sent:#}");
    let listed = |ids: &'static str| -> BTreeSet<&str> {
        let ids = sent["traceIds"][ids].as_array().unwrap().iter();
        ids.map(|id| id.as_str().unwrap()).collect()
    };
    assert_eq!(with_error, listed("withError"));
    assert_eq!(without_error, listed("withoutError"));
}

#[tokio::test]
async fn dropped_spans_are_counted_and_fail() {
    let mut generate = command();
    generate
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        .env("OTEL_BSP_MAX_QUEUE_SIZE", "10")
        .args(["generate", "--traces", "50", "--rate", "2000"])
        .args(["--spread", "1ms", "--grace", "1s", "--output", "json"]);
    let ended = run(&mut generate, "").await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let sent: Value = serde_json::from_str(&ended.stdout).unwrap();
    let dropped = sent["dropped"].as_object().unwrap();
    let dropped: u64 = dropped.values().filter_map(Value::as_u64).sum();
    assert_eq!(dropped, 200, "{sent:#}");
    assert_eq!(sent["exported"], 0, "{sent:#}");
}

#[tokio::test]
async fn missing_exporter_is_an_error() {
    let mut generate = command();
    generate.env("OTEL_TRACES_EXPORTER", "none").arg("generate");
    let ended = run(&mut generate, "").await;
    assert_ne!(ended.code, Some(0));
    assert!(ended.stderr.contains("OTEL_TRACES_EXPORTER"), "{ended:?}");
}
