//! The targets of the chart's Prometheus.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    EVERYTHING, SERVICES, contains, list, named, of_kind, pod,
    render::{has_helm, objects},
    without_applications_but,
};

#[test]
fn scrapes_every_service_and_the_operator() {
    if !has_helm("chart::scrapes_every_service_and_the_operator") {
        return;
    }
    let objects = objects(&EVERYTHING);
    let targets = targets(&objects, "services");
    let mut expected: BTreeSet<String> = SERVICES
        .iter()
        .map(|(name, _)| format!("{name}-ops"))
        .collect();
    expected.extend(["stacks", "policies"].map(|role| format!("spoor-{role}-ops")));
    assert_eq!(targets, expected);
    for target in targets {
        let service = named(&objects, "Service", &target);
        assert_eq!(service["spec"]["clusterIP"], "None", "{service}");
        assert_eq!(service["spec"]["ports"][0]["targetPort"], "ops");
        let deployment = named(&objects, "Deployment", target.strip_suffix("-ops").unwrap());
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        assert!(
            contains(labels, &service["spec"]["selector"]),
            "{service} is not for {labels}"
        );
    }
}

#[test]
fn scrapes_only_what_is_installed() {
    if !has_helm("chart::scrapes_only_what_is_installed") {
        return;
    }
    let off = without_applications_but("tasks");
    let values = ["prometheus.enabled=true", "operator.enabled=false"]
        .into_iter()
        .chain(off.iter().map(String::as_str));
    let objects = objects(&values.collect::<Vec<_>>());
    assert_eq!(
        targets(&objects, "services"),
        BTreeSet::from(["tasks-ops".to_owned()])
    );
}

#[test]
fn disabled_prometheus_is_not_rendered() {
    if !has_helm("chart::disabled_prometheus_is_not_rendered") {
        return;
    }
    let objects = objects(&[]);
    let for_prometheus = |service: &&Value| {
        let name = service["metadata"]["name"].as_str().unwrap();
        name.ends_with("-ops")
    };
    assert!(!of_kind(&objects, "Service").iter().any(for_prometheus));
}

#[test]
fn prometheus_has_exemplars_and_no_token() {
    if !has_helm("chart::prometheus_has_exemplars_and_no_token") {
        return;
    }
    let objects = objects(&EVERYTHING);
    let prometheus = pod(named(&objects, "Deployment", "prometheus")).unwrap();
    let arguments = prometheus["containers"][0]["args"].to_string();
    assert!(
        arguments.contains("--enable-feature=exemplar-storage"),
        "{arguments}"
    );
    assert_eq!(prometheus["automountServiceAccountToken"], false);
    assert!(prometheus["serviceAccountName"].is_null());
}

/// The names that a job of the configuration looks up.
fn targets(objects: &[Value], job: &str) -> BTreeSet<String> {
    let configuration = named(objects, "ConfigMap", "prometheus");
    let text = configuration["data"]["prometheus.yml"].as_str().unwrap();
    let configuration: Value = serde_yaml::from_str(text).unwrap();
    let job = list(&configuration["scrape_configs"])
        .iter()
        .find(|it| it["job_name"] == job)
        .unwrap();
    let names = &job["dns_sd_configs"][0]["names"];
    list(names)
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}
