//! Faults for services to inject.

use bytes::Bytes;
use spoor_policy::{Fault, Namespace, ServiceName};
use spoor_proto::spoor::control::v1 as proto;

use crate::served_plan;

/// The faults of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFaults {
    /// The service's namespace.
    pub namespace: Namespace,
    /// The service.
    pub service: ServiceName,
    /// The service's faults, at least one.
    pub faults: Vec<Fault>,
}

/// Encodes the message with all faults of a service.
pub(crate) fn encode(faults: &[Fault]) -> Bytes {
    let faults = faults.iter().map(|fault| proto::Fault {
        operation: served_plan::operation_to_proto(fault.operation.as_ref()),
        delay_millis: fault.delay.as_millis(),
        error_rate_millionths: fault.error_rate.millionths(),
    });
    served_plan::encode(proto::server_message::Message::Faults(proto::Faults {
        faults: faults.collect(),
    }))
}
