//! The chart's objects for a Prometheus Operator and a Grafana.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use axum::{Router, routing::get};
use serde_json::{Value, json};
use spoor_testing::programs::skip;

use super::{
    SERVICES, contains,
    dashboard::{Prometheus, queries},
    list, named, of_kind,
    render::{has_helm, notes, objects, objects_with_kinds},
};
use crate::{
    apiserver::{self},
    role::{Policies, replica::Release},
};

const ENABLED: [&str; 4] = [
    "monitoring.podMonitor.enabled=true",
    "monitoring.serviceMonitor.enabled=true",
    "monitoring.prometheusRule.enabled=true",
    "monitoring.labels.release=kube-prometheus-stack",
];
const KINDS: [&str; 3] = ["PodMonitor", "ServiceMonitor", "PrometheusRule"];
/// The metrics that the dashboard shows, of a Collector that has received and exported spans.
const COLLECTOR_METRICS: &str = "\
otelcol_receiver_accepted_spans_total{receiver=\"otlp\"} 7
otelcol_receiver_refused_spans_total{receiver=\"otlp\"} 1
otelcol_exporter_sent_spans_total{exporter=\"otlp/spoor\"} 7
otelcol_exporter_send_failed_spans_total{exporter=\"otlp/spoor\"} 1
otelcol_exporter_queue_size{exporter=\"otlp/spoor\"} 1
otelcol_exporter_queue_capacity{exporter=\"otlp/spoor\"} 10
";
/// The metrics that the dashboard shows, of a sampler that has decided and refused requests.
const SAMPLER_METRICS: &str = "\
spoor_sampler_traces_decided_total{decision=\"kept\"} 7
spoor_sampler_traces_decided_early_total 1
spoor_sampler_requests_refused_total{reason=\"overloaded\"} 1
spoor_sampler_spans_refused_total 1
spoor_sampler_outgoing_bytes 7
spoor_sampler_forward_pending{peer=\"1\"} 7
";

#[test]
fn monitors_need_their_definitions() {
    if !has_helm("chart::monitors_need_their_definitions") {
        return;
    }
    let without = objects(&ENABLED);
    let api = KINDS.map(|kind| format!("monitoring.coreos.com/v1/{kind}"));
    let api = api.each_ref().map(String::as_str);
    let with = objects_with_kinds(&ENABLED, &api);
    let off = objects_with_kinds(&[], &api);
    let notes = notes(&ENABLED);
    for kind in KINDS {
        assert!(of_kind(&without, kind).is_empty(), "{kind}");
        assert!(of_kind(&off, kind).is_empty(), "{kind}");
        let labels = &named(&with, kind, "spoor")["metadata"]["labels"];
        assert_eq!(labels["release"], "kube-prometheus-stack");
        assert!(notes.contains(&format!("No {kind} was created")), "{notes}");
    }
    let rule = named(&with, "PrometheusRule", "spoor");
    let groups = list(&rule["spec"]["groups"]);
    let names: Vec<_> = groups.iter().map(|group| &group["name"]).collect();
    assert_eq!(names, ["spoor-operator", "spoor-spans"]);
}

#[test]
fn pod_monitor_selects_services_and_roles() {
    if !has_helm("chart::pod_monitor_selects_services_and_roles") {
        return;
    }
    let objects = objects_with_kinds(&ENABLED, &["monitoring.coreos.com/v1/PodMonitor"]);
    let spec = &named(&objects, "PodMonitor", "spoor")["spec"];
    let expression = &spec["selector"]["matchExpressions"][0];
    let selected: Vec<_> = of_kind(&objects, "Deployment")
        .into_iter()
        .filter(|deployment| {
            let template = &deployment["spec"]["template"];
            let labels = &template["metadata"]["labels"];
            let component = &labels[expression["key"].as_str().unwrap()];
            let is_selected = contains(labels, &spec["selector"]["matchLabels"])
                && list(&expression["values"]).contains(component);
            let ports = &template["spec"]["containers"][0]["ports"];
            let port = &spec["podMetricsEndpoints"][0]["port"];
            assert!(!is_selected || list(ports).iter().any(|it| it["name"] == *port));
            is_selected
        })
        .collect();
    assert_eq!(selected.len(), SERVICES.len() + 2);
}

#[test]
fn dashboard_is_a_config_map() {
    if !has_helm("chart::dashboard_is_a_config_map") {
        return;
    }
    let objects = objects(&["monitoring.dashboard.enabled=true"]);
    let map = named(&objects, "ConfigMap", "spoor-dashboard");
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    let dashboard = map["data"]["spoor.json"].as_str().unwrap();
    let dashboard: Value = serde_json::from_str(dashboard).unwrap();
    assert_eq!(dashboard["uid"], "spoor");
}

#[test]
fn alerts_pass_their_promtool_tests() {
    let Some(promtool) = program("promtool", "alerts_pass_their_promtool_tests") else {
        return;
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../helm/spoor/monitoring");
    let output = Command::new(promtool)
        .args(["test", "rules", "alerts_test.yaml"])
        .current_dir(folder)
        .output()
        .unwrap();
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    assert!(output.status.success(), "{printed}");
}

#[test]
fn charts_prometheus_has_the_alerts() {
    if !has_helm("chart::charts_prometheus_has_the_alerts") {
        return;
    }
    let objects = objects(&["prometheus.enabled=true"]);
    let data = &named(&objects, "ConfigMap", "prometheus")["data"];
    let config: Value = serde_yaml::from_str(data["prometheus.yml"].as_str().unwrap()).unwrap();
    assert_eq!(
        config["rule_files"],
        json!(["/etc/prometheus/alerts-*.yaml"])
    );
    for file in ["alerts-operator.yaml", "alerts-spans.yaml"] {
        let alerts: Value = serde_yaml::from_str(data[file].as_str().unwrap()).unwrap();
        assert!(!list(&alerts["groups"]).is_empty(), "{file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_queries_find_the_operator() {
    let test = "dashboard_queries_find_the_operator";
    let Some(prometheus) = program("prometheus", test) else {
        return;
    };
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-dashboard").await;
    let policies = Policies::start(&namespace).await;
    let stacks = Release::new(&namespace, "stacks").await.start("stacks-0");
    let collector = serve(COLLECTOR_METRICS).await;
    let sampler = serve(SAMPLER_METRICS).await;
    let jobs = [
        ("spoor-policies", policies.running.role.ops),
        ("spoor-stacks", stacks.ops),
        ("tracing-gather", collector),
        ("tracing-sampler", sampler),
    ];
    let prometheus = Prometheus::start(&prometheus, &jobs);
    for row in ["Operator", "Collector", "Sampler"] {
        let queries = queries(row);
        assert!(queries.len() > 4, "{row}");
        for query in &queries {
            // The threshold hides rates of 0, and no counter of the Collector or the sampler
            // changes here, so the query is run without it.
            let text = query.text.trim_end_matches(" > 0").to_owned();
            prometheus
                .wait_for_result(&super::dashboard::Query {
                    text,
                    panel: query.panel.clone(),
                })
                .await;
        }
    }
    stacks.process.terminate();
    policies.stop().await;
}

/// Serves metrics.
async fn serve(metrics: &'static str) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/metrics", get(move || async move { metrics }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A program on the `PATH`. Without one the test passes with a message; with
/// `SPOOR_REQUIRE_ALL=1` it fails.
fn program(name: &str, test: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file());
    if found.is_none() {
        skip(test, &format!("no {name} on the PATH"));
    }
    found
}
