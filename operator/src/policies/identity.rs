//! The identity of callers: from their token on the stream, from their address on the other
//! listeners, never from what they claim.

use std::{net::IpAddr, sync::Arc, time::Instant};

use futures_util::future::BoxFuture;
use spoor_control::{Caller, Denied, Identify, Identity};
use spoor_policy::{Namespace, ServiceName};

use super::{
    identity_mismatches::IdentityMismatches,
    pods::{Pod, PodsByAddress},
    tokens::TokenReviewer,
};
use crate::kubernetes::watch::ObjectStore;

/// Identifies callers by their pods in Kubernetes.
pub(super) struct PodIdentifier {
    pub(super) by_name: ObjectStore<Pod>,
    pub(super) by_address: PodsByAddress,
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
}

impl PodIdentifier {
    async fn by_token(&self, caller: Caller) -> Result<Identity, Denied> {
        let authorization = caller.metadata.get("authorization");
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
        self.check(&pod, &caller.service)?;
        Ok(Identity {
            namespace: pod.namespace.clone(),
            service: caller.service,
            instance: pod.name.clone(),
        })
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
