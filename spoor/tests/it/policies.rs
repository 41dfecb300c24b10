//! The subcommands for policies, from the file to the trace.

use serde_json::Value;

use crate::lab::{Lab, eventually, policy, succeeded};

#[tokio::test]
async fn policy_is_in_force_until_deleted() {
    let lab = Lab::start().await;
    assert_eq!(lab.requests(5).await, 5);

    let text = lab.apply(&policy("service-a", "0%")).await;
    let created = "samplingpolicy.spoor.dev/service-a created";
    for expected in [created, "Converged in ", "(1 instance)"] {
        assert!(text.contains(expected), "{text}");
    }
    assert_eq!(lab.requests(20).await, 0);

    let text = lab.apply(&policy("service-a", "100%")).await;
    assert!(text.contains("service-a configured"), "{text}");
    assert_eq!(lab.requests(20).await, 20);
    let text = lab.apply(&policy("service-a", "100%")).await;
    assert!(text.contains("service-a unchanged"), "{text}");

    lab.apply(&policy("service-a", "0%")).await;
    let text = lab.ok(&["delete", "service-a", "--wait"]).await;
    assert!(text.contains("service-a deleted"), "{text}");
    assert!(text.contains("(1 instance)"), "{text}");
    assert_eq!(lab.requests(5).await, 5);
    let again = lab.spoor(&["delete", "service-a"]).await;
    assert_eq!(again.code, Some(1));
    assert!(
        again.stderr.contains("\"service-a\" not found"),
        "{again:?}"
    );
}

/// Lessons count the traces that start after this transition.
#[tokio::test]
async fn changed_tail_rules_have_a_new_transition() {
    let lab = Lab::start().await;
    let policy = |otherwise: &str| {
        format!(
            "apiVersion: spoor.dev/v1alpha1\nkind: SamplingPolicy\nmetadata: {{name: slow}}\n\
             spec: {{tail: {{keep: [{{name: slow, slowerThan: 1s}}], otherwise: {otherwise}}}}}\n"
        )
    };
    let programmed = async || {
        let shown = lab.json(&["get", "policy", "slow", "-o", "json"]).await;
        let conditions = shown["status"]["conditions"].as_array().unwrap();
        let programmed = conditions.iter().find(|it| it["type"] == "Programmed");
        programmed.unwrap()["lastTransitionTime"].clone()
    };
    lab.apply(&policy("0%")).await;
    let created = programmed().await;
    let changed = |otherwise: usize| {
        let (lab, programmed) = (&lab, &programmed);
        async move {
            lab.apply(&policy(&format!("{otherwise}%"))).await;
            programmed().await
        }
    };
    // The status has whole seconds, so the first changes may fall into the second of the creation.
    let mut otherwise = 0;
    eventually(
        "a later transition",
        || {
            otherwise += 1;
            changed(otherwise % 100)
        },
        |time| *time != created,
    )
    .await;
    let unchanged = programmed().await;
    lab.apply(&policy(&format!("{}%", otherwise % 100))).await;
    assert_eq!(programmed().await, unchanged);
}

