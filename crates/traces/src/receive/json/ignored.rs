//! Ignored fields that are probably mistakes of the sender.

use std::collections::BTreeSet;

use crate::otlp_json::Message;

/// Ignored fields that the response mentions. OTLP requires receivers to ignore unknown fields, but
/// then nothing would tell a sender that all its spans are lost.
#[derive(Debug, Default)]
pub(crate) struct Ignored {
    /// Fields whose names were in snake_case.
    snake_case: BTreeSet<&'static str>,
    /// Set if scopes had the name that OTLP used until 0.15.
    has_old_scopes: bool,
    has_unknown: bool,
    /// Set by any known field. Only `resourceSpans` can be the first one in a body.
    pub(super) has_known: bool,
}

const OLD_SCOPES: [&str; 2] = [
    "instrumentationLibrarySpans",
    "instrumentation_library_spans",
];

impl Ignored {
    /// Notes a name that the message does not have.
    pub(super) fn note_unknown(&mut self, message: &Message, name: &str) {
        self.has_unknown = true;
        self.has_old_scopes |= OLD_SCOPES.contains(&name);
        // The name in the schema and not the sender's, so that the set is bounded.
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
                "fields in snake_case were ignored; use their lowerCamelCase names: {}",
                names.join(", ")
            ));
        }
        if self.has_old_scopes {
            let message = "instrumentationLibrarySpans was ignored, since OTLP 0.15 replaced it \
                           with scopeSpans; update the exporter";
            messages.push(message.to_owned());
        }
        if self.has_unknown && !self.has_known && messages.is_empty() {
            messages.push("nothing was stored: the body has no resourceSpans".to_owned());
        }
        messages
    }
}
