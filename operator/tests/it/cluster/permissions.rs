//! With `operator.namespaces` the operator's only permission outside them is to create TokenReviews.

use std::collections::BTreeSet;

use super::{
    command::kubectl,
    lab::{Lab, RELEASE},
};

/// The only permission outside the served namespaces, as `kubectl auth can-i --list` prints it.
const REVIEWS_TOKENS: &str = "tokenreviews.authentication.k8s.io";

#[tokio::test(flavor = "multi_thread")]
async fn operator_may_only_create_token_reviews_elsewhere() {
    let Some(lab) = Lab::installed("permissions").await else {
        return;
    };
    for (role, expected) in [("stacks", None), ("policies", Some(REVIEWS_TOKENS))] {
        let account = format!("{RELEASE}-{role}");
        for elsewhere in ["default", "kube-system"] {
            let everyones = permissions(&lab, "default", elsewhere).await;
            let more: Vec<_> = permissions(&lab, &account, elsewhere)
                .await
                .difference(&everyones)
                .cloned()
                .collect();
            let expected: Vec<String> = expected
                .iter()
                .map(|resource| format!("{resource} [] [] [create]"))
                .collect();
            assert_eq!(more, expected, "{account} in {elsewhere}");
        }
        let here = permissions(&lab, &account, lab.namespace).await;
        assert!(here.iter().any(|it| it.contains("spoor.dev")), "{here:?}");
        lab.log(format_args!(
            "{account}: {expected:?} outside of {}",
            lab.namespace
        ));
    }
}

/// The permissions of a ServiceAccount in a namespace: the lines of `kubectl auth can-i --list`.
async fn permissions(lab: &Lab, account: &str, namespace: &str) -> BTreeSet<String> {
    let user = format!("--as=system:serviceaccount:{}:{account}", lab.namespace);
    let list = ["auth", "can-i", "--list", &user, "--namespace", namespace];
    let printed = kubectl(&list).await;
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines = printed.lines().skip(1).map(words);
    lines.filter(|line| !line.is_empty()).collect()
}
