//! The chart: installed, tested, upgraded, removed.

use std::{collections::BTreeMap, time::SystemTime};

use super::super::{
    command::{helm, kubectl},
    jaeger,
    lab::{Lab, RELEASE, ROLLOUT_TIMEOUT},
    pods, policies,
};

/// The operator records its own work in the stack that it creates.
const TRACING: &str = "operator.tracing.enabled=true";

#[tokio::test(flavor = "multi_thread")]
async fn installs_upgrades_and_uninstalls() {
    let Some(lab) = Lab::alone("installation").await else {
        return;
    };
    lab.empty_cluster().await;
    lab.install(&[TRACING.to_owned()]).await;
    let test = helm(&["test", RELEASE, "--namespace", lab.namespace]).await;
    assert!(test.contains("Succeeded"), "{test}");
    lab.log("helm test passed");

    let since = SystemTime::now();
    upgrade_changes_what_it_should(&lab).await;
    let own = jaeger::wait_for_traces(&lab, "spoor-operator", since, 1).await;
    assert!(!own.is_empty(), "no traces of the operator's own work");
    uninstall_leaves_only_definitions(&lab).await;
    lab.log("uninstalled: nothing is left but definitions, and what people wrote");
}

async fn upgrade_changes_what_it_should(lab: &Lab) {
    policies::apply_sample(lab, "service-a-1-percent.yaml").await;
    let before = uids(lab).await;
    // Simulates the definition of an older release.
    let columns = r#"[{"op": "remove", "path": "/spec/versions/0/additionalPrinterColumns"}]"#;
    let definition = ["customresourcedefinition", "samplingpolicies.spoor.dev"];
    kubectl(
        &[
            &["patch"],
            &definition[..],
            &["--type", "json", "--patch", columns],
        ]
        .concat(),
    )
    .await;

    let value = "applications.ab.serviceA.replicas=3".to_owned();
    lab.release("upgrade", &[value, TRACING.to_owned()]).await;
    lab.wait_until_settled().await;
    policies::wait_for(lab, "service-a", "Converged", "True").await;

    let table = kubectl(&["get", "samplingpolicies", "--namespace", lab.namespace]).await;
    lab.log(format_args!("after the upgrade:\n{table}"));
    assert!(table.contains("1%") && table.contains("3/3"), "{table}");
    let after = uids(lab).await;
    assert_eq!(after.len(), before.len() + 1, "{after:?}");
    let kept = before
        .iter()
        .all(|(name, uid)| after.get(name) == Some(uid));
    assert!(
        kept,
        "one more pod and no other change: {before:?} {after:?}"
    );
}

async fn uninstall_leaves_only_definitions(lab: &Lab) {
    helm(&["uninstall", RELEASE, "--namespace", lab.namespace, "--wait"]).await;
    crate::apiserver::eventually("nothing left in the namespace", ROLLOUT_TIMEOUT, || async {
        let kinds = "all,configmaps,secrets,serviceaccounts,roles,rolebindings,leases,\
                     poddisruptionbudgets,networkpolicies,persistentvolumeclaims,tracingstacks";
        let list = [
            "get",
            kinds,
            "--namespace",
            lab.namespace,
            "--output",
            "name",
        ];
        let left = kubectl(&list).await;
        let ours = left.lines().filter(|name| {
            !matches!(
                *name,
                "configmap/kube-root-ca.crt"
                    | "serviceaccount/default"
                    // Expires: an operator that loses its permissions at once cannot remove it.
                    | "lease.coordination.k8s.io/spoor-operator"
            )
        });
        let ours: Vec<_> = ours.collect();
        if ours.is_empty() {
            Ok(())
        } else {
            Err(format!("{ours:?}"))
        }
    })
    .await;
    let kinds = "clusterroles,clusterrolebindings,mutatingwebhookconfigurations,\
                 validatingwebhookconfigurations,priorityclasses";
    let ours = format!("app.kubernetes.io/instance={RELEASE}");
    let left = kubectl(&["get", kinds, "--selector", &ours, "--output", "name"]).await;
    assert_eq!(left, "", "cluster-wide");
    let named = kubectl(&[
        "get",
        "clusterroles,clusterrolebindings",
        "--output",
        "name",
    ])
    .await;
    assert!(!named.contains("spoor"), "{named}");

    let definitions = kubectl(&["get", "customresourcedefinitions", "--output", "name"]).await;
    for definition in ["samplingpolicies.spoor.dev", "tracingstacks.spoor.dev"] {
        assert!(
            definitions.contains(definition),
            "{definition} in {definitions}"
        );
    }
    // What people wrote stays with its definition, and nothing keeps it from being deleted.
    policies::delete(lab, "service-a").await;
}

async fn uids(lab: &Lab) -> BTreeMap<String, String> {
    let pods = pods::list(lab, "!helm.sh/hook,!job-name").await;
    let uids = pods
        .into_iter()
        .filter(|pod| !pods::has_ended(pod))
        .map(|pod| (pod.metadata.name.unwrap(), pod.metadata.uid.unwrap()));
    uids.collect()
}
