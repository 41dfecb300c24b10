//! `baggage`, by the SDK's propagator, with all its headers joined.

use opentelemetry::{
    Context,
    propagation::{Extractor, TextMapPropagator},
};
use opentelemetry_sdk::propagation::BaggagePropagator;

use super::BAGGAGE;

pub(super) fn extract(context: &Context, extractor: &dyn Extractor) -> Context {
    match extractor.get_all(BAGGAGE).as_deref() {
        None | Some([]) => context.clone(),
        Some(headers) => {
            BaggagePropagator::new().extract_with_context(context, &Combined(headers.join(",")))
        }
    }
}

/// The values of all `baggage` headers, joined: several headers of one name are one list.
struct Combined(String);

impl Extractor for Combined {
    fn get(&self, key: &str) -> Option<&str> {
        (key == BAGGAGE).then_some(self.0.as_str())
    }

    fn keys(&self) -> Vec<&str> {
        vec![BAGGAGE]
    }
}
