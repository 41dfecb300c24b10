//! The scrape targets, for Prometheus's HTTP service discovery.

use axum::{Json, extract::State};
use http::Uri;
use serde_json::{Value, json};

use super::state::Admin;

/// The `job` of the lab itself. That of a service is its name.
const LAB: &str = "spoor";

/// Lists every service's ops port, and the lab's own metrics.
pub(super) async fn targets(State(admin): State<Admin>) -> Json<Vec<Value>> {
    let urls = admin.urls.iter();
    Json(urls.filter_map(|(name, url)| group(name, url)).collect())
}

/// A group of targets with the same labels, in Prometheus's format.
fn group(name: &str, url: &str) -> Option<Value> {
    let job = match name {
        // The lab's own metrics are on the port of its API.
        "admin" => LAB,
        service => service.strip_suffix("-ops")?,
    };
    let authority = url.parse::<Uri>().ok()?.authority()?.to_string();
    Some(json!({"targets": [authority], "labels": {"job": job}}))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn lists_ops_ports_and_the_lab() {
        let job = |name| {
            let group = group(name, "http://127.0.0.1:9474")?;
            assert_eq!(group["targets"], json!(["127.0.0.1:9474"]));
            group["labels"]["job"].as_str().map(str::to_owned)
        };
        assert_eq!(job("tasks-ops").as_deref(), Some("tasks"));
        assert_eq!(job("admin").as_deref(), Some("spoor"));
        assert_eq!(job("tasks"), None);
        assert_eq!(job("otlp-http"), None);
    }
}
