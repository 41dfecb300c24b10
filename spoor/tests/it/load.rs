//! `spoor load` by scenario.

use serde_json::Value;

use crate::lab::{Ended, Lab, command, run};

async fn load(lab: &Lab, arguments: &[&str]) -> Ended {
    let mut load = command();
    load.args(["load", "--lab", lab.url("admin")])
        .args(arguments);
    run(&mut load, "").await
}

#[tokio::test]
async fn mesh_load_uses_the_addresses_of_the_lab() {
    let services = "service-a,service-b,bands,reviews,tasks";
    let lab = Lab::start_with(&["--services", services]).await;
    let ended = load(
        &lab,
        &["mesh", "--rate", "20", "--duration", "2s", "-o", "json"],
    )
    .await;
    let sent: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    assert_eq!(
        (&sent["scenario"], &sent["failed"]),
        (&"mesh".into(), &0.into()),
        "{sent}"
    );
    // The requests that complete and delete tasks count in the rate, too.
    assert_eq!(sent["requests"], 40, "{sent}");
    let operations: Vec<&str> = sent["operations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["operation"].as_str().unwrap())
        .collect();
    assert_eq!(
        operations,
        [
            "bands GET /bands",
            "bands GET /bands/{uuid}",
            "service-a GET /",
            "tasks DELETE /tasks/{id}",
            "tasks GET /tasks",
            "tasks POST /tasks",
            "tasks POST /tasks/{id}/complete",
        ]
    );
    // Load removes the wishes and tasks that it adds.
    let tasks = reqwest::get(format!("{}/tasks?state=all", lab.url("tasks")))
        .await
        .unwrap();
    let tasks: Value = tasks.json().await.unwrap();
    assert_eq!(tasks["tasks"].as_array().map(Vec::len), Some(0), "{tasks}");
    let slowest = sent["slowest"]["traceId"].as_str().unwrap();
    lab.wait_for_trace(slowest).await;
    assert_eq!(lab.traces(&["trace", slowest]).await["traceId"], slowest);
}

#[tokio::test]
async fn summary_has_table_chart_and_picture() {
    let lab = Lab::start_with(&["--services", "service-a,service-b"]).await;
    let picture = lab.folder().join("ramp.svg");
    let ramp = [
        "ramp",
        "--rate",
        "60",
        "--duration",
        "4s",
        "--path",
        "/?wait=1ms&calc=0",
    ];
    let ended = load(
        &lab,
        &[&ramp[..], &["--picture", picture.to_str().unwrap()]].concat(),
    )
    .await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for expected in [
        "REQUESTS",
        "P99.9",
        "15 to 30 per second",
        "Latency over time",
        "spoor trace ",
    ] {
        assert!(
            ended.stdout.contains(expected),
            "{expected}: {}",
            ended.stdout
        );
    }
    let svg = std::fs::read_to_string(picture).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("spoor load ramp"));
}

#[tokio::test]
async fn conflicting_options_are_refused() {
    for (arguments, expected) in [
        (&["closed", "--rate", "5"][..], "--rate"),
        (&["mesh", "--path", "/x"], "--path"),
        (&["mesh", "--url", "http://127.0.0.1:1"], "--url gateway="),
        (
            &["images", "--url", "gateway=http://127.0.0.1:1"],
            "sends nothing to gateway",
        ),
        (
            &["steady", "--url", "nowhere=http://127.0.0.1:1"],
            "those are service-a",
        ),
        (&["tsunami"], "steady"),
        (&["--workers", "10001"], "from 1 to 10000"),
        (&["--duration", "0s"], "must be longer than 0"),
        (&["--timeout", "0s"], "must be longer than 0"),
    ] {
        let ended = run(command().arg("load").args(arguments), "").await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(expected), "{arguments:?}: {ended:?}");
    }
}

#[tokio::test]
async fn every_scenario_is_listed() {
    let ended = run(command().args(["load", "--list"]), "").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for name in [
        "steady", "closed", "ramp", "spike", "soak", "images", "mesh",
    ] {
        assert!(
            ended.stdout.lines().any(|line| line.starts_with(name)),
            "{name}"
        );
    }
    let json = run(command().args(["load", "--list", "-o", "json"]), "").await;
    let listed: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        (&listed[1]["name"], &listed[1]["rate"]),
        (&"closed".into(), &().into())
    );
}
