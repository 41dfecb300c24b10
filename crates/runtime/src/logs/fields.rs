//! The fields of an event, as text and as JSON.

use std::{
    error::Error,
    fmt::{Debug, Write},
};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};

use crate::with_causes;

const MESSAGE: &str = "message";

/// Writes fields as ` the message key=value key=value`. Line breaks are escaped, so that an event
/// is one line.
pub(super) struct TextFields<'a>(pub(super) &'a mut String);

impl TextFields<'_> {
    fn put(&mut self, field: &Field, text: &str) {
        let text = one_line(text);
        // Writing to a string cannot fail.
        let _ = match field.name() {
            MESSAGE => write!(self.0, " {text}"),
            name => write!(self.0, " {name}={text}"),
        };
    }
}

impl Visit for TextFields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE {
            self.put(field, value);
        } else {
            self.put(field, &format!("{value:?}"));
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put(field, &format!("{:?}", with_causes(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, &format!("{value:?}"));
    }
}

/// Adds fields to a JSON object.
pub(super) struct JsonFields<'a>(pub(super) &'a mut Map<String, Value>);

impl JsonFields<'_> {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for JsonFields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put(field, with_causes(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}"));
    }
}

/// Escapes line breaks.
fn one_line(text: &str) -> String {
    text.replace('\n', "\\n").replace('\r', "\\r")
}
