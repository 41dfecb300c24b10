//! Deletion of several policies at once.

use crate::lab::{Lab, policy};

#[tokio::test]
async fn delete_continues_after_missing_policy() {
    let lab = Lab::start_with(&["--services", "service-b"]).await;
    lab.apply(&policy("b", "0%").replace("service-a", "service-b"))
        .await;
    let ended = lab.spoor(&["delete", "a", "b"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.stderr, "spoor: policy \"a\" not found\n");
    assert!(ended.stdout.contains("b deleted"), "{ended:?}");
    assert!(lab.ok(&["describe"]).await.starts_with("No policies"));
}

#[tokio::test]
async fn delete_counts_instances_of_each_policy() {
    let lab = Lab::start_with(&["--services", "service-b,service-a"]).await;
    for service in ["service-a", "service-b"] {
        let policy =
            policy(service, "0%").replace("service: service-a", &format!("service: {service}"));
        lab.apply(&policy).await;
    }
    let text = lab
        .ok(&["delete", "service-a", "service-b", "--wait"])
        .await;
    assert!(text.contains("(2 instances)"), "{text}");
}

#[tokio::test]
async fn deleting_tail_rules_needs_no_instance() {
    let lab = Lab::start_with(&["--services", "service-b"]).await;
    lab.apply(
        "apiVersion: spoor.dev/v1alpha1\nkind: SamplingPolicy\nmetadata: {name: slow-only}\n\
         spec: {targets: [{service: service-b}], \
         tail: {keep: [{name: slow, slowerThan: 400ms}], otherwise: 0%}}\n",
    )
    .await;
    let text = lab.ok(&["delete", "slow-only", "--wait"]).await;
    let expected = "slow-only deleted\nConverged: no instance had to acknowledge the deletion.\n";
    assert!(text.ends_with(expected), "{text}");
}
