//! W3C Trace Context, case by case.

use std::collections::HashMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    baggage::BaggageExt,
    propagation::{Extractor, TextMapPropagator},
    trace::{
        SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
        TracerProvider,
    },
};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use proptest::prelude::*;
use rstest::rstest;
use spoor_telemetry::propagation::{Propagator, RANDOM};

const ID: &str = "12345678901234567890123456789012";
const PARENT: &str = "00-12345678901234567890123456789012-1234567890123456-01";

pub fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    headers
}

fn extract(headers: &HeaderMap) -> Context {
    Propagator.extract_with_context(&Context::new(), &HeaderExtractor(headers))
}

fn inject(context: &Context) -> HashMap<String, String> {
    let mut carrier = HashMap::new();
    Propagator.inject_context(context, &mut carrier);
    carrier
}

fn parent(headers: &HeaderMap) -> Option<SpanContext> {
    let context = extract(headers);
    let span = context.span();
    Some(span.span_context().clone()).filter(SpanContext::is_valid)
}

/// The outgoing `tracestate` for incoming ones that accompany a valid `traceparent`.
fn passed_on(states: &[&str]) -> Option<String> {
    let states = states.iter().map(|state| ("tracestate", *state));
    let pairs: Vec<_> = [("traceparent", PARENT)]
        .into_iter()
        .chain(states)
        .collect();
    let mut carrier = inject(&extract(&headers(&pairs)));
    assert_eq!(
        carrier.get("traceparent").map(String::as_str),
        Some(PARENT),
        "the traceparent is kept"
    );
    carrier.remove("tracestate")
}

#[rstest]
#[case::plain(PARENT)]
#[case::not_sampled("00-12345678901234567890123456789012-1234567890123456-00")]
#[case::unknown_flags("00-12345678901234567890123456789012-1234567890123456-fd")]
#[case::leading_space(" \t00-12345678901234567890123456789012-1234567890123456-01")]
#[case::trailing_space("00-12345678901234567890123456789012-1234567890123456-01 \t")]
#[case::future("cc-12345678901234567890123456789012-1234567890123456-01")]
#[case::future_with_more("01-12345678901234567890123456789012-1234567890123456-01-what-the-future")]
fn a_good_traceparent_is_continued(#[case] value: &str) {
    let parent = parent(&headers(&[("traceparent", value)])).unwrap();
    assert_eq!(parent.trace_id().to_string(), ID);
    assert_eq!(parent.span_id().to_string(), "1234567890123456");
    assert!(parent.is_remote());
}

#[rstest]
#[case::empty("")]
#[case::text("not a traceparent")]
#[case::version_ff("ff-12345678901234567890123456789012-1234567890123456-01")]
#[case::version_not_hex("0.-12345678901234567890123456789012-1234567890123456-01")]
#[case::version_short("0-12345678901234567890123456789012-1234567890123456-01")]
#[case::version_long("000-12345678901234567890123456789012-1234567890123456-01")]
#[case::version_upper_case("CC-12345678901234567890123456789012-1234567890123456-01")]
#[case::more_in_version_00("00-12345678901234567890123456789012-1234567890123456-01-more")]
#[case::trailing_dash("00-12345678901234567890123456789012-1234567890123456-01-")]
#[case::trailing_dot("00-12345678901234567890123456789012-1234567890123456-01.")]
#[case::future_without_dash("cc-12345678901234567890123456789012-1234567890123456-01.more")]
#[case::trace_id_zero("00-00000000000000000000000000000000-1234567890123456-01")]
#[case::parent_id_zero("00-12345678901234567890123456789012-0000000000000000-01")]
#[case::trace_id_upper_case("00-ABCDEF78901234567890123456789012-1234567890123456-01")]
#[case::parent_id_upper_case("00-12345678901234567890123456789012-ABCDEF7890123456-01")]
#[case::flags_upper_case("00-12345678901234567890123456789012-1234567890123456-0A")]
#[case::trace_id_not_hex("00-1234567890123456789012345678901x-1234567890123456-01")]
#[case::trace_id_short("00-1234567890123456789012345678901-1234567890123456-01")]
#[case::trace_id_long("00-123456789012345678901234567890123-1234567890123456-01")]
#[case::parent_id_short("00-12345678901234567890123456789012-123456789012345-01")]
#[case::parent_id_long("00-12345678901234567890123456789012-12345678901234567-01")]
#[case::flags_short("00-12345678901234567890123456789012-1234567890123456-1")]
#[case::flags_long("00-12345678901234567890123456789012-1234567890123456-001")]
#[case::flags_not_hex("00-12345678901234567890123456789012-1234567890123456-.0")]
#[case::a_sign("00-+2345678901234567890123456789012-1234567890123456-01")]
#[case::not_ascii("00-1234567890123456789012345678901é-123456789012345-01")]
fn a_bad_traceparent_restarts_the_trace(#[case] value: &str) {
    let headers = headers(&[("traceparent", value), ("tracestate", "foo=1")]);
    assert_eq!(parent(&headers), None);
    assert_eq!(
        inject(&extract(&headers)),
        HashMap::new(),
        "its tracestate is dropped too"
    );
}

