//! Names of services and operations that the lab does not know.

use crate::lab::{Lab, eventually, policy};

#[tokio::test]
async fn misspelled_service_causes_a_warning() {
    let lab = Lab::start().await;
    let misspelled = policy("typo", "1%").replace("service: service-a", "service: servce-a");
    let warning = "no instance of servce-a is known; did you mean service-a?";
    let compared = lab
        .spoor_with_input(&misspelled, &["diff", "-f", "-"])
        .await;
    assert!(compared.stderr.contains(warning), "{compared:?}");
    let applied = lab
        .spoor_with_input(&misspelled, &["apply", "-f", "-", "--wait"])
        .await;
    assert_eq!(applied.code, Some(1), "{applied:?}");
    assert!(applied.stderr.contains(warning), "{applied:?}");
    assert!(applied.stderr.contains("Not converged"), "{applied:?}");
    assert!(!applied.stdout.contains("Converged"), "{applied:?}");
    let listed = lab.ok(&["get", "policies"]).await;
    let row: Vec<&str> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..5], ["typo", "1%", "True", "Unknown", "0/0"]);
    let described = lab.ok(&["describe", "typo"]).await;
    assert!(described.contains("did you mean service-a?"), "{described}");
    let overridden = lab
        .spoor(&["override", "servce-a", "0%", "--for", "1m"])
        .await;
    assert_eq!(overridden.code, Some(0), "{overridden:?}");
    assert!(overridden.stderr.contains(warning), "{overridden:?}");
}

#[tokio::test]
async fn other_namespace_is_named() {
    let lab = Lab::start_with(&["--services", "service-b,service-a"]).await;
    let elsewhere =
        policy("elsewhere", "1%").replace("name: elsewhere", "name: elsewhere\n  namespace: spoor");
    let applied = lab
        .spoor_with_input(&elsewhere, &["apply", "-f", "-"])
        .await;
    let warning = "no instance of service-a is known in namespace spoor (the lab's services are in \
                   default)";
    assert!(applied.stderr.contains(warning), "{applied:?}");
    let listed = lab.ok(&["get", "policies"]).await;
    let others = "No policies in namespace default. There are some in: spoor (-n spoor).\n";
    assert_eq!(listed, others);
    let refused = lab.spoor(&["delete", "elsewhere"]).await;
    let where_else = "not found in namespace default; a policy of this name is in: spoor\n";
    assert!(refused.stderr.ends_with(where_else), "{refused:?}");
}

#[tokio::test]
async fn tail_policy_needs_spans_only() {
    let lab = Lab::start_with(&["--services", "service-b"]).await;
    let tail = "apiVersion: spoor.dev/v1alpha1
kind: SamplingPolicy
metadata: {name: example-python}
spec:
  targets: [{service: example-python}]
  tail: {keep: [{name: errors, error: {}}], otherwise: 10%}";
    let before = lab.spoor_with_input(tail, &["diff", "-f", "-"]).await;
    let warning = "no span from example-python has arrived yet";
    assert!(before.stderr.contains(warning), "{before:?}");

    let span = serde_json::json!({
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174",
        "name": "GET /",
        "startTimeUnixNano": "1544712660000000000",
        "endTimeUnixNano": "1544712661000000000",
    });
    let service = serde_json::json!({
        "key": "service.name", "value": {"stringValue": "example-python"},
    });
    let spans = serde_json::json!({"resourceSpans": [{
        "resource": {"attributes": [service]},
        "scopeSpans": [{"spans": [span]}],
    }]});
    let sent = reqwest::Client::new()
        .post(format!("{}/v1/traces", lab.url("otlp-http")))
        .header("content-type", "application/json")
        .body(spans.to_string())
        .send();
    assert_eq!(sent.await.unwrap().status(), 200);
    let applied = lab
        .spoor_with_input(tail, &["apply", "-f", "-", "--wait"])
        .await;
    assert_eq!((applied.code, applied.stderr.as_str()), (Some(0), ""));
    let again = lab
        .spoor_with_input(tail, &["apply", "-f", "-", "--wait"])
        .await;
    let in_force = "unchanged\nConverged: the tail rules are in force.\n";
    assert!(again.stdout.ends_with(in_force), "{again:?}");
    let described = lab.ok(&["describe", "example-python"]).await;
    assert!(!described.contains("no ready instance"), "{described}");
}

#[tokio::test]
async fn misspelled_operation_causes_a_warning() {
    let lab = Lab::start_with(&["--services", "service-b,service-a"]).await;
    let misspelled = policy("typo", "100%").replace(
        "service: service-a",
        "service: service-a\n    operations: [GET /x]",
    );
    let unreported = lab
        .spoor_with_input(&misspelled, &["apply", "-f", "-", "--wait"])
        .await;
    assert_eq!((unreported.code, &*unreported.stderr), (Some(0), ""));

    assert!(lab.request().await);
    let traces = || async { lab.traces(&["traces", "--service", "service-a"]).await };
    let both = serde_json::json!(["service-a", "service-b"]);
    eventually("a trace", traces, |found| found[0]["services"] == both).await;
    let warning = "operation \"GET /x\" of service-a has not been seen yet; the policy takes \
                   effect there once it is; did you mean \"GET /\"?";
    for command in [["diff", "-f", "-"], ["apply", "-f", "-"]] {
        let warned = lab.spoor_with_input(&misspelled, &command).await;
        assert!(warned.stderr.contains(warning), "{warned:?}");
    }
    let correct = misspelled.replace("GET /x", "GET /");
    let correct = lab.spoor_with_input(&correct, &["apply", "-f", "-"]).await;
    assert_eq!((correct.code, &*correct.stderr), (Some(0), ""));

    let fault = async |operation| {
        lab.spoor(&[
            "fault",
            "service-b",
            "--errors",
            "5%",
            "--operation",
            operation,
        ])
        .await
    };
    let warned = fault("Wrk").await;
    let warning = "operation \"Wrk\" of service-b has not been seen yet; the fault takes effect \
                   there once it is; known operations: \"spoor.ab.v1.ServiceB/Work\"";
    assert!(warned.stderr.contains(warning), "{warned:?}");
    assert_eq!(fault("spoor.ab.v1.ServiceB/Work").await.stderr, "");

    let address = ["--traces-url", lab.url("traces")];
    let traces = [["traces", "--operation", "GET /x"].as_slice(), &address].concat();
    let traces = lab.spoor(&traces).await;
    let warning = "Warning: no span has the name \"GET /x\"; did you mean \"GET /\"?";
    assert!(traces.stderr.contains(warning), "{traces:?}");
}
