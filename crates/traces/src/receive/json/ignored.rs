//! Fields that were ignored, although the sender surely meant them.

use std::collections::BTreeSet;

use crate::otlp_json::Message;

/// Ignored fields that the response mentions. OTLP requires that unknown fields are ignored,
/// but a sender whose every span is lost by that would never know.
#[derive(Debug, Default)]
pub(crate) struct Ignored {
    /// Fields that came under their names in snake_case.
    snake_case: BTreeSet<&'static str>,
    /// The name of scopes until OTLP 0.15.
    has_old_scopes: bool,
    has_unknown: bool,
    has_known: bool,
}

const OLD_SCOPES: [&str; 2] = [
    "instrumentationLibrarySpans",
    "instrumentation_library_spans",
];

impl Ignored {
    /// Notes that some field is known, which the body's `resourceSpans` is before all others.
    pub(super) fn note_known(&mut self) {
        self.has_known = true;
    }

    /// Notes a name that the message does not have.
    pub(super) fn note_unknown(&mut self, message: &Message, name: &str) {
        self.has_unknown = true;
        self.has_old_scopes |= OLD_SCOPES.contains(&name);
        // The schema's name and not the sender's: no sender can make the set grow.
        if let Some(field) = message.field_by_proto_name(name) {
            self.snake_case.insert(field.name);
        }
    }

    /// The messages for the response.
    pub(crate) fn messages(&self) -> Vec<String> {
        let mut messages = Vec::new();
        if !self.snake_case.is_empty() {
            let names: Vec<&str> = self.snake_case.iter().copied().collect();
            messages.push(format!(
                "fields named in snake_case were ignored: OTLP/JSON has lowerCamelCase only: {}",
                names.join(", ")
            ));
        }
        if self.has_old_scopes {
            let message = "instrumentationLibrarySpans were ignored: scopeSpans have taken their \
                           place; update the exporter";
            messages.push(message.to_owned());
        }
        if self.has_unknown && !self.has_known && messages.is_empty() {
            messages.push("nothing was stored: the body has no resourceSpans".to_owned());
        }
        messages
    }
}
