//! Every application on the cluster: its responses, and its trace in the real Jaeger.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    command::kubectl,
    edge, jaeger,
    lab::{Lab, ROLLOUT_TIMEOUT},
    load, pods, tree,
};
use crate::{
    apiserver::eventually,
    chart::{self, reached_from},
};

const MARKETPLACES: [&str; 3] = [
    "marketplace-attic",
    "marketplace-bazaar",
    "marketplace-corner",
];
/// The time for Prometheus to read new counts: a few scrapes.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn each_application_has_a_complete_trace() {
    let Some(lab) = Lab::installed("applications").await else {
        return;
    };
    assert_complete_traces(&lab).await;
    let memory = pods::memory(&lab).await;
    lab.log(format_args!(
        "{} pods take {} MB of memory, the models loaded",
        memory.len(),
        memory.values().sum::<u64>() / 1_000_000
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_shows_jaeger_and_the_mesh() {
    let Some(lab) = Lab::installed("gateway").await else {
        return;
    };
    service_a_calls_service_b(&lab).await;
    let services = edge::get(&lab, "gateway:8081", "/jaeger/api/services").await;
    assert_eq!(services.status, StatusCode::OK, "{services:?}");
    let services = services.json()["data"].to_string();
    assert!(services.contains("service-a"), "{services}");
    let docs = edge::get(&lab, "gateway:8081", "/docs").await;
    assert_eq!(docs.status, StatusCode::OK, "{docs:?}");
    assert!(docs.text.contains("<svg"), "no picture: {}", docs.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn exemplars_in_prometheus_lead_to_traces() {
    let Some(lab) = Lab::installed("prometheus").await else {
        return;
    };
    let since = SystemTime::now();
    for _ in 0..20 {
        let response = edge::get(&lab, "tasks:8083", "/tasks").await;
        assert_eq!(response.status, StatusCode::OK, "{response:?}");
    }
    wait_until_scraped(&lab).await;
    let series = "http_server_request_duration_seconds_bucket{job=\"tasks\",http_route=\"/tasks\"}";
    let ids = eventually("exemplars", SCRAPE_TIMEOUT, || async {
        let ids = exemplars(&lab, series, since).await;
        if ids.is_empty() {
            Err("none".to_owned())
        } else {
            Ok(ids)
        }
    })
    .await;
    for id in &ids {
        let tree = tree::of(&lab, id, &["tasks"]).await;
        tree.assert_starts_at("tasks", "GET /tasks");
    }
    lab.log(format_args!(
        "{} exemplars, each a trace in Jaeger",
        ids.len()
    ));

    let calls = "sum by (service_name) (traces_span_metrics_calls_total)";
    eventually("metrics made from spans", SCRAPE_TIMEOUT, || async {
        let services = query(&lab, calls).await.to_string();
        if services.contains("\"tasks\"") {
            Ok(())
        } else {
            Err(services)
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn load_scenario_runs_as_a_job() {
    let Some(lab) = Lab::installed("load job").await else {
        return;
    };
    let mut values = lab.values();
    values.push("load.scenario=mesh".to_owned());
    values.push("load.arguments={--rate,20,--duration,10s}".to_owned());
    lab.release("upgrade", &values).await;
    let jobs = [
        "get",
        "jobs",
        "--namespace",
        lab.namespace,
        "--output",
        "name",
    ];
    let jobs = kubectl(&jobs).await;
    let job = jobs
        .lines()
        .find(|job| job.starts_with("job.batch/load-mesh-"));
    let job = job.unwrap_or_else(|| panic!("{jobs}"));
    let ended = eventually("the Job's end", ROLLOUT_TIMEOUT, || async {
        let status = [
            "get",
            job,
            "--output",
            "jsonpath={.status.conditions[*].type}",
        ];
        let ended = kubectl(&[&status[..], &["--namespace", lab.namespace]].concat()).await;
        if ended.contains("Complete") || ended.contains("Failed") {
            Ok(ended)
        } else {
            Err(format!("{job}: {ended:?}"))
        }
    })
    .await;
    let printed = kubectl(&["logs", job, "--namespace", lab.namespace]).await;
    lab.log(format_args!("{job}: {ended}\n{printed}"));
    assert!(ended.contains("Complete"), "{ended}: {printed}");
    for edge in chart::edges() {
        assert!(printed.contains(edge), "{edge}: {printed}");
    }
    // Restores the release: Helm deletes the Job with its revision.
    lab.release("upgrade", &lab.values()).await;
    eventually("no Job", ROLLOUT_TIMEOUT, || async {
        let get = ["get", job, "--ignore-not-found", "--output", "name"];
        let left = kubectl(&[&get[..], &["--namespace", lab.namespace]].concat()).await;
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
}

/// Sends a request to each application, and checks the services and the calls in its trace.
pub async fn assert_complete_traces(lab: &Lab) {
    for edge in chart::edges() {
        match edge {
            "service-a" => service_a_calls_service_b(lab).await,
            "gateway" => a_wish_goes_to_the_database_and_the_marketplaces(lab).await,
            "bands" => a_band_comes_with_its_reviews(lab).await,
            "tasks" => a_task_is_in_redis(lab).await,
            "preprocessing" => models_classify_pictures_concurrently(lab).await,
            other => panic!("no request to {other}"),
        }
    }
    lab.log("every application's trace is complete");
}

async fn service_a_calls_service_b(lab: &Lab) {
    let response = edge::get(lab, "service-a:8080", "/?wait=5ms&calc=10").await;
    assert_eq!(response.status, StatusCode::OK, "{response:?}");
    let tree = tree::of(lab, response.trace_id(), &reached_from("service-a")).await;
    tree.assert_starts_at("service-a", "GET /");
    tree.call("service-a", "service-b");
}

async fn a_wish_goes_to_the_database_and_the_marketplaces(lab: &Lab) {
    let wish = json!({"name": "a trace of everything"});
    let added = edge::post(lab, "gateway:8081", "/api/wishes", Some(&wish)).await;
    assert_eq!(added.status, StatusCode::CREATED, "{added:?}");
    let id = added.json()["id"].to_string().replace('"', "");
    let tree = tree::of(lab, added.trace_id(), &reached_from("gateway")).await;
    tree.assert_starts_at("gateway", "POST /api/wishes");
    tree.call("gateway", "wishlist");
    tree.statement("wishlist", "sqlite");
    tree.call("gateway", "offers");
    for marketplace in MARKETPLACES {
        tree.call("offers", marketplace);
    }
    let deleted = edge::delete(lab, "gateway:8081", &format!("/api/wishes/{id}")).await;
    assert!(deleted.status.is_success(), "{deleted:?}");
}

async fn a_band_comes_with_its_reviews(lab: &Lab) {
    let bands = edge::get(lab, "bands:8082", "/bands").await.json();
    let band = bands["bands"][0]["uuid"].as_str().unwrap();
    let response = edge::get(lab, "bands:8082", &format!("/bands/{band}")).await;
    assert_eq!(response.status, StatusCode::OK, "{response:?}");
    let tree = tree::of(lab, response.trace_id(), &reached_from("bands")).await;
    tree.assert_starts_at("bands", "GET /bands/{uuid}");
    tree.call("bands", "reviews");
}

async fn a_task_is_in_redis(lab: &Lab) {
    let task = json!({"title": "look into Redis", "priority": "high"});
    let created = edge::post(lab, "tasks:8083", "/tasks", Some(&task)).await;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    let tree = tree::of(lab, created.trace_id(), &reached_from("tasks")).await;
    tree.assert_starts_at("tasks", "POST /tasks");
    tree.statement("tasks", "redis");

    let created = created.json();
    let id = created["id"].as_str().unwrap();
    let redis = [
        "exec",
        "deployment/redis",
        "--namespace",
        lab.namespace,
        "--",
    ];
    let keys = kubectl(&[&redis[..], &["redis-cli", "--scan"]].concat()).await;
    assert!(keys.contains(id), "redis-cli does not list {id} in {keys}");
    let deleted = edge::delete(lab, "tasks:8083", &format!("/tasks/{id}")).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT, "{deleted:?}");
}

async fn models_classify_pictures_concurrently(lab: &Lab) {
    let (both, since) = (["efficientnetb0", "mobilenetv2"], SystemTime::now());
    let sent = load::images(lab, 6).await.answered().await;
    let requests = usize::try_from(sent.requests).unwrap();
    let found = jaeger::wait_for_traces(lab, "preprocessing", since, requests).await;
    assert!(
        found.len() >= requests,
        "{} of {requests} traces",
        found.len()
    );
    let services = reached_from("preprocessing");
    for id in found.keys() {
        let tree = tree::of(lab, id, &services).await;
        tree.assert_starts_at("preprocessing", "POST /classify");
        tree.call("preprocessing", "ensemble");
        // The client spans are compared, since a busy node may run the models one after the other.
        // Only `Classify` counts, since the ensemble may have asked for the models' inputs before.
        let [one, other] = both.map(|model| {
            let served = tree.call_of("ensemble", model, "/Classify");
            tree.parent(served).unwrap()
        });
        assert!(one.overlaps(other), "{tree:?}");
    }
}

/// Waits until Prometheus scrapes every target that it should.
async fn wait_until_scraped(lab: &Lab) {
    let services = chart::SERVICES.map(|(name, _)| name);
    let others = ["spoor-stacks", "spoor-policies", "tracing-gather"];
    let expected: BTreeSet<&str> = services.into_iter().chain(others).collect();
    eventually("everything scraped", SCRAPE_TIMEOUT, || async {
        let up = query(lab, "min by (job) (up)").await;
        let series = up.as_array().unwrap();
        let reached: BTreeSet<&str> = series
            .iter()
            .filter(|series| series["value"][1] == "1")
            .filter_map(|series| series["metric"]["job"].as_str())
            .collect();
        if reached.is_superset(&expected) {
            Ok(())
        } else {
            Err(format!("{:?} missing", expected.difference(&reached)))
        }
    })
    .await;
}

/// The value of an expression.
async fn query(lab: &Lab, expression: &str) -> Value {
    query_prometheus(lab, "query", &[("query", expression)]).await["result"].take()
}

/// The trace IDs of the exemplars since this time.
async fn exemplars(lab: &Lab, series: &str, since: SystemTime) -> BTreeSet<String> {
    let since = since.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (start, end) = (since.to_string(), (since + 3600).to_string());
    let range = [("query", series), ("start", &start), ("end", &end)];
    let found = query_prometheus(lab, "query_exemplars", &range).await;
    let series = found.as_array().into_iter().flatten();
    series
        .flat_map(|series| series["exemplars"].as_array().into_iter().flatten())
        .filter_map(|exemplar| exemplar["labels"]["trace_id"].as_str())
        .map(str::to_owned)
        .collect()
}

async fn query_prometheus(lab: &Lab, what: &str, parameters: &[(&str, &str)]) -> Value {
    let parameters: Vec<_> = parameters
        .iter()
        .map(|(name, value)| format!("{name}={}", escaped(value)))
        .collect();
    let path = format!("/api/v1/{what}?{}", parameters.join("&"));
    let response = edge::get(lab, "prometheus:9090", &path).await;
    assert_eq!(response.status, StatusCode::OK, "{response:?}");
    response.json()["data"].take()
}

/// Percent-encodes text for a URL's query.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
