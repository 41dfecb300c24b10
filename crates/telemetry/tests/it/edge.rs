//! The callers that an edge trusts.

use std::net::IpAddr;

use opentelemetry::{
    Context,
    baggage::BaggageExt,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use rstest::rstest;
use spoor_telemetry::edge::{self, TrustedPeers};

use crate::propagation::headers;

const PARENT: &str = "00-12345678901234567890123456789012-1234567890123456-01";

fn admit(trusted: &str, peer: &str) -> edge::Admitted {
    let headers = headers(&[
        ("traceparent", PARENT),
        ("tracestate", "foo=1"),
        ("baggage", "user=ann"),
    ]);
    edge::admit(
        &trusted.parse().unwrap(),
        Some(peer.parse::<IpAddr>().unwrap()),
        &headers,
    )
}

#[rstest]
#[case::loopback("", "127.0.0.1")]
#[case::loopback_6("", "::1")]
#[case::other_network("10.0.0.0/8", "11.0.0.1")]
#[case::other_family("10.0.0.0/8", "::1")]
fn untrusted_peer_becomes_a_link(#[case] trusted: &str, #[case] peer: &str) {
    let admitted = admit(trusted, peer);
    assert!(!admitted.parent.has_active_span());
    assert!(admitted.parent.baggage().is_empty());
    let link = admitted.link.unwrap();
    assert_eq!(
        link.trace_id().to_string(),
        "12345678901234567890123456789012"
    );
    assert_eq!(*link.trace_state(), TraceState::NONE);
}

#[rstest]
#[case::network("10.0.0.0/8, 127.0.0.0/8", "127.3.2.1")]
#[case::address("127.0.0.1,::1", "::1")]
#[case::mapped("127.0.0.0/8", "::ffff:127.0.0.1")]
fn trusted_peer_is_the_parent(#[case] trusted: &str, #[case] peer: &str) {
    let admitted = admit(trusted, peer);
    assert!(admitted.link.is_none());
    let span = admitted.parent.span();
    assert_eq!(
        span.span_context().trace_id().to_string(),
        "12345678901234567890123456789012"
    );
    assert_eq!(span.span_context().trace_state().header(), "foo=1");
    assert_eq!(admitted.parent.baggage().len(), 1);
}

#[test]
fn unknown_peer_is_not_trusted() {
    let all: TrustedPeers = "0.0.0.0/0,::/0".parse().unwrap();
    let admitted = edge::admit(&all, None, &headers(&[("traceparent", PARENT)]));
    assert!(!admitted.parent.has_active_span());
    assert!(admitted.link.is_some());
}

#[test]
fn without_context_there_is_no_link() {
    let admitted = edge::admit(&TrustedPeers::default(), None, &headers(&[]));
    assert!(admitted.link.is_none());
    let broken = headers(&[("traceparent", "00-abc")]);
    assert!(
        edge::admit(&TrustedPeers::default(), None, &broken)
            .link
            .is_none()
    );
}

#[rstest]
#[case("10.0.0.0/33")]
#[case("localhost")]
#[case("10.0.0.0/8 ::1")]
fn invalid_list_is_an_error(#[case] text: &str) {
    let error = text.parse::<TrustedPeers>().unwrap_err().to_string();
    assert!(
        error.contains(text) && error.contains("must be networks"),
        "{error}"
    );
}

#[test]
fn response_has_the_trace_id() {
    let span = SpanContext::new(
        TraceId::from(0xabc),
        SpanId::from(0xdef),
        TraceFlags::SAMPLED,
        false,
        TraceState::NONE,
    );
    let context = Context::new().with_remote_span_context(span);
    let [(response, value), (id, hex)] = edge::response_headers(&context).unwrap();
    assert_eq!(response, "traceresponse");
    assert_eq!(
        value,
        "00-00000000000000000000000000000abc-0000000000000def-03"
    );
    assert_eq!(id, "x-trace-id");
    assert_eq!(hex, "00000000000000000000000000000abc");
    assert!(edge::response_headers(&Context::new()).is_none());
}
