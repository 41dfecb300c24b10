//! The identification of clients: by credentials or address in a cluster, by their own claim on one
//! machine.

mod denied;

use std::net::IpAddr;

use futures_util::future::BoxFuture;
use spoor_policy::{Namespace, ServiceName};
use tonic::metadata::MetadataMap;

pub use denied::Denied;

/// The client of a new stream, before it is identified.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The request's metadata, with its credentials.
    pub metadata: MetadataMap,
    /// The client's address, if known.
    pub peer: Option<IpAddr>,
    /// The service that the client claims to be.
    pub service: ServiceName,
    /// The instance that the client claims to be.
    pub instance: String,
}

/// The identity of a stream's client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The namespace. The client receives the policies of this one only.
    pub namespace: Namespace,
    /// The service. The client receives the strategy of this one only.
    pub service: ServiceName,
    /// The instance, which all streams of one pod share.
    ///
    /// Reports of a stream count for this instance only. The `start` of the hello distinguishes the
    /// processes of one instance. A stream that claims another known instance is refused.
    pub instance: String,
}

/// The sampler of a new stream, before it is identified.
#[derive(Clone, Debug)]
pub struct SamplerCaller {
    /// The request's metadata, with its credentials.
    pub metadata: MetadataMap,
    /// The sampler's address, if known.
    pub peer: Option<IpAddr>,
    /// The TracingStack that the sampler claims to belong to. Empty outside a cluster.
    pub stack: String,
    /// The instance that the sampler claims to be.
    pub instance: String,
}

/// The identity of a sampler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamplerIdentity {
    /// The namespace. The sampler receives the tail rules of this one only.
    pub namespace: Namespace,
    /// The TracingStack that it belongs to. Empty outside a cluster.
    pub stack: String,
    /// The instance, unique in the namespace. A newer stream of an instance replaces the older.
    pub instance: String,
}

/// Identifies clients.
pub trait Identify: Send + Sync {
    /// Identifies a stream's client.
    ///
    /// # Errors
    /// The reason why the stream ends.
    fn stream(&self, caller: Caller) -> BoxFuture<'_, Result<Identity, Denied>>;

    /// The namespace of a polling client by its address, if it may have this service's strategy.
    ///
    /// # Errors
    /// The reason why it gets no strategy.
    fn polling(&self, peer: Option<IpAddr>, service: &ServiceName) -> Result<Namespace, Denied>;

    /// The namespace for which a sender may forward metrics, by its address.
    ///
    /// # Errors
    /// The reason why its metrics are refused.
    fn reporting(&self, peer: Option<IpAddr>) -> Result<Namespace, Denied>;

    /// Identifies a sampler, which may receive tail rules and report its decisions.
    ///
    /// # Errors
    /// The reason why its stream ends.
    fn sampler(&self, caller: SamplerCaller) -> BoxFuture<'_, Result<SamplerIdentity, Denied>>;
}

/// Trusts every client, in the namespace `default`. Samplers must be on this machine.
///
/// For listeners on loopback only: nothing else protects them.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnyoneOnLoopback;

impl Identify for AnyoneOnLoopback {
    fn stream(&self, caller: Caller) -> BoxFuture<'_, Result<Identity, Denied>> {
        let identity = Identity {
            namespace: Namespace::default(),
            service: caller.service,
            instance: caller.instance,
        };
        Box::pin(std::future::ready(Ok(identity)))
    }

    fn polling(&self, _peer: Option<IpAddr>, _service: &ServiceName) -> Result<Namespace, Denied> {
        Ok(Namespace::default())
    }

    fn reporting(&self, _peer: Option<IpAddr>) -> Result<Namespace, Denied> {
        Ok(Namespace::default())
    }

    fn sampler(&self, caller: SamplerCaller) -> BoxFuture<'_, Result<SamplerIdentity, Denied>> {
        // The counts of a sampler are evidence of a policy's effect, so they are accepted only from
        // this machine, even where the listener is reachable from elsewhere.
        let identity = match caller.peer {
            Some(peer) if peer.is_loopback() => Ok(SamplerIdentity {
                namespace: Namespace::default(),
                stack: caller.stack,
                instance: caller.instance,
            }),
            _ => Err(Denied::NotOnLoopback),
        };
        Box::pin(std::future::ready(identity))
    }
}
