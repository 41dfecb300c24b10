//! The sampler in force before a policy arrives.

use spoor_policy::Probability;

use super::{control, reader::Reader};

const NAME: &str = "OTEL_TRACES_SAMPLER";
const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";

/// The sampling of root spans without a policy. A span with a parent always follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TracesSampler {
    /// Every trace.
    AlwaysOn,
    /// None.
    AlwaysOff,
    /// This share.
    Ratio(Probability),
}

pub(super) fn read(reader: &mut Reader<'_>) -> TracesSampler {
    let Some(name) = reader.text(NAME) else {
        return TracesSampler::AlwaysOn;
    };
    // A span with a parent follows it in any case, so both spellings mean the same.
    match name.strip_prefix("parentbased_").unwrap_or(&name) {
        "always_on" => TracesSampler::AlwaysOn,
        "always_off" => TracesSampler::AlwaysOff,
        "traceidratio" => TracesSampler::Ratio(ratio(reader)),
        "jaeger_remote" => TracesSampler::Ratio(initial_rate(reader, &name)),
        _ => {
            reader.warn(
                NAME,
                &name,
                "must be always_on, always_off, traceidratio, jaeger_remote, or one of them \
                 after \"parentbased_\"",
            );
            TracesSampler::AlwaysOn
        }
    }
}

fn ratio(reader: &mut Reader<'_>) -> Probability {
    let Some(text) = reader.text(ARGUMENT) else {
        return Probability::ALWAYS;
    };
    probability(&text).unwrap_or_else(|| {
        reader.warn(ARGUMENT, &text, "must be a number from 0 to 1");
        Probability::ALWAYS
    })
}

/// Settings that other SDKs read, too. This one needs only the initial rate:
/// policies are pushed to it at its own endpoint.
fn initial_rate(reader: &mut Reader<'_>, name: &str) -> Probability {
    if reader.text(control::ENDPOINT).is_none() {
        let right = "needs SPOOR_CONTROL_ENDPOINT, from where policies are pushed";
        reader.warn(NAME, name, right);
    }
    let Some(text) = reader.text(ARGUMENT) else {
        return Probability::ALWAYS;
    };
    let mut rate = Probability::ALWAYS;
    for pair in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
        match pair.split_once('=') {
            Some(("endpoint" | "pollingIntervalMs", _)) => {}
            Some(("initialSamplingRate", value)) if probability(value).is_some() => {
                rate = probability(value).unwrap_or(rate);
            }
            _ => reader.warn(
                ARGUMENT,
                pair,
                "must be endpoint=URL, pollingIntervalMs=NUMBER and initialSamplingRate=NUMBER \
                 from 0 to 1, separated by commas",
            ),
        }
    }
    rate
}

fn probability(text: &str) -> Option<Probability> {
    let ratio = text.trim().parse().ok();
    let ratio = ratio.filter(|ratio: &f64| (0.0..=1.0).contains(ratio))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to 1 it is at most a million, and rounding there is what is wanted"
    )]
    let millionths = (ratio * 1e6).round() as u32;
    Probability::from_millionths(millionths).ok()
}
