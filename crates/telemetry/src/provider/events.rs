//! Adds events (such as `tracing::error!`) to the current span: a server span of this crate's
//! layers, which `tracing` does not know, or a `tracing` span.

use std::{borrow::Cow, error::Error, fmt::Debug};

use opentelemetry::{
    Context, KeyValue,
    trace::{Status, TraceContextExt},
};
use opentelemetry_semantic_conventions::attribute::EXCEPTION_MESSAGE;
use spoor_runtime::with_causes;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer, registry::LookupSpan};

pub(super) struct Events;

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for Events {
    fn on_event(&self, event: &Event<'_>, context: layer::Context<'_, S>) {
        Context::map_current(|current| {
            let span = current.span();
            if !span.is_recording() {
                return;
            }
            let mut fields = Fields::default();
            event.record(&mut fields);
            let level = event.metadata().level();
            // The status of a server span is that of its response. Other spans get theirs here.
            if *level == Level::ERROR && context.event_span(event).is_some() {
                span.set_status(Status::error(fields.description().to_owned()));
            }
            fields
                .attributes
                .push(KeyValue::new("level", level.as_str()));
            span.add_event(fields.name(), fields.attributes);
        });
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    exception: Option<String>,
    attributes: Vec<KeyValue>,
}

impl Fields {
    fn description(&self) -> &str {
        self.exception.as_deref().unwrap_or(&self.message)
    }

    /// `exception` if there is an error, as the semantic conventions require.
    fn name(&self) -> Cow<'static, str> {
        match self.exception {
            Some(_) => "exception".into(),
            None => self.message.clone().into(),
        }
    }

    fn exception(&mut self, message: String) {
        self.attributes
            .push(KeyValue::new(EXCEPTION_MESSAGE, message.clone()));
        self.exception = Some(message);
    }

    fn text(&mut self, field: &Field, text: String) {
        match field.name() {
            "message" => {
                self.attributes.push(KeyValue::new("message", text.clone()));
                self.message = text;
            }
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
        self.exception(with_causes(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field, format!("{value:?}"));
    }
}
