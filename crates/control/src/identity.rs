//! Who a caller is: in a cluster not what it claims, on one machine just that.

use std::{future::Future, net::IpAddr, pin::Pin};

use spoor_policy::{Namespace, ServiceName};
use tonic::{Status, metadata::MetadataMap};

/// What a new stream brings along.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The request's metadata, with its credentials.
    pub metadata: MetadataMap,
    /// The address that it comes from, where the server knows it.
    pub peer: Option<IpAddr>,
    /// The service that it claims to be.
    pub service: ServiceName,
    /// The instance that it claims to be.
    pub instance: String,
}

/// Who a stream's client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its namespace: it sees no other's policies.
    pub namespace: Namespace,
    /// Its service: it sees no other's strategy.
    pub service: ServiceName,
    /// Its instance.
    pub instance: String,
}

/// Says who callers are.
pub trait Identify: Send + Sync {
    /// Identifies a stream's client.
    ///
    /// # Errors
    /// The status that the stream ends with.
    fn stream<'a>(
        &'a self,
        caller: Caller,
    ) -> Pin<Box<dyn Future<Output = Result<Identity, Status>> + Send + 'a>>;

    /// The namespace of a client of the stock doors, by its address.
    ///
    /// # Errors
    /// The status that it is answered with; over HTTP 403.
    fn polling(&self, peer: Option<IpAddr>) -> Result<Namespace, Status>;
}

/// Believes everyone, in the namespace `default`. What guards it is that its ports are bound to
/// loopback.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnyoneOnLoopback;

impl Identify for AnyoneOnLoopback {
    fn stream<'a>(
        &'a self,
        caller: Caller,
    ) -> Pin<Box<dyn Future<Output = Result<Identity, Status>> + Send + 'a>> {
        let identity = Identity {
            namespace: Namespace::default(),
            service: caller.service,
            instance: caller.instance,
        };
        Box::pin(std::future::ready(Ok(identity)))
    }

    fn polling(&self, _peer: Option<IpAddr>) -> Result<Namespace, Status> {
        Ok(Namespace::default())
    }
}
