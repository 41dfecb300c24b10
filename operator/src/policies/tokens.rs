//! Authentication of tokens by the API server.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::{Api, Client, api::PostParams};
use parking_lot::Mutex;
use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use spoor_control::Denied;
use tokio::sync::Semaphore;

use crate::kubernetes::{watch::Key, with_deadline};

/// The audience of tokens for Spoor. Tokens for another audience are refused.
pub const AUDIENCE: &str = "spoor.dev";

/// The most reviews at a time: a thousand clients that reconnect together must not flood the API
/// server.
const MAX_CONCURRENT_REVIEWS: usize = 32;
/// The deadline of one review, including the wait for a permit.
const REVIEW_DEADLINE: Duration = Duration::from_secs(4);
/// The time for which a valid token is accepted without another review.
const CACHE_TTL: Duration = Duration::from_secs(60);
/// The most tokens that are cached.
const MAX_CACHED_TOKENS: usize = 20_000;
/// The longest token. Those of ServiceAccounts are shorter.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// The pod that a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TokenPod {
    pub(super) pod: Key,
    pub(super) uid: String,
}

/// Verifies tokens by TokenReviews of the API server.
pub(super) struct TokenReviewer {
    api: Api<TokenReview>,
    permits: Semaphore,
    /// The pods of valid tokens, by the tokens' SHA-256, so that no token is kept in memory.
    cache: Mutex<HashMap<[u8; 32], (Instant, TokenPod)>>,
    reviews: Family<[(&'static str, &'static str); 1], Counter>,
}

impl TokenReviewer {
    pub(super) fn new(client: Client) -> Self {
        Self {
            api: Api::all(client),
            permits: Semaphore::new(MAX_CONCURRENT_REVIEWS),
            cache: Mutex::default(),
            reviews: Family::default(),
        }
    }

    /// Registers the metrics.
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Tokens reviewed by the API server, by result";
        registry.register("token_reviews", help, self.reviews.clone());
    }

    /// The pod of a token.
    pub(super) async fn authenticate(&self, token: &str) -> Result<TokenPod, Denied> {
        // Checked before anything is hashed or sent.
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Denied::TokenInvalid);
        }
        let digest = sha256(token);
        if let Some(bearer) = digest.and_then(|digest| self.cached(&digest)) {
            return Ok(bearer);
        }
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: Some(vec![AUDIENCE.to_owned()]),
            },
            ..TokenReview::default()
        };
        let reviewed = with_deadline(REVIEW_DEADLINE, async {
            // The semaphore is never closed.
            let _permit = self.permits.acquire().await.ok();
            self.api.create(&PostParams::default(), &review).await
        });
        let bearer = match reviewed.await {
            Ok(review) => token_pod(&review.status.unwrap_or_default()),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot review a token"
                );
                Err(Denied::Unavailable(
                    "the API server did not review the token".to_owned(),
                ))
            }
        };
        let result = bearer.as_ref().map_or_else(Denied::reason, |_| "Pod");
        self.reviews.get_or_create(&[("result", result)]).inc();
        // Only valid tokens are cached, so that a refusal does not outlast its reason.
        if let (Some(digest), Ok(bearer)) = (digest, &bearer) {
            self.cache(digest, bearer.clone());
        }
        bearer
    }

    fn cached(&self, digest: &[u8; 32]) -> Option<TokenPod> {
        let known = self.cache.lock();
        let (since, bearer) = known.get(digest)?;
        (since.elapsed() < CACHE_TTL).then(|| bearer.clone())
    }

    fn cache(&self, digest: [u8; 32], bearer: TokenPod) {
        let mut known = self.cache.lock();
        // A full cache drops expired tokens only. Evicting valid ones would send every one of many
        // clients to the API server again.
        if known.len() >= MAX_CACHED_TOKENS {
            known.retain(|_, (since, _)| since.elapsed() < CACHE_TTL);
        }
        if known.len() < MAX_CACHED_TOKENS {
            known.insert(digest, (Instant::now(), bearer));
        }
    }
}

/// Reads the pod from the result of a review.
fn token_pod(status: &TokenReviewStatus) -> Result<TokenPod, Denied> {
    if status.authenticated != Some(true) {
        // Only this text distinguishes a wrong audience from an invalid token.
        let is_wrong_audience = status.error.iter().any(|error| error.contains("audience"));
        return Err(match is_wrong_audience {
            true => Denied::WrongAudience,
            false => Denied::TokenInvalid,
        });
    }
    // An authenticator without support for audiences returns none. The token is then for the API
    // server, and not for Spoor.
    let audiences = status.audiences.iter().flatten();
    if !audiences.into_iter().any(|audience| audience == AUDIENCE) {
        return Err(Denied::WrongAudience);
    }
    let user = status.user.as_ref().ok_or(Denied::NotAPod)?;
    let account = user.username.as_deref().unwrap_or_default();
    let account = account.strip_prefix("system:serviceaccount:");
    let account = account.and_then(|account| account.split_once(':'));
    let namespace = account.map(|(namespace, _)| namespace);
    let extra = |key| match user.extra.as_ref()?.get(key)?.as_slice() {
        [value] => Some(value.clone()),
        _ => None,
    };
    match (namespace, extra(POD_NAME), extra(POD_UID)) {
        (Some(namespace), Some(name), Some(uid)) => Ok(TokenPod {
            pod: Key {
                namespace: namespace.to_owned(),
                name,
            },
            uid,
        }),
        _ => Err(Denied::NotAPod),
    }
}

/// Uses the hash of the TLS library, so that no other library is needed.
fn sha256(text: &str) -> Option<[u8; 32]> {
    let suite = TLS13_AES_128_GCM_SHA256.tls13()?;
    let output = suite.common.hash_provider.hash(text.as_bytes());
    output.as_ref().try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn user(extra: Value) -> Value {
        json!({"username": "system:serviceaccount:shop:default", "extra": extra})
    }

    fn pod() -> Value {
        json!({POD_NAME: ["a-0"], POD_UID: ["1"]})
    }

    #[rstest]
    #[case(json!({"authenticated": true, "audiences": [AUDIENCE], "user": user(pod())}), "Pod")]
    #[case(json!({"authenticated": false, "error": "token audiences [\"x\"] is invalid for the target audiences"}), "WrongAudience")]
    #[case(json!({"authenticated": true, "audiences": ["other"], "user": user(pod())}), "WrongAudience")]
    #[case(json!({"authenticated": true, "user": user(pod())}), "WrongAudience")]
    #[case(json!({"authenticated": false, "error": "signature is wrong"}), "TokenInvalid")]
    #[case(json!({}), "TokenInvalid")]
    #[case(json!({"authenticated": true, "audiences": [AUDIENCE], "user": user(json!({}))}), "NotAPod")]
    #[case(json!({"authenticated": true, "audiences": [AUDIENCE], "user": {"username": "admin", "extra": pod()}}), "NotAPod")]
    fn reads_the_pod_or_the_denial(#[case] status: Value, #[case] expected: &str) {
        let status = serde_json::from_value(status).unwrap();
        let found = match token_pod(&status) {
            Ok(bearer) => {
                assert_eq!(bearer.pod.to_string(), "shop/a-0");
                "Pod"
            }
            Err(denied) => denied.reason(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn token_is_hashed_with_sha256() {
        let hex = |text| -> String {
            let digest = sha256(text).unwrap();
            digest.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        assert_eq!(
            hex("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
