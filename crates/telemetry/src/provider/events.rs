//! Events (`tracing::error!` and the like) onto the server span that they happen in.
//!
//! Spans made by this crate's layers are OpenTelemetry's own, unknown to `tracing`; what happens
//! inside a `tracing` span is the business of [`tracing_opentelemetry`].

use std::{error::Error, fmt::Debug};

use opentelemetry::{Context, KeyValue, trace::TraceContextExt};
use opentelemetry_semantic_conventions::attribute::{EXCEPTION_MESSAGE, EXCEPTION_TYPE};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer, registry::LookupSpan};

pub(super) struct Events;

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for Events {
    fn on_event(&self, event: &Event<'_>, context: layer::Context<'_, S>) {
        if context.event_span(event).is_some() {
            return;
        }
        Context::map_current(|current| {
            let span = current.span();
            if !span.is_recording() {
                return;
            }
            let mut fields = Fields::default();
            event.record(&mut fields);
            let level = event.metadata().level().as_str();
            fields.attributes.push(KeyValue::new("level", level));
            let name = if fields.is_exception {
                "exception".to_owned()
            } else {
                fields.message
            };
            span.add_event(name, fields.attributes);
        });
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    attributes: Vec<KeyValue>,
    is_exception: bool,
}

impl Fields {
    fn exception(&mut self, message: String) {
        self.is_exception = true;
        self.attributes.push(KeyValue::new(EXCEPTION_TYPE, "error"));
        self.attributes
            .push(KeyValue::new(EXCEPTION_MESSAGE, message));
    }

    fn text(&mut self, field: &Field, text: String) {
        match field.name() {
            "message" => self.message = text,
            "error" | "err" => self.exception(text),
            name => self.attributes.push(KeyValue::new(name, text)),
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.attributes.push(KeyValue::new(field.name(), value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.attributes.push(KeyValue::new(field.name(), value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.attributes.push(KeyValue::new(field.name(), value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_error(&mut self, _: &Field, value: &(dyn Error + 'static)) {
        self.exception(value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field, format!("{value:?}"));
    }
}
