//! Validation rules in CEL.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::{duration::DAY, format_duration, formats, formats::Format};

/// A validation rule for a part of a schema.
pub(super) struct Rule {
    /// The path of the part, such as `spec.targets[].service`. `{}` means the values of a mapping.
    pub(super) at: String,
    /// The condition, in CEL.
    holds: String,
    /// The message if the condition does not hold.
    problem: String,
    /// The message as a CEL expression that includes the value found.
    expression: Option<String>,
    /// The field that the error names, relative to the path. If unset, the path itself.
    field: Option<&'static str>,
    /// The longest text allowed at the path.
    max_length: Option<usize>,
}

impl Rule {
    pub(super) fn new(at: &str, holds: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            at: at.to_owned(),
            holds: holds.into(),
            problem: problem.into(),
            expression: None,
            field: None,
            max_length: None,
        }
    }

    /// Makes the error name a field below the path.
    pub(super) fn of_field(mut self, field: &'static str) -> Self {
        self.field = Some(field);
        self
    }

    /// Rules for an object that must have exactly one of these fields, with the problems if it has
    /// none and if it has several.
    pub(super) fn one_of(at: &str, fields: &[&str], [none, several]: [&str; 2]) -> [Self; 2] {
        let present: Vec<String> = fields.iter().map(|it| format!("has(self.{it})")).collect();
        // CEL cannot add booleans, so the true ones are counted.
        let count = format!("[{}].filter(is, is).size()", present.join(", "));
        [
            Self::new(at, format!("{count} > 0"), none),
            Self::new(at, format!("{count} < 2"), several),
        ]
    }

    /// A rule that a text must have this format.
    pub(super) fn text(at: &str, format: &Format) -> Self {
        Self {
            max_length: Some(format.max),
            ..Self::new(at, fits("self", format), format.problem)
        }
    }

    /// A rule for a mapping whose keys have a format.
    pub(super) fn keys(at: &str, format: &Format) -> Self {
        let holds = format!("(size(key) <= {} && {})", format.max, fits("key", format));
        let problem = format.problem;
        Self {
            expression: Some(format!(
                r#"'''{problem}, not "''' + self.filter(key, !{holds})[0] + '"'"#
            )),
            ..Self::new(at, format!("self.all(key, {holds})"), problem)
        }
    }

    /// Rules for a duration within limits.
    pub(super) fn duration(at: &str, (min, max): (Duration, Duration)) -> [Self; 2] {
        let (min, max) = (format_duration(min), format_duration(max));
        // Only for strings in this format: the first rule reports the others, and CEL's `duration`
        // fails on them.
        let holds = format!(
            "!{} || (duration(self) >= duration('{min}') && duration(self) <= duration('{max}'))",
            fits("self", &formats::DURATION)
        );
        let problem = format!("must be from {min} to {max}");
        [
            Self::text(at, &formats::DURATION),
            Self::new(at, holds, problem),
        ]
    }

    /// Rules for a duration or whole days, within limits.
    pub(super) fn retention(at: &str, (min, max): (Duration, Duration)) -> [Self; 2] {
        let days = |duration: Duration| duration.as_secs().div_ceil(DAY.as_secs());
        // Rounded so that whole days are within the limits.
        let (min_days, max_days) = (days(min), max.as_secs() / DAY.as_secs());
        let (min, max) = (format_duration(min), format_duration(max));
        let in_days = "int(self.substring(0, size(self) - 1))";
        let holds = format!(
            "!{} || (self.endsWith('d') ? ({in_days} >= {min_days} && {in_days} <= {max_days}) : \
             (duration(self) >= duration('{min}') && duration(self) <= duration('{max}')))",
            fits("self", &formats::RETENTION)
        );
        let problem = format!("must be from {min} to {max_days}d");
        [
            Self::text(at, &formats::RETENTION),
            Self::new(at, holds, problem),
        ]
    }

    /// Rules for a time.
    pub(super) fn time(at: &str) -> [Self; 2] {
        let holds = format!(
            "!{} || !format.datetime().validate(self).hasValue()",
            fits("self", &formats::TIME)
        );
        let problem = format!("{}; that day does not exist", formats::TIME.problem);
        let text = Self::text(at, &formats::TIME);
        [text, Self::new(at, holds, problem)]
    }

    /// Rules for a text without control characters, of at most `max` bytes.
    pub(super) fn printable(at: &str, max: usize) -> [Self; 2] {
        [
            Self::bytes(at, max),
            Self::new(
                at,
                "!self.matches(r'\\p{Cc}')",
                "must not contain control characters",
            ),
        ]
    }

    /// A rule for a text of at most `max` bytes. A schema's `maxLength` counts characters.
    pub(super) fn bytes(at: &str, max: usize) -> Self {
        let problem = format!("must be at most {max} bytes");
        Self::new(at, format!("size(bytes(self)) <= {max}"), problem)
    }

    /// Adds the rule to a schema.
    pub(super) fn apply(&self, schema: &mut Value) {
        let Some(part) = part(schema, &self.at) else {
            return;
        };
        // The API server estimates a rule's cost from this, and refuses definitions that may cost
        // too much.
        if let Some(max) = self.max_length {
            part.insert("maxLength".to_owned(), max.into());
        }
        let mut rule = json!({"rule": self.holds, "message": self.problem});
        if let Some(field) = self.field {
            rule["fieldPath"] = format!(".{field}").into();
        }
        // `message` stays beside it for values on which the expression fails.
        if let Some(expression) = &self.expression {
            rule["messageExpression"] = expression.as_str().into();
        }
        let rules = part.entry("x-kubernetes-validations");
        if let Value::Array(rules) = rules.or_insert(json!([])) {
            rules.push(rule);
        }
    }
}

/// A CEL expression that is true if a text has a format.
pub(super) fn fits(text: &str, format: &Format) -> String {
    format!("{text}.matches(r'{}')", format.pattern)
}

/// The part of a schema at a path.
pub(super) fn part<'a>(schema: &'a mut Value, at: &str) -> Option<&'a mut Map<String, Value>> {
    let mut schema = schema;
    for step in at.split('.').filter(|step| !step.is_empty()) {
        let name = step.trim_end_matches("[]").trim_end_matches("{}");
        schema = schema.get_mut("properties")?.get_mut(name)?;
        if step.ends_with("[]") {
            schema = schema.get_mut("items")?;
        }
        if step.ends_with("{}") {
            schema = schema.get_mut("additionalProperties")?;
        }
    }
    schema.as_object_mut()
}
