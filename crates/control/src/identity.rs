//! Who a caller is: in a cluster not what it claims, on one machine just that.

mod denied;

use std::{future::Future, net::IpAddr, pin::Pin};

use spoor_policy::{Namespace, ServiceName};
use tonic::metadata::MetadataMap;

pub use denied::Denied;

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
    /// Its instance, which all streams of one pod share. What a stream says counts for this one
    /// and no other; its processes are told apart by what each calls its start. A stream that
    /// claims to be another instance that is known is not let in.
    pub instance: String,
}

/// Says who callers are.
pub trait Identify: Send + Sync {
    /// Identifies a stream's client.
    ///
    /// # Errors
    /// Why the stream ends.
    fn stream<'a>(
        &'a self,
        caller: Caller,
    ) -> Pin<Box<dyn Future<Output = Result<Identity, Denied>> + Send + 'a>>;

    /// The namespace of a client of the stock doors, by its address, if it may have the strategy
    /// of this service.
    ///
    /// # Errors
    /// Why it gets no answer.
    fn polling(&self, peer: Option<IpAddr>, service: &ServiceName) -> Result<Namespace, Denied>;

    /// The namespace whose services' metrics a sender may hand on, by its address.
    ///
    /// # Errors
    /// Why its metrics are not taken.
    fn reporting(&self, peer: Option<IpAddr>) -> Result<Namespace, Denied>;
}

/// Believes everyone, in the namespace `default`. What guards it is that its ports are bound to
/// loopback.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnyoneOnLoopback;

impl Identify for AnyoneOnLoopback {
    fn stream<'a>(
        &'a self,
        caller: Caller,
    ) -> Pin<Box<dyn Future<Output = Result<Identity, Denied>> + Send + 'a>> {
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
}
