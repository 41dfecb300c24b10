//! Resources that are too long for a store, but not for a forwarder.

#![allow(clippy::unwrap_used)]

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::process::{Process, ROOT, attribute, request};

/// A request with one span, whose resource has an attribute of this length.
fn with_resource(bytes: usize) -> Vec<u8> {
    let request = request(&[(1, ROOT)], 0);
    let mut request = ExportTraceServiceRequest::decode(request.as_slice()).unwrap();
    let resource = request.resource_spans[0].resource.as_mut().unwrap();
    let argument = attribute("process.command_args", &"x".repeat(bytes));
    resource.attributes.push(argument);
    request.encode_to_vec()
}

#[test]
fn long_resource_is_forwarded_after_a_restart() {
    let mut process = Process::start(64 << 20);
    process.accept(&with_resource(200 << 10)).unwrap();
    let mut process = process.kill();
    assert_eq!(process.send(), [(1, ROOT)]);
}

#[test]
fn oversized_resource_is_not_forwarded() {
    let mut process = Process::start(64 << 20);
    process.accept(&with_resource(300 << 10)).unwrap();
    assert!(process.send().is_empty());
}
