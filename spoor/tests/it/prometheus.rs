//! An unmodified Prometheus beside the lab, configured by `docs/prometheus.yml`: it finds all
//! targets, and its exemplars lead to traces in the lab.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::process::{Child, Command};

use crate::{lab::Lab, peer::has_programs};

const DEADLINE: Duration = Duration::from_secs(60);

struct Prometheus {
    url: String,
    http: reqwest::Client,
    _process: Child,
}

impl Prometheus {
    fn beside(lab: &Lab) -> Self {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/prometheus.yml");
        let config = std::fs::read_to_string(config).unwrap();
        let admin = lab.url("admin").trim_start_matches("http://");
        let config = config
            .replace("127.0.0.1:16600", admin)
            .replace("scrape_interval: 5s", "scrape_interval: 1s");
        let file = lab.folder().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let [address] = spoor_testing::ports::free();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--web.listen-address={address}"))
            .arg(format!(
                "--storage.tsdb.path={}",
                lab.folder().join("prometheus").display()
            ))
            .arg("--enable-feature=exemplar-storage")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            url: format!("http://{address}/api/v1"),
            http: reqwest::Client::new(),
            _process: process,
        }
    }

    /// Repeats a query until its result is as expected.
    async fn query_until(
        &self,
        path: &str,
        query: &str,
        is_expected: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + DEADLINE;
        let url = format!("{}/{path}", self.url);
        let mut last = Value::Null;
        while Instant::now() < deadline {
            let request = self.http.get(&url).query(&[
                ("query", query),
                ("start", "0"),
                ("end", "4102444800"),
            ]);
            // Prometheus listens before it is ready.
            let response = request.send().await;
            if let Ok(response) = response.and_then(reqwest::Response::error_for_status) {
                last = response.json().await.unwrap();
                if is_expected(&last["data"]) {
                    return last["data"].take();
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("{path} {query}: {last}");
    }
}

fn values(data: &Value) -> Vec<&Value> {
    data["result"].as_array().into_iter().flatten().collect()
}

#[tokio::test]
async fn exemplars_in_prometheus_lead_to_traces() {
    if !has_programs("exemplars_in_prometheus_lead_to_traces", &["prometheus"]) {
        return;
    }
    let lab = Lab::start_with(&["--services", "service-a,service-b,tasks"]).await;
    let prometheus = Prometheus::beside(&lab);
    let http = reqwest::Client::new();
    let task = r#"{"title": "look", "priority": "urgent", "due": "2020-01-01T00:00:00Z"}"#;
    let created = http
        .post(format!("{}/tasks", lab.url("tasks")))
        .header("content-type", "application/json")
        .body(task);
    assert_eq!(created.send().await.unwrap().status(), 201);

    let jobs = ["service-a", "service-b", "spoor", "tasks"];
    let all_up = |data: &Value| {
        let up = |job: &&str| {
            let is_up = |it: &&Value| it["metric"]["job"] == **job && it["value"][1] == "1";
            values(data).iter().any(is_up)
        };
        jobs.iter().all(up) && values(data).len() == jobs.len()
    };
    prometheus.query_until("query", "up", all_up).await;
    let one = |data: &Value| values(data).first().is_some_and(|it| it["value"][1] == "1");
    prometheus
        .query_until("query", r#"spoor_tasks_overdue{job="tasks"}"#, one)
        .await;

    assert!(lab.request().await);
    for query in dashboard_queries(&["Services", "Sampling"]) {
        let some = |data: &Value| !values(data).is_empty();
        prometheus.query_until("query", &query, some).await;
    }

    let query = r#"http_server_request_duration_seconds_bucket{job="tasks",http_route="/tasks"}"#;
    let some = |data: &Value| data[0]["exemplars"][0]["labels"]["trace_id"].is_string();
    let found = prometheus.query_until("query_exemplars", query, some).await;
    let exemplar = &found[0]["exemplars"][0];
    let trace = exemplar["labels"]["trace_id"].as_str().unwrap();
    lab.wait_for_trace(trace).await;
    let shown = lab.traces_text(&["trace", trace]).await;
    assert!(
        shown.contains("POST /tasks") && shown.contains("create task"),
        "{shown}"
    );
}

/// The queries of some rows of the chart's Grafana dashboard. Queries for failures are changed to
/// match successes, since the test causes no failures; the names of the metrics are the same.
fn dashboard_queries(rows: &[&str]) -> Vec<String> {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../helm/spoor/monitoring/dashboard.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let mut queries = Vec::new();
    let mut is_wanted = false;
    for panel in dashboard["panels"].as_array().unwrap() {
        if panel["type"] == "row" {
            is_wanted = rows.contains(&panel["title"].as_str().unwrap());
        } else if is_wanted {
            let targets = panel["targets"].as_array().unwrap();
            queries.extend(targets.iter().map(|target| {
                let text = target["expr"].as_str().unwrap();
                text.replace("$__rate_interval", "10s")
                    .replace("$namespace", ".*")
                    .replace(r#"error_type!="""#, r#"error_type="""#)
                    .trim_end_matches(" > 0")
                    .to_owned()
            }));
        }
    }
    assert!(queries.len() > 5, "{queries:?}");
    queries
}