#[test]
fn an_oversized_traceparent_restarts_the_trace() {
    let long = format!("{PARENT}{}", "0".repeat(100_000));
    assert_eq!(parent(&headers(&[("traceparent", &long)])), None);
}

#[test]
fn two_traceparents_restart_the_trace() {
    let twice = headers(&[("traceparent", PARENT), ("traceparent", PARENT)]);
    assert_eq!(parent(&twice), None);
}

#[rstest]
#[case("TraceParent", "TraceState")]
#[case("TRACEPARENT", "TRACESTATE")]
fn header_names_are_case_insensitive(#[case] name: &str, #[case] state: &str) {
    let context = extract(&headers(&[(name, PARENT), (state, "foo=1")]));
    assert_eq!(
        inject(&context).get("tracestate").map(String::as_str),
        Some("foo=1")
    );
}

#[rstest]
#[case::one(&["foo=1,bar=2"], "foo=1,bar=2")]
#[case::several_headers(&["foo=1,bar=2", "rojo=1,congo=2", "baz=3"], "foo=1,bar=2,rojo=1,congo=2,baz=3")]
#[case::an_empty_header(&["", "foo=1", ""], "foo=1")]
#[case::space_around(&[" foo=1 \t , \t bar=2, "], "foo=1,bar=2")]
#[case::space_inside(&["foo= 1 2"], "foo= 1 2")]
#[case::the_first_of_two(&["foo=1,bar=2", "foo=3"], "foo=1,bar=2")]
#[case::starts_with_a_digit(&["0foo=1"], "0foo=1")]
#[case::many_at_signs(&["foo@@bar@=1,bar=2"], "foo@@bar@=1,bar=2")]
fn a_good_tracestate_is_passed_on(#[case] incoming: &[&str], #[case] outgoing: &str) {
    assert_eq!(passed_on(incoming).as_deref(), Some(outgoing));
}

#[rstest]
#[case::nothing(&[""])]
#[case::no_value(&["foo,bar=1"])]
#[case::empty_value(&["foo=,bar=1"])]
#[case::two_equal_signs(&["foo=1=2"])]
#[case::space_in_key(&["foo =1"])]
#[case::upper_case_key(&["FOO=1"])]
#[case::dot_in_key(&["foo.bar=1"])]
#[case::key_starts_with_at(&["@foo=1,bar=2"])]
#[case::key_starts_with_dash(&["-foo=1"])]
#[case::one_of_two_headers(&["foo=1", "bar"])]
#[case::not_ascii(&["foo=é"])]
fn a_bad_tracestate_is_dropped_alone(#[case] incoming: &[&str]) {
    assert_eq!(passed_on(incoming), None);
}

