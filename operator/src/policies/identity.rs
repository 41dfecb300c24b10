//! The identity of callers: from their token on the stream, from their address on the other
//! listeners, never from what they claim.

use std::{net::IpAddr, sync::Arc, time::Instant};

use futures_util::future::BoxFuture;
use spoor_control::{Caller, Denied, Identify, Identity, SamplerCaller, SamplerIdentity};
use spoor_policy::{Namespace, ServiceName};
use tonic::metadata::MetadataMap;

use super::{
    identity_mismatches::IdentityMismatches,
    objects::StackState,
    pods::{Pod, PodsByAddress},
    tokens::TokenReviewer,
};
use crate::kubernetes::watch::{Key, ObjectStore};

/// Identifies callers by their pods in Kubernetes.
pub(super) struct PodIdentifier {
    pub(super) by_name: ObjectStore<Pod>,
    pub(super) by_address: PodsByAddress,
    pub(super) stacks: ObjectStore<StackState>,
    pub(super) tokens: Arc<TokenReviewer>,
    pub(super) mismatches: Arc<IdentityMismatches>,
}

impl Identify for PodIdentifier {
    fn stream(&self, caller: Caller) -> BoxFuture<'_, Result<Identity, Denied>> {
        Box::pin(self.by_token(caller))
    }

    fn polling(&self, peer: Option<IpAddr>, service: &ServiceName) -> Result<Namespace, Denied> {
        let pods = self.pods_at(peer)?;
        // While one pod replaces another the two may share an address; the one that matches the
        // claim is taken.
        let own = pods.iter().find(|it| it.service.as_ref() == Some(service));
        let pod = own.or(pods.first()).ok_or(Denied::UnknownPeer)?;
        self.check(pod, service)?;
        Ok(pod.namespace.clone())
    }

    fn reporting(&self, peer: Option<IpAddr>) -> Result<Namespace, Denied> {
        let pods = self.pods_at(peer)?;
        let collector = pods.iter().find(|pod| pod.is_collector);
        match (collector, pods.is_empty()) {
            (Some(pod), _) => Ok(pod.namespace.clone()),
            (None, false) => Err(Denied::NotACollector),
            (None, true) => Err(Denied::UnknownPeer),
        }
    }

    fn sampler(&self, caller: SamplerCaller) -> BoxFuture<'_, Result<SamplerIdentity, Denied>> {
        Box::pin(self.sampler_by_token(caller))
    }
}

impl PodIdentifier {
    async fn by_token(&self, caller: Caller) -> Result<Identity, Denied> {
        let pod = self.pod_of_token(&caller.metadata).await?;
        self.check(&pod, &caller.service)?;
        Ok(Identity {
            namespace: pod.namespace.clone(),
            service: caller.service,
            instance: pod.name.clone(),
        })
    }

    async fn sampler_by_token(&self, caller: SamplerCaller) -> Result<SamplerIdentity, Denied> {
        let pod = self.pod_of_token(&caller.metadata).await?;
        sampler(&pod, |stack| self.stacks.get(stack).is_some())
    }

    /// The pod that a caller's token is bound to.
    async fn pod_of_token(&self, metadata: &MetadataMap) -> Result<Arc<Pod>, Denied> {
        let authorization = metadata.get("authorization");
        let token = authorization
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .map(str::trim)
            .filter(|token| !token.is_empty())
            .ok_or(Denied::TokenMissing)?;
        let bearer = self.tokens.authenticate(token).await?;
        let unknown = || Denied::UnknownPod(bearer.pod.to_string());
        let pod = self.by_name.get(&bearer.pod).ok_or_else(unknown)?;
        if pod.uid != bearer.uid {
            // It is a later pod of the same name. The API server no longer accepts the token
            // either.
            return Err(unknown());
        }
        Ok(pod)
    }

    /// Checks that a pod is the service that it claims to be, and records a mismatch.
    fn check(&self, pod: &Pod, claimed: &ServiceName) -> Result<(), Denied> {
        if pod.service.as_ref() == Some(claimed) {
            return Ok(());
        }
        self.mismatches.record(pod, claimed, Instant::now());
        let actual = pod.service.clone().ok_or(Denied::NoService)?;
        Err(Denied::OtherService {
            claimed: claimed.clone(),
            actual,
        })
    }

    fn pods_at(&self, peer: Option<IpAddr>) -> Result<Vec<Arc<Pod>>, Denied> {
        let address = peer.ok_or(Denied::UnknownPeer)?;
        // A listener on `::` sees IPv4 peers as IPv4-mapped IPv6 addresses.
        Ok(self.by_address.pods_at(address.to_canonical()))
    }
}

/// The identity of a sampler: that of its pod, whatever the sampler claims. `exists` returns true
/// if there is a stack of this name.
fn sampler(pod: &Pod, exists: impl FnOnce(&Key) -> bool) -> Result<SamplerIdentity, Denied> {
    let stack = pod.sampler_of.clone().ok_or(Denied::NotASampler)?;
    let key = Key {
        namespace: pod.namespace.to_string(),
        name: stack,
    };
    // Whoever may create StatefulSets can make one with the labels of a sampler, but not a stack.
    if !exists(&key) {
        return Err(Denied::NoStack(key.name));
    }
    Ok(SamplerIdentity {
        namespace: pod.namespace.clone(),
        stack: key.name,
        instance: pod.name.clone(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn pod(sampler_of: Option<&str>) -> Pod {
        Pod {
            namespace: "shop".parse().unwrap(),
            name: "tracing-sampler-0".to_owned(),
            uid: String::new(),
            service: None,
            has_spoor_label: false,
            is_ready: false,
            is_collector: false,
            sampler_of: sampler_of.map(str::to_owned),
            addresses: vec![],
        }
    }

    #[test]
    fn sampler_belongs_to_the_stack_of_its_pod() {
        let identity = sampler(&pod(Some("tracing")), |stack| {
            stack.to_string() == "shop/tracing"
        });
        let expected = SamplerIdentity {
            namespace: "shop".parse().unwrap(),
            stack: "tracing".to_owned(),
            instance: "tracing-sampler-0".to_owned(),
        };
        assert_eq!(identity, Ok(expected));
    }

    #[test]
    fn pods_that_are_not_samplers_are_denied() {
        let denied = sampler(&pod(None), |_| true);
        assert_eq!(denied, Err(Denied::NotASampler));
        let denied = sampler(&pod(Some("other")), |_| false);
        assert_eq!(denied, Err(Denied::NoStack("other".to_owned())));
    }
}
