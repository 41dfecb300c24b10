//! The rings of stacks as sent: encoded once, shared by the streams of a stack's samplers.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use prost::Message;
use spoor_policy::Namespace;
use spoor_proto::spoor::{control::v1 as proto, sampler::v1::Rings};

/// The messages with the rings of a namespace's stacks, by the name of the stack.
pub(crate) type StackRings = Arc<BTreeMap<String, Bytes>>;

/// Encodes the messages of each namespace.
pub(crate) fn encode(
    rings: BTreeMap<(Namespace, String), Rings>,
) -> BTreeMap<Namespace, StackRings> {
    let mut encoded: BTreeMap<Namespace, BTreeMap<String, Bytes>> = BTreeMap::new();
    for ((namespace, stack), rings) in rings {
        let message = Some(proto::control_message::Message::Rings(rings));
        let message = proto::ControlMessage { message }.encode_to_vec();
        let of_namespace = encoded.entry(namespace).or_default();
        of_namespace.insert(stack, message.into());
    }
    let encoded = encoded.into_iter();
    encoded
        .map(|(namespace, stacks)| (namespace, Arc::new(stacks)))
        .collect()
}