#[tokio::test]
async fn get_and_describe_show_the_status() {
    let lab = Lab::start().await;
    lab.apply(&policy("service-a", "100%")).await;
    lab.requests(30).await;
    let get = async || {
        lab.json(&["get", "policy", "service-a", "-o", "json"])
            .await
    };
    let shown = eventually("30 traces observed", get, |policy| {
        policy["status"]["observed"]["started"] == 30
    })
    .await;
    assert_eq!(shown["metadata"]["generation"], 1);
    let status = &shown["status"];
    assert_eq!(status["observed"]["rate"], "100%");
    assert_eq!(status["clients"]["expected"], 1);
    assert_eq!(status["clients"]["current"], 1);
    assert_eq!(status["effective"][0]["strategy"], "100%");
    let conditions = status["conditions"].as_array().unwrap();
    let kinds: Vec<&str> = conditions
        .iter()
        .map(|it| it["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["Accepted", "Programmed", "Converged"]);
    assert!(
        conditions
            .iter()
            .all(|it| it["status"] == "True" && it["observedGeneration"] == 1)
    );

    let table = lab.ok(&["get", "policies"]).await;
    let [headings, row] = table.lines().collect::<Vec<_>>()[..] else {
        panic!("{table}")
    };
    let headings: Vec<&str> = headings.split_whitespace().collect();
    assert_eq!(
        headings,
        [
            "NAME",
            "STRATEGY",
            "ACCEPTED",
            "CONVERGED",
            "CLIENTS",
            "OBSERVED",
            "AGE"
        ]
    );
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(
        cells[..6],
        ["service-a", "100%", "True", "True", "1/1", "100%"]
    );

    let yaml = lab.ok(&["get", "policy", "service-a", "-o", "yaml"]).await;
    let text = succeeded(lab.spoor_with_input(&yaml, &["apply", "-f", "-"]).await);
    assert!(
        text.contains("unchanged"),
        "what is shown can be applied: {text}"
    );
    let described = lab.ok(&["describe", "service-a"]).await;
    assert!(
        described.contains("Clients:     1 of 1 current"),
        "{described}"
    );
}

#[tokio::test]
async fn both_policies_of_a_target_name_the_winner() {
    let lab = Lab::start().await;
    lab.apply(&policy("first", "0%")).await;
    let applied = lab
        .spoor_with_input(&policy("second", "100%"), &["apply", "-f", "-"])
        .await;
    assert!(
        applied
            .stderr
            .contains("second: has no effect; overridden by first"),
        "{applied:?}"
    );
    assert_eq!(lab.requests(5).await, 0);
    let listed = lab.ok(&["get", "policies"]).await;
    let [headings, first, second] = listed.lines().collect::<Vec<_>>()[..] else {
        panic!("{listed}")
    };
    assert!(headings.ends_with("OVERRIDDEN BY"), "{listed}");
    assert!(first.ends_with('-'), "{listed}");
    assert!(
        second.contains("False (Conflicted)") && second.ends_with("first"),
        "{listed}"
    );
    let second = lab.json(&["get", "policy", "second", "-o", "json"]).await;
    let accepted = &second["status"]["conditions"][0];
    assert_eq!(
        (&accepted["status"], &accepted["reason"]),
        (&"False".into(), &"Conflicted".into())
    );
    assert!(
        lab.ok(&["describe", "second"])
            .await
            .contains("overridden everywhere by first")
    );

    let higher = policy("second", "100%").replace("spec:\n", "spec:\n  priority: 1\n");
    lab.apply(&higher).await;
    assert_eq!(lab.requests(5).await, 5);
    assert!(
        lab.ok(&["describe", "first"])
            .await
            .contains("overridden everywhere by second")
    );
}

#[tokio::test]
async fn policy_of_inner_service_names_the_roots() {
    let lab = Lab::start().await;
    lab.request().await;
    lab.apply(&policy("service-b", "1%").replace("service: service-a", "service: service-b"))
        .await;
    let describe = || lab.ok(&["describe", "service-b"]);
    eventually("where roots are", describe, |described| {
        described.contains("no trace has started at service-b yet; traces start at ")
            && described.contains("service-a")
    })
    .await;
}

#[tokio::test]
async fn waiting_again_reports_instances() {
    let lab = Lab::start().await;
    lab.apply(&policy("service-a", "50%")).await;
    let again = lab.apply(&policy("service-a", "50%")).await;
    assert!(again.contains("Converged"), "{again}");
    let loser = policy("loser", "1%");
    let conflicted = lab
        .spoor_with_input(&loser, &["apply", "-f", "-", "--wait"])
        .await;
    assert_eq!(conflicted.code, Some(1), "{conflicted:?}");
    assert!(
        conflicted.stderr.contains("Not converged"),
        "{conflicted:?}"
    );
}

#[tokio::test]
async fn override_expires() {
    let lab = Lab::start().await;
    let arguments = ["override", "service-a", "0%", "--for", "1500ms", "--wait"];
    let text = lab.ok(&arguments).await;
    assert!(
        text.contains("override-service-a created") && text.contains("Converged"),
        "{text}"
    );
    assert!(!lab.request().await);
    eventually("sampled again", || lab.request(), |sampled| *sampled).await;
    let shown = async || {
        lab.json(&["get", "policy", "override-service-a", "-o", "json"])
            .await
    };
    eventually("expired", shown, |policy| {
        policy["status"]["conditions"][0]["reason"] == "Expired"
    })
    .await;

    let expired = ["override", "service-a", "0%", "--for", "1ms"];
    let text = lab.ok(&expired).await;
    assert!(!text.contains("In force"), "{text}");

    let yaml = lab
        .ok(&["override", "service-a", "50%", "--for", "15m", "-o", "yaml"])
        .await;
    assert!(
        yaml.contains("probability: 50%") && yaml.contains("expiresAt:"),
        "{yaml}"
    );
    let shown = lab
        .json(&["get", "policy", "override-service-a", "-o", "json"])
        .await;
    assert_eq!(
        shown["spec"]["head"]["probability"], "0%",
        "printed only, not applied"
    );
}

#[tokio::test]
async fn override_names_operations_it_misses() {
    let lab = Lab::start_with(&["--services", "service-b,service-a"]).await;
    let narrower = policy("root-only", "0%").replace(
        "service: service-a",
        "service: service-a\n    operations: [GET /]",
    );
    lab.apply(&narrower).await;
    let ended = lab
        .spoor(&["override", "service-a", "100%", "--for", "15m"])
        .await;
    let warning =
        "Warning: override-service-a: \"GET /\" is still sampled by the policy root-only\n";
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), warning));
}

