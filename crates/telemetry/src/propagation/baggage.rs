//! Extraction of `baggage` with the SDK's propagator, after joining all its headers.

use std::collections::HashMap;

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
            // Several headers of one name are one list.
            let joined = HashMap::from([(BAGGAGE.to_owned(), headers.join(","))]);
            BaggagePropagator::new().extract_with_context(context, &joined)
        }
    }
}