#[test]
fn an_oversized_tracestate_is_dropped_alone() {
    let members = |count: usize| {
        (1..=count)
            .map(|number| format!("k{number:02}={number}"))
            .collect::<Vec<_>>()
            .join(",")
    };
    assert_eq!(passed_on(&[&members(32)]), Some(members(32)));
    assert_eq!(passed_on(&[&members(33)]), None);

    let key = |length: usize| format!("{}=1", "z".repeat(length));
    assert_eq!(passed_on(&[&key(256)]), Some(key(256)));
    assert_eq!(passed_on(&[&key(257)]), None);

    let value = |length: usize| format!("foo={}", "v".repeat(length));
    assert_eq!(passed_on(&[&value(256)]), Some(value(256)));
    assert_eq!(passed_on(&[&value(257)]), None);

    let total = |last: usize| {
        let first = format!("a={}", "v".repeat(253));
        format!("{first},b={}", "v".repeat(last))
    };
    assert_eq!(total(254).len(), 512);
    assert_eq!(passed_on(&[&total(254)]), Some(total(254)));
    assert_eq!(passed_on(&[&total(255)]), None);
}

#[rstest]
#[case::sampled(Sampler::AlwaysOn, "01")]
#[case::not_sampled(Sampler::AlwaysOff, "00")]
fn random_flag_is_passed_on_unchanged(#[case] sampler: Sampler, #[case] sampled: &str) {
    let tracer = SdkTracerProvider::builder()
        .with_sampler(sampler)
        .build()
        .tracer("test");
    for (incoming, outgoing) in [(0x00, 0x00), (0x02, 0x02), (0x03, 0x02)] {
        let value = format!("00-{ID}-1234567890123456-{incoming:02x}");
        let context = extract(&headers(&[
            ("traceparent", &value),
            ("tracestate", "foo@@=1"),
        ]));
        // Two spans deep: the flag belongs to the trace, not to the parent alone.
        let server = context.with_span(tracer.start_with_context("server", &context));
        let client = server.with_span(tracer.start_with_context("client", &server));
        let carrier = inject(&client);
        let flags = u8::from_str_radix(sampled, 16).unwrap() | outgoing;
        let traceparent = carrier.get("traceparent").unwrap();
        assert!(
            traceparent.starts_with(&format!("00-{ID}-")),
            "{traceparent}"
        );
        assert!(
            traceparent.ends_with(&format!("-{flags:02x}")),
            "{traceparent} for {value}"
        );
        assert_eq!(
            carrier.get("tracestate").map(String::as_str),
            Some("foo@@=1")
        );
    }
}

#[rstest]
#[case::sampled(Sampler::AlwaysOn, "-03")]
#[case::not_sampled(Sampler::AlwaysOff, "-02")]
fn ids_made_here_are_random(#[case] sampler: Sampler, #[case] flags: &str) {
    let tracer = SdkTracerProvider::builder()
        .with_sampler(sampler)
        .build()
        .tracer("test");
    let root = Context::new().with_span(tracer.start_with_context("root", &Context::new()));
    let carrier = inject(&root);
    assert!(
        carrier.get("traceparent").unwrap().ends_with(flags),
        "{carrier:?}"
    );
}

#[test]
fn own_member_precedes_those_of_others() {
    let context = extract(&headers(&[
        ("traceparent", PARENT),
        ("tracestate", "a@@=1,b=2,ot=rv:0"),
    ]));
    let span = context.span();
    let span = span.span_context();
    let changed = SpanContext::new(
        span.trace_id(),
        SpanId::from(7),
        span.trace_flags(),
        false,
        span.trace_state().insert("ot", "th:0").unwrap(),
    );
    let carrier = inject(&context.with_remote_span_context(changed));
    assert_eq!(
        carrier.get("tracestate").map(String::as_str),
        Some("ot=th:0,b=2,a@@=1")
    );
}

