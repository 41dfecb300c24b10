//! Where a Prometheus finds metrics: its HTTP service discovery.

use axum::{Json, extract::State};
use http::Uri;
use serde::Serialize;

use super::Admin;

/// The lab's own `job`; services have their names.
const LAB: &str = "spoor";

/// What shares its labels, as Prometheus wants it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Group {
    targets: Vec<String>,
    labels: Labels,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Labels {
    job: String,
}

/// Every service's operators' port, and the lab's own metrics.
pub(super) async fn targets(State(admin): State<Admin>) -> Json<Vec<Group>> {
    let urls = admin.urls.iter();
    Json(urls.filter_map(|(name, url)| group(name, url)).collect())
}

fn group(name: &str, url: &str) -> Option<Group> {
    let job = match name {
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
    fn services_by_their_operators_ports_and_the_lab_itself() {
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