#[tokio::test]
async fn diff_does_not_apply_the_change() {
    let lab = Lab::start().await;
    lab.apply(&policy("service-a", "0%")).await;
    let diff = lab
        .spoor_with_input(
            &policy("service-a", "1%"),
            &["diff", "-f", "-", "-o", "json"],
        )
        .await;
    assert_eq!(diff.code, Some(1), "{diff:?}");
    let diff: Value = serde_json::from_str(&diff.stdout).unwrap();
    assert_eq!(diff.as_array().unwrap().len(), 1);
    assert_eq!(diff[0]["service"], "service-a");
    assert_eq!(diff[0]["before"]["setting"], "0%");
    assert_eq!(diff[0]["after"]["setting"], "1%");
    assert_eq!(lab.requests(5).await, 0);
    let same = lab
        .spoor_with_input(&policy("service-a", "0%"), &["diff", "-f", "-"])
        .await;
    assert_eq!(
        (same.code, same.stdout.as_str()),
        (Some(0), "No differences.\n")
    );
}

#[tokio::test]
async fn service_is_not_a_lab() {
    let lab = Lab::start_with(&["--services", "service-b,service-a"]).await;
    // One serves HTTP, the other one gRPC only.
    for service in ["service-a", "service-b"].map(|name| lab.url(name)) {
        for arguments in [&["get", "policies"][..], &["fault", "--clear"]] {
            let ended = lab.spoor(&[arguments, &["--lab", service]].concat()).await;
            assert_eq!(ended.code, Some(1), "{ended:?}");
            let expected = format!("{service}/ is not a Spoor lab");
            assert!(ended.stderr.contains(&expected), "{ended:?}");
        }
    }
}

#[tokio::test]
async fn restart_keeps_policies_and_their_age() {
    let lab = Lab::start().await;
    lab.apply(&policy("service-a", "0%")).await;
    let created = |policy: &Value| policy["metadata"]["creationTimestamp"].clone();
    let before = created(
        &lab.json(&["get", "policy", "service-a", "-o", "json"])
            .await,
    );
    let folder = lab.kill().await;

    let lab = Lab::start_in(folder, &[]).await;
    let after = created(
        &lab.json(&["get", "policy", "service-a", "-o", "json"])
            .await,
    );
    assert_eq!(before, after);
    eventually("0% in force", || lab.request(), |sampled| !sampled).await;
}

#[tokio::test]
async fn applies_a_folder_of_samples() {
    let lab = Lab::start_with(&["--services", "service-b"]).await;
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../k8s/samples/policies/");
    let ended = lab.spoor(&["apply", "-f", samples]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let warns_of_heads = |line: &&str| line.contains("tail rules apply only to");
    let warned = ended.stderr.lines().filter(warns_of_heads).count();
    assert_eq!(warned, 2, "once for each policy with tail rules: {ended:?}");
    // Another sample keeps all of this operation.
    let except = r#"1% by "service-a" at service-a (except "GET /")"#;
    assert!(ended.stderr.contains(except), "{ended:?}");
    let applied = lab.json(&["get", "policies", "-o", "json"]).await;
    let applied = applied["items"].as_array().unwrap();
    assert!(applied.len() >= 9, "{applied:?}");
    for policy in applied {
        let accepted = &policy["status"]["conditions"][0];
        assert_eq!(accepted["status"], "True", "{policy}");
    }
}

/// Output of `kubectl get samplingpolicies -o json --show-managed-fields`.
#[tokio::test]
async fn applies_a_list_from_kubectl() {
    let lab = Lab::start_with(&["--services", "service-b"]).await;
    let item = |name: &str| {
        serde_json::json!({
            "apiVersion": "spoor.dev/v1alpha1",
            "kind": "SamplingPolicy",
            "metadata": {"name": name, "managedFields": [{"manager": "kubectl", "fieldsV1": {}}]},
            "spec": {"targets": [{"service": name}], "head": {"probability": "1%"}},
        })
    };
    let list = serde_json::json!({
        "apiVersion": "v1", "kind": "List", "items": [item("service-a"), item("service-b")],
    });
    let list = list.to_string();
    let difference = lab.spoor_with_input(&list, &["diff", "-f", "-"]).await;
    assert_eq!(difference.code, Some(1), "{difference:?}");
    let text = lab.ok_with_input(&list, &["apply", "-f", "-"]).await;
    for text in [difference.stdout, text] {
        assert!(
            text.contains("service-a") && text.contains("service-b"),
            "{text}"
        );
    }
    let own = lab.ok(&["get", "policies", "-o", "yaml"]).await;
    let text = lab.ok_with_input(&own, &["apply", "-f", "-"]).await;
    assert_eq!(text.matches(" unchanged").count(), 2, "{text}");
    lab.ok_with_input(&own, &["delete", "-f", "-"]).await;
    let left = lab.json(&["get", "policies", "-o", "json"]).await;
    assert_eq!(left["items"], serde_json::json!([]));
}
