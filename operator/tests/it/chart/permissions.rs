//! The permissions of the chart's accounts, and of a cluster's human users.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    EVERYTHING, list, named, of_kind, pod,
    render::{Release, has_helm, objects},
    variable,
};

const CLUSTER_SCOPED: [&str; 2] = ["ClusterRole", "ClusterRoleBinding"];

#[test]
fn permissions_have_no_wildcards() {
    if !has_helm("chart::permissions_have_no_wildcards") {
        return;
    }
    let objects = objects(&EVERYTHING);
    for role in [of_kind(&objects, "ClusterRole"), of_kind(&objects, "Role")].concat() {
        for rule in list(&role["rules"]) {
            assert!(!rule.to_string().contains('*'), "{role}");
            let verbs = rule["verbs"].to_string();
            let names = rule["resources"].to_string();
            for escalating in ["roles", "rolebindings", "impersonate", "escalate", "bind"] {
                let word = format!("\"{escalating}\"");
                assert!(!names.contains(&word) && !verbs.contains(&word), "{role}");
            }
            for secret in ["secrets", "leases", "customresourcedefinitions"] {
                if names.contains(&format!("\"{secret}\"")) {
                    // Secrets with samplers' tokens, whose names depend on the names of stacks.
                    let only_creates = rule["resources"] == json!(["secrets"])
                        && rule["verbs"] == json!(["create"]);
                    let is_named = !list(&rule["resourceNames"]).is_empty();
                    assert!(is_named || only_creates, "{role}");
                    for verb in ["list", "watch"] {
                        assert!(!verbs.contains(verb), "{role}");
                    }
                }
            }
        }
    }
    for kind in ["ClusterRoleBinding", "RoleBinding"] {
        for binding in of_kind(&objects, kind) {
            for subject in list(&binding["subjects"]) {
                let account = subject["name"].as_str().unwrap();
                named(&objects, "ServiceAccount", account);
                assert_eq!(subject["namespace"], "lab");
            }
        }
    }
    // The objects that the rules name exist and are empty, for the operator to fill.
    for (kind, name) in [
        ("Secret", "spoor-ca"),
        ("Secret", "spoor-policies-tls"),
        ("Lease", "spoor-stacks"),
        ("Lease", "spoor-policies"),
    ] {
        let object = named(&objects, kind, name);
        assert!(object["data"].is_null() && object["spec"].is_null());
    }
}

#[test]
fn served_namespaces_get_roles_and_env() {
    if !has_helm("chart::served_namespaces_get_roles_and_env") {
        return;
    }
    let narrow = objects(&["operator.namespaces={lab,a}"]);
    let wide = objects(&[]);
    for role in ["stacks", "policies"] {
        let name = format!("lab:spoor-{role}");
        let rules = |objects: &[Value], kind: &str, namespace: Option<&str>| {
            of_kind(objects, kind)
                .into_iter()
                .find(|it| {
                    it["metadata"]["name"] == name.as_str()
                        && it["metadata"]["namespace"].as_str() == namespace
                })
                .map(|role| list(&role["rules"]).to_vec())
                .unwrap_or_default()
        };
        let everywhere = rules(&wide, "ClusterRole", None);
        let clusterwide = rules(&narrow, "ClusterRole", None);
        for rule in &clusterwide {
            assert_eq!(rule["resources"], json!(["tokenreviews"]), "{role}");
        }
        for namespace in ["lab", "a"] {
            let local = rules(&narrow, "Role", Some(namespace));
            assert!(!local.is_empty(), "{role} in {namespace}");
            assert_eq!([local, clusterwide.clone()].concat(), everywhere, "{role}");
        }
        for (objects, served) in [(&narrow, "lab,a"), (&wide, "")] {
            let deployment = named(objects, "Deployment", &format!("spoor-{role}"));
            let container = &pod(deployment).unwrap()["containers"][0];
            assert_eq!(variable(container, "SPOOR_NAMESPACES"), served);
        }
    }
    let policy = named(&narrow, "NetworkPolicy", "spoor-policies");
    let callers = &policy["spec"]["ingress"][1]["from"][0]["namespaceSelector"];
    assert_eq!(
        callers["matchExpressions"][0]["values"],
        json!(["lab", "a"])
    );
}

#[test]
fn releases_share_no_object_across_namespaces() {
    if !has_helm("chart::releases_share_no_object_across_namespaces") {
        return;
    }
    // The last two releases could not be distinguished if name and namespace were joined by a
    // hyphen.
    let releases = [
        Release {
            name: "spoor",
            namespace: "one",
        },
        Release {
            name: "spoor",
            namespace: "two",
        },
        Release {
            name: "spoor-a",
            namespace: "b",
        },
        Release {
            name: "spoor",
            namespace: "a-b",
        },
    ];
    let mut seen = BTreeSet::new();
    for release in releases {
        let served = format!("operator.namespaces={{{},shared}}", release.namespace);
        for object in release.objects(&[&served]) {
            let kind = object["kind"].as_str().unwrap().to_owned();
            let metadata = &object["metadata"];
            let namespace = metadata["namespace"].as_str().unwrap_or_default();
            assert!(
                CLUSTER_SCOPED.contains(&kind.as_str()) == namespace.is_empty(),
                "{object}"
            );
            let name = metadata["name"].as_str().unwrap();
            let key = (kind, namespace.to_owned(), name.to_owned());
            assert!(seen.insert(key.clone()), "made twice: {key:?}");
        }
    }
}

#[test]
fn people_get_permissions_by_aggregation() {
    if !has_helm("chart::people_get_permissions_by_aggregation") {
        return;
    }
    let objects = objects(&[]);
    let aggregated = |to: &str| -> BTreeSet<String> {
        let label = format!("rbac.authorization.k8s.io/aggregate-to-{to}");
        of_kind(&objects, "ClusterRole")
            .into_iter()
            .filter(|role| role["metadata"]["labels"][&label] == "true")
            .flat_map(|role| list(&role["rules"]))
            .flat_map(|rule| {
                assert_eq!(rule["apiGroups"], json!(["spoor.dev"]));
                assert_eq!(
                    rule["resources"],
                    json!(["samplingpolicies", "tracingstacks"])
                );
                list(&rule["verbs"])
            })
            .map(|verb| verb.as_str().unwrap().to_owned())
            .collect()
    };
    let view = BTreeSet::from(["get", "list", "watch"].map(str::to_owned));
    assert_eq!(aggregated("view"), view);
    let edit = aggregated("edit");
    assert!(
        edit.is_superset(&view) && edit.contains("create"),
        "{edit:?}"
    );
    assert_eq!(aggregated("admin"), edit);
}
