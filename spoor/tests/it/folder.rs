//! The watched folder.

use crate::lab::{Lab, eventually, policy};

#[tokio::test]
async fn policies_last_as_long_as_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies");
    std::fs::create_dir(&policies).unwrap();
    std::fs::write(policies.join("a.yaml"), policy("of-folder", "0%")).unwrap();
    let lab = Lab::start_in(folder, &["--policies", "{folder}/policies"]).await;
    eventually("applied at the start", || lab.request(), |sampled| !sampled).await;

    std::fs::write(policies.join("a.yaml"), policy("of-folder", "100%")).unwrap();
    eventually("changed", || lab.request(), |sampled| *sampled).await;

    std::fs::write(policies.join("a.yaml"), policy("of-folder", "0%")).unwrap();
    eventually("changed back", || lab.request(), |sampled| !sampled).await;
    std::fs::remove_file(policies.join("a.yaml")).unwrap();
    eventually("gone with its file", || lab.request(), |sampled| *sampled).await;
}

#[tokio::test]
async fn bad_file_keeps_last_valid_policies() {
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies");
    std::fs::create_dir(&policies).unwrap();
    std::fs::write(policies.join("good.yaml"), policy("good", "0%")).unwrap();
    let lab = Lab::start_in(folder, &["--policies", "{folder}/policies"]).await;
    std::fs::write(policies.join("bad.yaml"), policy("bad", "200%")).unwrap();
    std::fs::write(policies.join("good.yaml"), policy("good", "100%")).unwrap();
    let get = || lab.spoor(&["get", "policies"]);
    let shown = eventually("the error shows", get, |ended| {
        ended.stderr.contains("bad.yaml:9:")
    })
    .await;
    assert!(
        shown.stdout.contains("good") && shown.stdout.contains("0%"),
        "{shown:?}"
    );
    assert_eq!(lab.requests(5).await, 0);

    std::fs::remove_file(policies.join("bad.yaml")).unwrap();
    eventually("the error is gone", get, |ended| ended.stderr.is_empty()).await;
    eventually(
        "the good file is in force",
        || lab.request(),
        |sampled| *sampled,
    )
    .await;
}

#[tokio::test]
async fn bad_file_at_the_start_is_not_applied() {
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies");
    std::fs::create_dir(&policies).unwrap();
    std::fs::write(policies.join("bad.yaml"), policy("bad", "200%")).unwrap();
    let lab = Lab::start_in(folder, &["--policies", "{folder}/policies"]).await;
    let shown = lab.spoor(&["get", "policies"]).await;
    assert!(shown.stdout.starts_with("No policies."), "{shown:?}");
    let expected = "has errors, so its files are not applied;";
    assert!(shown.stderr.contains(expected), "{shown:?}");
}

#[tokio::test]
async fn folder_policies_cannot_be_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies");
    std::fs::create_dir(&policies).unwrap();
    std::fs::write(policies.join("a.yaml"), policy("owned", "0%")).unwrap();
    let lab = Lab::start_in(folder, &["--policies", "{folder}/policies"]).await;
    let applied = lab
        .spoor_with_input(&policy("owned", "100%"), &["apply", "-f", "-"])
        .await;
    assert_eq!(applied.code, Some(2), "{applied:?}");
    assert!(
        applied
            .stderr
            .contains("<stdin>:4: metadata.name: \"owned\" is in the watched folder")
    );
    let deleted = lab.spoor(&["delete", "owned"]).await;
    assert_eq!(deleted.code, Some(1), "{deleted:?}");
    assert!(
        deleted.stderr.contains("in the watched folder"),
        "{deleted:?}"
    );
    assert_eq!(lab.requests(5).await, 0);
}
