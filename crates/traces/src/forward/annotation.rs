//! The record of a decision in the spans of a kept trace.

use std::fmt::Write;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use prost::{Message, encoding::encode_varint};

use crate::{
    KeepReason,
    log::CHILDREN_KEY,
    scan,
    span::{NewSpan, Signature},
    tail::Head,
};

const POLICY: &str = KeepReason::ATTRIBUTE;
/// The keys of `Span.trace_state` and `Span.attributes`.
const TRACE_STATE_FIELD: u8 = 3 << 3 | 2;
const ATTRIBUTE_FIELD: u8 = 9 << 3 | 2;
/// The longest `ot` member, in bytes.
///
/// Source: OpenTelemetry, "TraceState handling".
const MAX_MEMBER_BYTES: usize = 256;

/// The changes that a reason to keep a trace makes to its spans. In protobuf, a later field
/// replaces a string and extends a list, so the rest of a span stays as it was received.
#[derive(Clone, Debug, Default)]
pub(super) struct Annotation {
    /// The fields for the root span.
    of_root: Vec<u8>,
    /// The beginning of the `ot` member of `tracestate`, with the threshold.
    threshold: Option<String>,
}

/// Reused from span to span, so that most spans need no allocation.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// A copy of a span without the attribute that is replaced.
    copy: Vec<u8>,
    /// The fields that are added to a span.
    added: Vec<u8>,
    state: String,
}

