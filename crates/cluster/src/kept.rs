//! The reason that a sampler kept a trace, as it recorded it in the root span.

use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use spoor_policy::{PolicyName, Probability, RuleName};
use spoor_traces::{KeepReason, tree::value};

/// The hexadecimal digits of a threshold. Trailing zeros are left out.
const DIGITS: usize = 14;

/// The reason in the spans of a trace. None without a policy, or if it cannot be read.
pub(crate) fn kept(batches: &[ResourceSpans]) -> Option<KeepReason> {
    let scopes = batches.iter().flat_map(|batch| &batch.scope_spans);
    let mut spans = scopes.flat_map(|scope| &scope.spans);
    spans.find_map(of_span)
}

fn of_span(span: &Span) -> Option<KeepReason> {
    let text = value::string(&span.attributes, KeepReason::ATTRIBUTE)?;
    let (policy, reason) = text.split_once('/')?;
    let policy = PolicyName::new(policy).ok()?;
    match reason {
        "head" => Some(KeepReason::Head { policy }),
        "otherwise" => Some(KeepReason::Otherwise {
            policy,
            rate: rate(&span.trace_state)?,
        }),
        rule => Some(KeepReason::Rule {
            policy,
            rule: RuleName::new(rule).ok()?,
        }),
    }
}

/// The share of traces that the threshold in a `tracestate` keeps (`ot=th:…`).
fn rate(trace_state: &str) -> Option<Probability> {
    let members = trace_state.split(',').map(str::trim);
    let own = members.filter_map(|member| member.strip_prefix("ot="));
    let mut fields = own.flat_map(|own| own.split(';'));
    let digits = fields.find_map(|field| field.strip_prefix("th:"))?;
    if digits.is_empty() || digits.len() > DIGITS {
        return None;
    }
    let rejected = u64::from_str_radix(&format!("{digits:0<DIGITS$}"), 16).ok()?;
    // The threshold is the rejected part of the 2^56 values of a trace ID's random bits (W3C Trace
    // Context, Level 2).
    let all = 1_u64 << (DIGITS * 4);
    let kept = u128::from(all - rejected) * u128::from(Probability::ALWAYS.millionths());
    // Rounded, since thresholds are.
    let millionths = (kept + u128::from(all / 2)) / u128::from(all);
    Probability::from_millionths(u32::try_from(millionths).ok()?).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use opentelemetry_proto::tonic::{
        common::v1::{AnyValue, KeyValue, any_value::Value},
        trace::v1::ScopeSpans,
    };

    use super::*;

    fn trace(attribute: &str, trace_state: &str) -> Vec<ResourceSpans> {
        let attribute = KeyValue {
            key: KeepReason::ATTRIBUTE.to_owned(),
            value: Some(AnyValue {
                value: Some(Value::StringValue(attribute.to_owned())),
            }),
            ..KeyValue::default()
        };
        let root = Span {
            attributes: vec![attribute],
            trace_state: trace_state.to_owned(),
            ..Span::default()
        };
        let scope = ScopeSpans {
            spans: vec![Span::default(), root],
            ..ScopeSpans::default()
        };
        vec![ResourceSpans {
            scope_spans: vec![scope],
            ..ResourceSpans::default()
        }]
    }

    #[rstest::rstest]
    #[case::rule("shop/slow", "", Some("rule slow of policy shop"))]
    #[case::head("shop/head", "", Some("head sampling (policy shop)"))]
    #[case::otherwise(
        "shop/otherwise",
        "ot=th:e6666666666666",
        Some("`otherwise` of policy shop")
    )]
    #[case::no_threshold("shop/otherwise", "", None)]
    #[case::foreign("latency-policy", "", None)]
    fn recorded_reason_is_read(
        #[case] attribute: &str,
        #[case] trace_state: &str,
        #[case] expected: Option<&str>,
    ) {
        let kept = kept(&trace(attribute, trace_state)).map(|it| it.to_string());
        assert_eq!(kept.as_deref(), expected);
    }

    #[rstest::rstest]
    #[case("ot=th:0", Some("100%"))]
    #[case("vendor=1,ot=rv:1;th:e6666666666666", Some("10%"))]
    #[case("ot=th:", None)]
    fn threshold_is_a_share(#[case] trace_state: &str, #[case] expected: Option<&str>) {
        let rate = rate(trace_state).map(|it| it.to_string());
        assert_eq!(rate.as_deref(), expected);
    }
}
