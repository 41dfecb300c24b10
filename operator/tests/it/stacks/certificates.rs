//! The certificates of the policy endpoints, and their authority in the namespace of a stack.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::{Stacks, has_condition, until};
use crate::{
    apiserver,
    role::{chart, sampling_policy::condition},
};

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_issued_and_renewed() {
    let test = "certificates_are_issued_and_renewed";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-certificates").await;
    let role = Stacks::start_with(&namespace, |settings| {
        settings.lifetimes.server = Duration::from_secs(6);
    })
    .await;
    role.apply("tracing", json!({})).await;
    let secrets = namespace.api::<Secret>();
    let data = async |name: &str, key: &str| -> Option<Vec<u8>> {
        let secret = secrets.get_opt(name).await.unwrap()?;
        Some(secret.data?.get(key)?.0.clone())
    };
    until("both Secrets", async || {
        data("spoor-ca", "ca.crt").await.is_some()
            && data("spoor-policies-tls", "tls.key").await.is_some()
    })
    .await;
    let authority = data("spoor-ca", "ca.crt").await;
    until("the authority beside the stack", async || {
        let map = namespace
            .api::<ConfigMap>()
            .get_opt("tracing-ca")
            .await
            .unwrap();
        let text = map.and_then(|map| map.data?.remove("ca.crt"));
        text.map(String::into_bytes) == authority
    })
    .await;
    let first = data("spoor-policies-tls", "tls.crt").await;
    until(
        "a new certificate after two thirds of its lifetime",
        async || data("spoor-policies-tls", "tls.crt").await != first,
    )
    .await;
    assert_eq!(data("spoor-ca", "ca.crt").await, authority);
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_secrets_are_restored() {
    let Some(server) = apiserver::shared("deleted_secrets_are_restored").await else {
        return;
    };
    let namespace = server.namespace("spoor-deleted").await;
    let role = Stacks::start(&namespace).await;
    role.apply("tracing", json!({})).await;
    let authority = async || -> Option<String> {
        let maps = namespace.api::<ConfigMap>();
        let map = maps.get_opt("tracing-ca").await.unwrap()?;
        map.data?.remove("ca.crt")
    };
    until("the authority beside the stack", async || {
        authority().await.is_some()
    })
    .await;
    let before = authority().await;
    let secrets = namespace.api::<Secret>();
    for name in ["spoor-ca", "spoor-policies-tls"] {
        secrets
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }
    for name in ["spoor-ca", "spoor-policies-tls"] {
        until("the Secret is there again", async || {
            secrets.get_opt(name).await.unwrap().is_some()
        })
        .await;
    }
    until("clients get the new authority", async || {
        authority().await != before
    })
    .await;
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_problem_is_reported_on_stacks() {
    let test = "certificate_problem_is_reported_on_stacks";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-foreign").await;
    chart::account(&namespace, "stacks").await;
    let secrets = namespace.api::<Secret>();
    let foreign = json!({"stringData": {"ca.crt": "theirs", "ca.key": "theirs"}});
    let create = json!({"metadata": {"name": "spoor-ca"}, "stringData": foreign["stringData"]});
    match secrets.get_opt("spoor-ca").await.unwrap() {
        Some(_) => {
            let patch = Patch::Merge(foreign);
            let parameters = PatchParams::default();
            secrets
                .patch("spoor-ca", &parameters, &patch)
                .await
                .unwrap();
        }
        None => {
            let create = serde_json::from_value(create).unwrap();
            secrets.create(&Default::default(), &create).await.unwrap();
        }
    }
    let role = Stacks::start(&namespace).await;
    role.apply("tracing", json!({})).await;
    let status = role
        .wait_for_status("tracing", |status| {
            has_condition(status, "Degraded", "True")
        })
        .await;
    let degraded = condition(&status, "Degraded");
    assert_eq!(degraded["reason"], "CertificateFailed");
    let message = degraded["message"].as_str().unwrap();
    assert!(message.contains("Secret \"spoor-ca\""), "{message}");
    let unready = role.ops("readyz").await;
    assert!(unready.contains("Secret \"spoor-ca\""), "{unready}");

    let deleted = secrets.delete("spoor-ca", &DeleteParams::default()).await;
    deleted.unwrap();
    role.wait_for_status("tracing", |status| {
        has_condition(status, "Degraded", "False")
    })
    .await;
    until("it is ready", async || role.ops("readyz").await == "ok\n").await;
    role.stop().await;
}
