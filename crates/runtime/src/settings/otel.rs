//! OpenTelemetry's variables for traces, for services and for self-tracing.
//!
//! Sources: OpenTelemetry specification, "Environment Variable Specification" and "OTLP Exporter
//! Configuration". Values that are not recognised are ignored with a warning where these pages
//! require it.

use http::Uri;

use super::{Environment, parse_endpoint};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
/// The variables for the protocol. The one for traces takes precedence.
pub const PROTOCOLS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
];
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";

/// OTLP's transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// `grpc`.
    #[default]
    Grpc,
    /// `http/protobuf`.
    HttpProtobuf,
}

/// Reads `OTEL_TRACES_EXPORTER`. Returns true for `otlp`, the default, and false for `none`.
pub fn exports_traces(environment: &mut Environment<'_>) -> bool {
    let setting = environment.first(&["OTEL_TRACES_EXPORTER"]);
    let choices = [("otlp", true), ("none", false)];
    let exports = environment.choice(setting, &choices, "must be \"otlp\" or \"none\"");
    exports.unwrap_or(true)
}

/// Reads [`PROTOCOLS`]. Defaults to gRPC.
pub fn protocol(environment: &mut Environment<'_>) -> Protocol {
    let setting = environment.first(&PROTOCOLS);
    let choices = [
        ("grpc", Protocol::Grpc),
        ("http/protobuf", Protocol::HttpProtobuf),
    ];
    let expected = "must be \"grpc\" or \"http/protobuf\"";
    let protocol = environment.choice(setting, &choices, expected);
    protocol.unwrap_or_default()
}

/// Returns whether the environment names a receiver of traces.
#[must_use]
pub fn names_receiver(environment: &Environment<'_>) -> bool {
    environment.first(&[TRACES_ENDPOINT, ENDPOINT]).is_some()
}

/// Reads `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, or else `OTEL_EXPORTER_OTLP_ENDPOINT`. Defaults to
/// the protocol's port on localhost. Returns `None` after an error.
pub fn traces_endpoint(environment: &mut Environment<'_>, protocol: Protocol) -> Option<Uri> {
    let example = match protocol {
        Protocol::Grpc => "http://localhost:4317",
        Protocol::HttpProtobuf => "http://localhost:4318",
    };
    let parse = |text: &str| parse_endpoint(text, example);
    if environment.text(TRACES_ENDPOINT).is_some() {
        return environment.parse(TRACES_ENDPOINT, parse);
    }
    let base = match environment.text(ENDPOINT) {
        Some(_) => environment.parse(ENDPOINT, parse)?,
        None => parse(example).ok()?,
    };
    match protocol {
        Protocol::Grpc => Some(base),
        // The specification appends a path to the base URL only, not to the one for traces.
        Protocol::HttpProtobuf => append_path(&base, "v1/traces"),
    }
}

/// Appends `path` to the path of a URL.
fn append_path(base: &Uri, path: &str) -> Option<Uri> {
    let path = format!("{}/{path}", base.path().trim_end_matches('/'));
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(path.parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// Reads `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`: the probability, from 0 to 1, with
/// which a trace that starts here is sampled. Spans with a parent always follow the parent's
/// decision.
///
/// `no_policies` is the warning about `jaeger_remote` for processes that receive no policies.
pub fn sampling_probability(environment: &mut Environment<'_>, no_policies: Option<&str>) -> f64 {
    let Some(name) = environment.text(SAMPLER) else {
        return 1.0;
    };
    // As the specification recommends, case does not matter.
    let lower = name.to_ascii_lowercase();
    // Spans with a parent follow it anyway, so the prefix makes no difference.
    match lower.strip_prefix("parentbased_").unwrap_or(&lower) {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => ratio(environment),
        "jaeger_remote" => {
            if let Some(expected) = no_policies {
                environment.warn(SAMPLER, &name, expected);
            }
            initial_rate(environment)
        }
        _ => {
            let expected = "must be always_on, always_off, traceidratio or jaeger_remote, \
                            optionally with the prefix \"parentbased_\"";
            environment.warn(SAMPLER, &name, expected);
            1.0
        }
    }
}

fn ratio(environment: &mut Environment<'_>) -> f64 {
    let Some(text) = environment.text(SAMPLER_ARGUMENT) else {
        return 1.0;
    };
    probability(&text).unwrap_or_else(|| {
        environment.warn(SAMPLER_ARGUMENT, &text, "must be a number from 0 to 1");
        1.0
    })
}

/// The `initialSamplingRate` of a `jaeger_remote` sampler. The other settings are ignored, since
/// Spoor's services receive policies at an endpoint of their own.
fn initial_rate(environment: &mut Environment<'_>) -> f64 {
    let text = environment.text(SAMPLER_ARGUMENT).unwrap_or_default();
    let mut rate = 1.0;
    for pair in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
        match pair.split_once('=') {
            Some(("endpoint" | "pollingIntervalMs", _)) => {}
            Some(("initialSamplingRate", value)) if probability(value).is_some() => {
                rate = probability(value).unwrap_or(rate);
            }
            _ => environment.warn(
                SAMPLER_ARGUMENT,
                pair,
                "must be endpoint=URL, pollingIntervalMs=NUMBER and initialSamplingRate=NUMBER \
                 from 0 to 1, separated by commas",
            ),
        }
    }
    rate
}

fn probability(text: &str) -> Option<f64> {
    let number = text.trim().parse().ok();
    number.filter(|number| (0.0..=1.0).contains(number))
}
