//! The record of a decision in the spans of a kept trace.

use std::fmt::Write;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use prost::{Message, encoding::encode_varint};
use spoor_policy::Threshold;

use crate::{
    KeepReason, scan,
    span::{NewSpan, Signature},
    tail::Head,
};

/// The attribute of the root span with the rule because of which its trace was kept. The
/// Collector's tail sampler uses this name for its own policies.
const POLICY: &str = "tailsampling.policy";
/// The keys of `Span.trace_state` and `Span.attributes`.
const TRACE_STATE_FIELD: u8 = 3 << 3 | 2;
const ATTRIBUTE_FIELD: u8 = 9 << 3 | 2;
/// The longest `ot` member, in bytes.
///
/// Source: OpenTelemetry, "TraceState handling".
const MAX_MEMBER_BYTES: usize = 256;

/// The fields that a reason to keep a trace adds to its spans. In protobuf a field that follows
/// replaces a text and extends a list, so that the rest of a span stays as it was received.
#[derive(Clone, Debug, Default)]
pub(super) struct Annotation {
    /// The fields for the root span.
    of_root: Vec<u8>,
    /// The threshold for `tracestate`.
    threshold: Option<Threshold>,
}

impl Annotation {
    pub(super) fn new(kept: &KeepReason) -> Self {
        let (name, threshold) = match kept {
            KeepReason::NoPolicy | KeepReason::NoRoot | KeepReason::UnnamedPolicy => {
                return Self::default();
            }
            KeepReason::Rule { policy, rule } => (format!("{policy}/{rule}"), None),
            KeepReason::Otherwise { policy, rate } => {
                (format!("{policy}/otherwise"), Some(rate.threshold()))
            }
            KeepReason::Head { policy } => (format!("{policy}/head"), None),
        };
        let attribute = KeyValue {
            key: POLICY.to_owned(),
            value: Some(AnyValue {
                value: Some(Value::StringValue(name)),
            }),
            ..KeyValue::default()
        };
        let mut of_root = Vec::new();
        write_bytes(&mut of_root, ATTRIBUTE_FIELD, &attribute.encode_to_vec());
        Self { of_root, threshold }
    }

    /// Writes the fields to add to a span.
    pub(super) fn write(&self, span: &NewSpan<'_>, to: &mut Vec<u8>) {
        if span.signature.contains(Signature::ROOT) {
            to.extend_from_slice(&self.of_root);
        }
        if let Some(threshold) = self.threshold {
            let state = with_threshold(span, threshold);
            write_bytes(to, TRACE_STATE_FIELD, state.as_bytes());
        }
    }
}

fn write_bytes(to: &mut Vec<u8>, field: u8, content: &[u8]) {
    to.push(field);
    encode_varint(content.len() as u64, to);
    to.extend_from_slice(content);
}

/// The span's `tracestate` with this threshold in its `ot` member, which comes first, as that of
/// the last system that changed it.
fn with_threshold(span: &NewSpan<'_>, threshold: Threshold) -> String {
    let (state, flags) = scan::trace_state(span.body);
    let head = Head::read(state, flags);
    let mut member = format!("ot=th:{threshold}");
    // Without it a reader would take the randomness from the ID.
    if head.randomness.is_some() || !head.uses_id() {
        let randomness = head.randomness_of(span.trace_id);
        let _infallible = write!(member, ";rv:{randomness:014x}");
    }
    let (own, others): (Vec<_>, Vec<_>) = state
        .split(',')
        .map(str::trim)
        .filter(|member| !member.is_empty())
        .partition(|member| member.starts_with("ot="));
    let kept = own.iter().flat_map(|own| own["ot=".len()..].split(';'));
    for part in kept.filter(|part| !part.starts_with("th:") && !part.starts_with("rv:")) {
        if !part.is_empty() && member.len() + 1 + part.len() <= MAX_MEMBER_BYTES {
            let _infallible = write!(member, ";{part}");
        }
    }
    for other in others {
        let _infallible = write!(member, ",{other}");
    }
    member
}