impl Annotation {
    pub(super) fn new(kept: &KeepReason) -> Self {
        let (name, threshold) = match kept {
            KeepReason::NoPolicy | KeepReason::NoRoot | KeepReason::UnnamedPolicy => {
                return Self::default();
            }
            KeepReason::Rule { policy, rule } => (format!("{policy}/{rule}"), None),
            KeepReason::Otherwise { policy, rate } => {
                let threshold = format!("ot=th:{}", rate.threshold());
                (format!("{policy}/otherwise"), Some(threshold))
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

    /// Writes a span with its changes, as a field of `ScopeSpans`.
    pub(super) fn write(&self, span: &NewSpan<'_>, buffers: &mut Buffers, to: &mut Vec<u8>) {
        let Buffers { copy, added, state } = buffers;
        let mut body = span.body;
        added.clear();
        if span.signature.contains(Signature::ROOT) && !self.of_root.is_empty() {
            // The service, or a sampler before this one, may have set it.
            if scan::copy_without_attribute(body, POLICY, copy) {
                body = copy.as_slice();
            }
            added.extend_from_slice(&self.of_root);
        }
        if let Some(threshold) = &self.threshold
            && write_state(span, threshold, state)
        {
            write_bytes(added, TRACE_STATE_FIELD, state.as_bytes());
        }
        to.push(CHILDREN_KEY);
        encode_varint((body.len() + added.len()) as u64, to);
        to.extend_from_slice(body);
        to.extend_from_slice(added);
    }
}

fn write_bytes(to: &mut Vec<u8>, field: u8, content: &[u8]) {
    to.push(field);
    encode_varint(content.len() as u64, to);
    to.extend_from_slice(content);
}

/// Writes the span's `tracestate` with this threshold in its `ot` member. That member comes first,
/// as that of the system that changed it last. Returns whether the span has a different one.
fn write_state(span: &NewSpan<'_>, threshold: &str, to: &mut String) -> bool {
    let (state, flags) = match span.signature.contains(Signature::TRACE_STATE) {
        true => scan::trace_state(span.body),
        // The flags matter only beside a threshold.
        false => ("", 0),
    };
    let head = Head::read(state, flags);
    to.clear();
    to.push_str(threshold);
    // Without it a reader would take the randomness from the ID.
    if head.randomness.is_some() || !head.uses_id() {
        let randomness = head.randomness_of(span.trace_id);
        let _infallible = write!(to, ";rv:{randomness:014x}");
    }
    let members = || {
        let members = state.split(',').map(str::trim);
        members.filter(|member| !member.is_empty())
    };
    let own = members().filter_map(|member| member.strip_prefix("ot="));
    for part in own.flat_map(|own| own.split(';')) {
        let is_replaced = part.is_empty() || part.starts_with("th:") || part.starts_with("rv:");
        if !is_replaced && to.len() + 1 + part.len() <= MAX_MEMBER_BYTES {
            to.push(';');
            to.push_str(part);
        }
    }
    for other in members().filter(|member| !member.starts_with("ot=")) {
        to.push(',');
        to.push_str(other);
    }
    to.as_str() != state
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use opentelemetry_proto::tonic::{
        collector::trace::v1::ExportTraceServiceRequest,
        trace::v1::{ScopeSpans, Span},
    };
    use prost::Message;
    use rstest::rstest;
    use spoor_policy::{PolicyName, RuleName};

    use super::{Annotation, Buffers, POLICY};
    use crate::{
        KeepReason,
        forward::tests::process::{ROOT, attribute, request},
        memory::Reservation,
        scan::scan,
    };

    fn policy() -> PolicyName {
        PolicyName::new("shop").unwrap()
    }

    fn rule() -> KeepReason {
        KeepReason::Rule {
            policy: policy(),
            rule: RuleName::new("errors").unwrap(),
        }
    }

    fn otherwise() -> KeepReason {
        KeepReason::Otherwise {
            policy: policy(),
            rate: "50%".parse().unwrap(),
        }
    }

    /// A span with this number, before and after it is kept for a reason.
    fn annotated(number: u64, change: impl FnOnce(&mut Span), kept: &KeepReason) -> (Span, Span) {
        let request = request(&[(1, number)], 0);
        let mut request = ExportTraceServiceRequest::decode(request.as_slice()).unwrap();
        let span = &mut request.resource_spans[0].scope_spans[0].spans[0];
        change(span);
        let before = span.clone();
        let encoded = request.encode_to_vec();
        let scanned = scan(&encoded, &mut Reservation::unbounded()).unwrap();
        let mut written = Vec::new();
        let mut buffers = Buffers::default();
        Annotation::new(kept).write(&scanned.spans[0], &mut buffers, &mut written);
        let mut scope = ScopeSpans::decode(written.as_slice()).unwrap();
        (before, scope.spans.remove(0))
    }

    #[test]
    fn attribute_of_the_root_is_replaced() {
        let change = |span: &mut Span| {
            span.attributes = vec![
                attribute(POLICY, "first"),
                attribute("a", "b"),
                attribute(POLICY, "second"),
                attribute("c", "d"),
            ];
        };
        let (before, after) = annotated(ROOT, change, &rule());
        let attributes = vec![
            attribute("a", "b"),
            attribute("c", "d"),
            attribute(POLICY, "shop/errors"),
        ];
        let expected = Span {
            attributes,
            ..before
        };
        assert_eq!(after, expected);
    }

    #[rstest]
    #[case::child(2, rule())]
    #[case::without_a_rule(ROOT, KeepReason::NoRoot)]
    fn other_spans_are_unchanged(#[case] number: u64, #[case] kept: KeepReason) {
        let change = |span: &mut Span| span.attributes.push(attribute(POLICY, "first"));
        let (before, after) = annotated(number, change, &kept);
        assert_eq!(after, before);
    }

    /// The flag 2 means that the trace ID is random.
    #[rstest]
    #[case::threshold("ot=th:0", 2, "ot=th:8")]
    #[case::same("ot=th:8", 2, "ot=th:8")]
    #[case::randomness("ot=th:0;rv:abcdefabcdef01", 0, "ot=th:8;rv:abcdefabcdef01")]
    #[case::others("a=b, ot=x:1;th:0;;y:2,c=d", 2, "ot=th:8;x:1;y:2,a=b,c=d")]
    fn threshold_comes_first(#[case] state: &str, #[case] flags: u32, #[case] expected: &str) {
        let change = |span: &mut Span| {
            span.trace_state = state.to_owned();
            span.flags = flags;
        };
        let (before, after) = annotated(2, change, &otherwise());
        let expected = Span {
            trace_state: expected.to_owned(),
            ..before
        };
        assert_eq!(after, expected);
    }

    #[test]
    fn randomness_is_written_without_a_threshold() {
        let (_, after) = annotated(2, |_| {}, &otherwise());
        let randomness = after.trace_state.strip_prefix("ot=th:8;rv:");
        assert_eq!(randomness.map(str::len), Some(14), "{}", after.trace_state);
    }
}