#[test]
fn too_long_tracestate_is_cut_by_the_rules() {
    let member = |key: &str, length: usize| (key.to_owned(), "v".repeat(length));
    let state = [
        member("a", 100),
        member("b", 200),
        member("c", 100),
        member("d", 60),
        member("e", 100),
    ];
    let state = TraceState::from_key_value(state).unwrap();
    let span = SpanContext::new(
        TraceId::from(1),
        SpanId::from(1),
        TraceFlags::SAMPLED,
        false,
        state,
    );
    let carrier = inject(&Context::new().with_remote_span_context(span));
    let keys: Vec<_> = carrier
        .get("tracestate")
        .unwrap()
        .split(',')
        .map(|member| &member[..1])
        .collect();
    assert_eq!(keys, ["a", "c", "d", "e"]);
}

#[test]
fn baggage_of_several_headers_is_merged() {
    let context = extract(&headers(&[
        ("baggage", "user=ann"),
        ("baggage", "tier=gold%20one;p=1"),
    ]));
    assert_eq!(
        context
            .baggage()
            .get("user")
            .map(ToString::to_string)
            .as_deref(),
        Some("ann")
    );
    assert_eq!(
        context
            .baggage()
            .get("tier")
            .map(ToString::to_string)
            .as_deref(),
        Some("gold one")
    );
    let carrier = inject(&context);
    let mut members: Vec<_> = carrier.get("baggage").unwrap().split(',').collect();
    members.sort_unstable();
    assert_eq!(members, ["tier=gold%20one;p=1", "user=ann"]);
}

#[test]
fn no_span_injects_nothing() {
    assert_eq!(inject(&Context::new()), HashMap::new());
}

/// Headers with any text as values, and with repeated names.
struct Carrier(Vec<(String, String)>);

impl Extractor for Carrier {
    fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn get_all(&self, key: &str) -> Option<Vec<&str>> {
        let named = self.0.iter().filter(|(name, _)| name == key);
        let values: Vec<_> = named.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then_some(values)
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<Vec<u8>>().prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        any::<String>(),
        "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.{0,3}",
        "([a-z@=, ]{0,9}[,=]){0,40}",
        "[a-z]{1,300}=[ -~é]{0,300}",
    ]
}

proptest! {
    #[test]
    fn any_headers_are_accepted_without_a_panic(
        traceparents in prop::collection::vec(text(), 0..3),
        tracestates in prop::collection::vec(text(), 0..4),
        baggage in prop::collection::vec(text(), 0..3),
    ) {
        let named = |name: &'static str, values: Vec<String>| {
            values.into_iter().map(move |value| (name.to_owned(), value))
        };
        let carrier = Carrier(
            named("traceparent", traceparents)
                .chain(named("tracestate", tracestates))
                .chain(named("baggage", baggage))
                .collect(),
        );
        let context = Propagator.extract_with_context(&Context::new(), &carrier);
        let out = inject(&context);
        if let Some(state) = out.get("tracestate") {
            prop_assert!(state.len() <= 512 && state.split(',').count() <= 32);
            prop_assert!(HeaderValue::from_str(state).is_ok());
        }
    }

    #[test]
    fn injected_context_is_extracted_again(
        trace_id in 1_u128..,
        span_id in 1_u64..,
        flags in 0_u8..4,
        members in prop::collection::btree_map("[a-z0-9][a-z0-9_*/@-]{0,7}", "[!-+.-<>-~]{1,7}", 0..20),
    ) {
        let state: Vec<_> =
            members.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let traceparent = format!("00-{trace_id:032x}-{span_id:016x}-{flags:02x}");
        let mut carrier = HashMap::from([("traceparent".to_owned(), traceparent)]);
        if !state.is_empty() {
            carrier.insert("tracestate".to_owned(), state.join(","));
        }
        let context = Propagator.extract_with_context(&Context::new(), &carrier);
        let span = context.span();
        prop_assert_eq!(span.span_context().trace_flags() & RANDOM == RANDOM, flags & 2 == 2);
        prop_assert_eq!(inject(&context), carrier);
    }
}
