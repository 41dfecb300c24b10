//! A Prometheus that scrapes what a test serves, and the queries of the chart's dashboard.

use std::{net::SocketAddr, path::Path, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::apiserver::{Process, eventually};

const DASHBOARD: &str = include_str!("../../../../helm/spoor/monitoring/dashboard.json");

/// A query of a panel of the dashboard.
pub struct Query {
    pub panel: String,
    pub text: String,
}

/// The queries of a row of the dashboard, for any namespace.
pub fn queries(row: &str) -> Vec<Query> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let of_row = panels
        .iter()
        .skip_while(|panel| panel["type"] != "row" || panel["title"] != row)
        .skip(1)
        .take_while(|panel| panel["type"] != "row");
    let queries = of_row.flat_map(|panel| {
        let targets = panel["targets"].as_array().unwrap();
        targets.iter().map(|target| Query {
            panel: panel["title"].as_str().unwrap().to_owned(),
            text: target["expr"]
                .as_str()
                .unwrap()
                .replace("$__rate_interval", "10s")
                .replace("$namespace", ".*"),
        })
    });
    queries.collect()
}

/// A Prometheus as a process of this host.
pub struct Prometheus {
    url: String,
    process: Process,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes these jobs.
    pub fn start(program: &Path, jobs: &[(&str, SocketAddr)]) -> Self {
        let jobs = jobs.iter().map(|(name, address)| {
            json!({
                "job_name": name,
                "static_configs": [{"targets": [address.to_string()]}],
            })
        });
        let config = json!({
            "global": {"scrape_interval": "1s"},
            "scrape_configs": jobs.collect::<Vec<_>>(),
        });
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config.to_string()).unwrap();
        let [address] = spoor_testing::ports::free();
        let arguments = [
            format!("--config.file={}", file.display()),
            format!("--web.listen-address={address}"),
            format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ),
        ];
        let log = folder.path().join("log");
        Self {
            url: format!("http://{address}/api/v1/query"),
            process: Process::start(program, arguments, &[], log),
            _folder: folder,
        }
    }

    /// Waits until a query has a result.
    pub async fn wait_for_result(&self, query: &Query) {
        let http = reqwest::Client::new();
        let what = format!("{}: a result of {}", query.panel, query.text);
        eventually(&what, Duration::from_secs(60), async || {
            let request = http.get(&self.url).query(&[("query", &query.text)]);
            let response = request.send().await.map_err(|error| error.to_string())?;
            let response: Value = response.json().await.map_err(|error| error.to_string())?;
            match response["data"]["result"].as_array() {
                Some(found) if !found.is_empty() => Ok(()),
                _ => Err(format!("{response} {}", self.process.log_tail())),
            }
        })
        .await;
    }
}
