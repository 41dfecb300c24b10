//! Who a client is comes from Kubernetes, not from what it says.

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::{Api, api::PostParams};

use crate::apiserver;

const AUDIENCE: &str = "spoor.dev";

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_token_names_its_pod() {
    let Some(server) = apiserver::shared("a_bound_token_names_its_pod").await else {
        return;
    };
    let namespace = server.namespace("identity").await;
    let pod = namespace.pod("a-0", &[("spoor.dev/service", "a")]).await;
    let token = namespace.pod_token(&pod, AUDIENCE).await;

    let review = TokenReview {
        spec: TokenReviewSpec {
            token: Some(token),
            audiences: Some(vec![AUDIENCE.to_owned()]),
        },
        ..TokenReview::default()
    };
    let reviews = Api::<TokenReview>::all(namespace.client.clone());
    let review = reviews
        .create(&PostParams::default(), &review)
        .await
        .unwrap();
    let status = review.status.unwrap();
    let extra = status.user.unwrap().extra.unwrap();

    assert_eq!(status.authenticated, Some(true));
    assert_eq!(extra["authentication.kubernetes.io/pod-name"], [pod.name]);
    assert_eq!(extra["authentication.kubernetes.io/pod-uid"], [pod.uid]);
}
