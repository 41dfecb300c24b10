//! The scrape targets, for Prometheus's HTTP service discovery.

use axum::{Json, extract::State};
use http::Uri;
use serde::Serialize;

use super::state::Admin;

/// The `job` of the lab itself. That of a service is its name.
const LAB: &str = "spoor";

/// A group of targets with the same labels, in Prometheus's format.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Group {
    targets: Vec<String>,
    labels: Labels,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Labels {
    job: String,
}

/// Lists every service's ops port, and the lab's own metrics.
pub(super) async fn targets(State(admin): State<Admin>) -> Json<Vec<Group>> {
    let urls = admin.urls.iter();
    Json(urls.filter_map(|(name, url)| group(name, url)).collect())
}

fn group(name: &str, url: &str) -> Option<Group> {
    let job = match name {
        // The lab's own metrics are on the port of its API.
        "admin" => LAB,
        service => service.strip_suffix("-ops")?,
    };
    let authority = url.parse::<Uri>().ok()?.authority()?.to_string();
    Some(Group {
        targets: vec![authority],
        labels: Labels {
            job: job.to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn lists_ops_ports_and_the_lab() {
        let job = |name| {
            let group = group(name, "http://127.0.0.1:9474")?;
            assert_eq!(group.targets, ["127.0.0.1:9474"]);
            Some(group.labels.job)
        };
        assert_eq!(job("tasks-ops").as_deref(), Some("tasks"));
        assert_eq!(job("admin").as_deref(), Some("spoor"));
        assert_eq!(job("tasks"), None);
        assert_eq!(job("otlp-http"), None);
    }
}
