//! Faults for services to inject.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use spoor_policy::{Namespace, OperationName, Probability, ServiceName};
use spoor_proto::spoor::control::v1 as proto;

/// A fault that a service injects into the requests that it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The name of the server span. If unset, all requests.
    pub operation: Option<OperationName>,
    /// The delay of each request.
    pub delay: Duration,
    /// The share of requests that fail.
    pub error_rate: Probability,
}

/// The faults of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFaults {
    /// The service's namespace.
    pub namespace: Namespace,
    /// The service.
    pub service: ServiceName,
    /// Its faults, at least one.
    pub faults: Vec<Fault>,
}

/// Encodes the message with all faults of a service.
pub(crate) fn encode(faults: &[Fault]) -> Bytes {
    let faults = faults.iter().map(|fault| proto::Fault {
        operation: fault
            .operation
            .as_ref()
            .map_or_else(String::new, ToString::to_string),
        delay_millis: u32::try_from(fault.delay.as_millis()).unwrap_or(u32::MAX),
        error_rate_millionths: fault.error_rate.millionths(),
    });
    let message = proto::server_message::Message::Faults(proto::Faults {
        faults: faults.collect(),
    });
    proto::ServerMessage {
        message: Some(message),
    }
    .encode_to_vec()
    .into()
}
