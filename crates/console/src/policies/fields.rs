//! The form of a policy, generated from the schema: a control for each field, with the schema's
//! descriptions and limits.

use std::collections::HashMap;

use maud::{Markup, html};
use serde_json::{Map, Value};
use spoor_api::{API_VERSION, SamplingPolicy, schema};
use spoor_policy::message::is_invisible;

/// The fields that the form has, in this order. The others are set by a server, or need no form.
const FIELDS: [(&str, &[&str]); 2] = [
    ("metadata", &["name", "namespace"]),
    (
        "spec",
        &["targets", "head", "tail", "priority", "expiresAt"],
    ),
];
/// The parts of the metadata that the form keeps without a control, with their paths.
const KEPT: [(&str, &str); 2] = [
    ("labels", "metadata.labels"),
    ("annotations", "metadata.annotations"),
];
/// The most items of a list whose schema has no limit.
const MAX_ITEMS: u64 = 64;

/// The values of a form, by the path of the field: `spec.targets.0.service`.
type Values<'a> = HashMap<&'a str, &'a str>;

/// The kinds of a field.
enum Kind<'a> {
    /// An object without fields: it is there or not.
    Flag,
    Object(&'a Map<String, Value>),
    /// A list of texts, one in each line.
    Lines,
    /// A list of objects.
    List(&'a Value),
    Number,
    Text,
}

/// A field, where it is in the policy.
struct Field<'a> {
    name: &'a str,
    path: String,
    schema: &'a Value,
    is_required: bool,
}

/// The controls with the values of a policy.
pub(super) fn controls(policy: &Value) -> Markup {
    html! {
        @for (name, path) in KEPT {
            @if let Some(kept) = policy.get("metadata").and_then(|it| it.get(name)) {
                input type="hidden" name=(path) value=(kept);
            }
        }
        @for (part, names) in FIELDS {
            @let schema = part_schema(part);
            @for name in names.iter().copied() {
                (Field::new(name, part, schema).control(policy.get(part).and_then(|it| it.get(name))))
            }
        }
    }
}

/// Returns whether a form can have all values of a policy. It cannot show invisible characters, and
/// would change line feeds.
pub(super) fn can_show(policy: &Value) -> bool {
    let json = policy.to_string();
    let mut escapes = ["\\n", "\\r", "\\t", "\\u"].iter();
    !escapes.any(|it| json.contains(it)) && !json.contains(is_invisible)
}

/// The policy from the values of a form. It need not be valid.
pub(super) fn policy(pairs: &[(String, String)]) -> Value {
    let pairs = pairs.iter();
    let values: Values<'_> = pairs
        .map(|(path, value)| (path.as_str(), value.as_str()))
        .collect();
    let mut policy = Map::new();
    policy.insert("apiVersion".to_owned(), API_VERSION.into());
    policy.insert("kind".to_owned(), SamplingPolicy::KIND.into());
    for (part, names) in FIELDS {
        let schema = part_schema(part);
        let mut fields = Map::new();
        for name in names {
            let value = Field::new(name, part, schema).read(&values);
            fields.extend(value.map(|value| ((*name).to_owned(), value)));
        }
        for (name, path) in KEPT.into_iter().filter(|_| part == "metadata") {
            let value = values.get(path).map(|json| serde_json::from_str(json));
            fields.extend(
                value
                    .and_then(Result::ok)
                    .map(|it: Value| (name.to_owned(), it)),
            );
        }
        policy.insert(part.to_owned(), fields.into());
    }
    policy.into()
}

fn part_schema(part: &str) -> &'static Value {
    schema::SAMPLING_POLICY
        .get("properties")
        .and_then(|properties| properties.get(part))
        .unwrap_or(&Value::Null)
}

impl<'a> Field<'a> {
    /// A field of an object at this path.
    fn new(name: &'a str, parent: &str, object: &'a Value) -> Self {
        let properties = object.get("properties");
        let required = object.get("required").and_then(Value::as_array);
        let mut required = required.into_iter().flatten();
        Self {
            name,
            path: format!("{parent}.{name}"),
            schema: properties
                .and_then(|properties| properties.get(name))
                .unwrap_or(&Value::Null),
            is_required: required.any(|it| it == name),
        }
    }

    fn kind(&self) -> Kind<'a> {
        kind(self.schema)
    }

    fn control(&self, value: Option<&Value>) -> Markup {
        match self.kind() {
            Kind::Flag => self.flag(value),
            Kind::Object(properties) => {
                self.fieldset(&object(self.schema, properties, &self.path, value))
            }
            Kind::List(item) => self.list(item, value),
            Kind::Lines => self.lines(value),
            Kind::Number => self.number(value),
            Kind::Text => self.text(value),
        }
    }

    /// The value in a form; `None` if it is empty.
    fn read(&self, values: &Values<'_>) -> Option<Value> {
        let typed = values.get(self.path.as_str()).map(|it| it.trim());
        let typed = typed.filter(|it| !it.is_empty());
        match self.kind() {
            Kind::Flag => typed.map(|_| Map::new().into()),
            Kind::Object(properties) => read_object(self.schema, properties, &self.path, values),
            Kind::List(item) => {
                let Kind::Object(properties) = kind(item) else {
                    return None;
                };
                let paths = (0..self.max_items()).map(|index| format!("{}.{index}", self.path));
                let items = paths.filter_map(|path| read_object(item, properties, &path, values));
                let items: Vec<Value> = items.collect();
                (!items.is_empty()).then(|| items.into())
            }
            Kind::Lines => {
                let lines = typed?.lines().map(str::trim_end);
                let lines = lines.filter(|line| !line.is_empty());
                Some(lines.map(Value::from).collect())
            }
            // Other text is kept, so that the validation reports it.
            Kind::Number => {
                typed.map(|it| it.parse::<i64>().map_or_else(|_| it.into(), Value::from))
            }
            Kind::Text => typed.map(Value::from),
        }
    }

    fn fieldset(&self, content: &Markup) -> Markup {
        html! {
            fieldset {
                legend { (label(self.name)) }
                p .hint { (self.description()) }
                (content)
            }
        }
    }

    /// The items of a list, and an empty one to add another.
    fn list(&self, item: &Value, value: Option<&Value>) -> Markup {
        let Kind::Object(properties) = kind(item) else {
            return html! {};
        };
        let items = value
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        let shown = items.iter().map(Some).chain([None]);
        let max = usize::try_from(self.max_items()).unwrap_or(usize::MAX);
        self.fieldset(&html! {
            @for (index, value) in shown.take(max).enumerate() {
                fieldset {
                    legend { @if value.is_some() { (index + 1) } @else { "Another one" } }
                    (object(item, properties, &format!("{}.{index}", self.path), value))
                }
            }
        })
    }

    fn lines(&self, value: Option<&Value>) -> Markup {
        let lines = value.and_then(Value::as_array).into_iter().flatten();
        let lines: Vec<&str> = lines.filter_map(Value::as_str).collect();
        self.labelled(&html! {
            textarea .lines id=(self.path) name=(self.path) rows="2"
                aria-describedby=(self.hint_id()) spellcheck="false" {
                // The first line feed of an element is ignored.
                "\n" (lines.join("\n"))
            }
        })
    }

    fn number(&self, value: Option<&Value>) -> Markup {
        let value = value.and_then(Value::as_i64);
        self.labelled(&html! {
            input type="number" step="1" id=(self.path) name=(self.path) value=[value]
                min=[self.limit("minimum")] max=[self.limit("maximum")]
                aria-describedby=(self.hint_id());
        })
    }

    fn text(&self, value: Option<&Value>) -> Markup {
        let value = value.and_then(Value::as_str);
        let examples = self.schema.get("examples").and_then(Value::as_array);
        let example = examples.and_then(|it| it.first()).and_then(Value::as_str);
        // Only the fields of the policy itself: a form also has those of empty items.
        let is_required = self.is_required && self.path == "metadata.name";
        self.labelled(&html! {
            input id=(self.path) name=(self.path) value=[value] placeholder=[example]
                maxlength=[self.limit("maxLength")] required[is_required]
                aria-describedby=(self.hint_id()) autocomplete="off" spellcheck="false";
        })
    }

    fn flag(&self, value: Option<&Value>) -> Markup {
        html! {
            div .field {
                label .row {
                    input type="checkbox" name=(self.path) value="set" checked[value.is_some()]
                        aria-describedby=(self.hint_id());
                    (label(self.name))
                }
                p .hint id=(self.hint_id()) { (self.description()) }
            }
        }
    }

    fn labelled(&self, control: &Markup) -> Markup {
        html! {
            div .field {
                label for=(self.path) { (label(self.name)) }
                (control)
                p .hint id=(self.hint_id()) {
                    (self.description())
                    @if let Kind::Lines = self.kind() { " One in each line." }
                }
            }
        }
    }

    fn hint_id(&self) -> String {
        format!("{}-hint", self.path)
    }

    /// The schema's description, without the marks of code.
    fn description(&self) -> String {
        let description = self.schema.get("description").and_then(Value::as_str);
        description.unwrap_or_default().replace('`', "")
    }

    /// A limit of the schema, such as `maximum`.
    fn limit(&self, name: &str) -> Option<i64> {
        let limit = self.schema.get(name)?;
        // schemars may write a whole number as a fraction.
        limit
            .as_i64()
            .or_else(|| limit.as_f64().map(|it| it as i64))
    }

    fn max_items(&self) -> u64 {
        let limit = self.schema.get("maxItems").and_then(Value::as_u64);
        limit.unwrap_or(MAX_ITEMS)
    }
}

fn kind(schema: &Value) -> Kind<'_> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let item = schema.get("items");
    match (schema.get("type").and_then(Value::as_str), properties, item) {
        (Some("object"), Some(properties), _) if !properties.is_empty() => Kind::Object(properties),
        (Some("object"), ..) => Kind::Flag,
        (Some("array"), _, Some(item)) if item.get("properties").is_some() => Kind::List(item),
        (Some("array"), ..) => Kind::Lines,
        (Some("integer"), ..) => Kind::Number,
        _ => Kind::Text,
    }
}

/// The fields of an object, those that it must have first.
fn fields_of<'a>(
    schema: &'a Value,
    properties: &'a Map<String, Value>,
    path: &str,
) -> Vec<Field<'a>> {
    let fields = properties.keys();
    let mut fields: Vec<Field<'a>> = fields.map(|name| Field::new(name, path, schema)).collect();
    fields.sort_by_key(|field| !field.is_required);
    fields
}

fn object(
    schema: &Value,
    properties: &Map<String, Value>,
    path: &str,
    value: Option<&Value>,
) -> Markup {
    html! {
        @for field in fields_of(schema, properties, path) {
            (field.control(value.and_then(|value| value.get(field.name))))
        }
    }
}

fn read_object(
    schema: &Value,
    properties: &Map<String, Value>,
    path: &str,
    values: &Values<'_>,
) -> Option<Value> {
    let mut read = Map::new();
    for field in fields_of(schema, properties, path) {
        let value = field.read(values);
        read.extend(value.map(|value| (field.name.to_owned(), value)));
    }
    (!read.is_empty()).then(|| read.into())
}

/// The name of a field in words: `slowerThan` becomes `Slower than`.
fn label(name: &str) -> String {
    let mut label = String::new();
    for (index, c) in name.chars().enumerate() {
        match c {
            c if index == 0 => label.push(c.to_ascii_uppercase()),
            c if c.is_ascii_uppercase() => {
                label.push(' ');
                label.push(c.to_ascii_lowercase());
            }
            c => label.push(c),
        }
    }
    label
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let pairs = pairs.iter();
        pairs
            .map(|(path, value)| ((*path).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn form_becomes_a_policy() {
        let read = policy(&pairs(&[
            ("token", "x"),
            ("metadata.name", "a"),
            ("metadata.namespace", ""),
            ("metadata.labels", "{\"team\":\"shop\"}"),
            ("spec.targets.0.service", "shop"),
            ("spec.targets.0.operations", "GET /\r\nGET /cart\r\n"),
            ("spec.targets.1.service", ""),
            ("spec.head.rateLimit.tracesPerSecond", "10"),
            ("spec.tail.otherwise", "10%"),
            ("spec.tail.keep.0.name", "errors"),
            ("spec.tail.keep.0.error", "set"),
            ("spec.tail.keep.1.slowerThan", ""),
            ("spec.priority", "many"),
        ]));
        let expected = json!({
            "apiVersion": "spoor.dev/v1alpha1",
            "kind": "SamplingPolicy",
            "metadata": {"name": "a", "labels": {"team": "shop"}},
            "spec": {
                "targets": [{"service": "shop", "operations": ["GET /", "GET /cart"]}],
                "head": {"rateLimit": {"tracesPerSecond": 10}},
                "tail": {"otherwise": "10%", "keep": [{"name": "errors", "error": {}}]},
                "priority": "many",
            },
        });
        assert_eq!(read, expected);
    }

    #[test]
    fn controls_have_values_and_limits_of_the_schema() {
        let policy = json!({
            "metadata": {"name": "<a>"},
            "spec": {
                "targets": [{"service": "shop", "operations": ["GET /", "GET /cart"]}],
                "head": {"rateLimit": {"tracesPerSecond": 10}},
                "tail": {"otherwise": "10%", "keep": [{"name": "errors", "error": {}}]},
            },
        });
        let form = controls(&policy).into_string();
        for expected in [
            "name=\"metadata.name\" value=\"&lt;a&gt;\"",
            "name=\"spec.targets.0.service\" value=\"shop\"",
            "name=\"spec.targets.1.service\" placeholder=\"service-a\" maxlength=\"253\"",
            "GET /\nGET /cart</textarea>",
            "value=\"10\" min=\"1\" max=\"1000000\"",
            "name=\"spec.tail.keep.0.error\" value=\"set\" checked",
            "Traces per second",
            "Keep traces that take longer than this in total",
        ] {
            assert!(form.contains(expected), "{expected} in {form}");
        }
    }

    #[rstest::rstest]
    #[case("shop", true)]
    #[case("sh\u{202e}op", false)]
    #[case("a\nb", false)]
    fn form_shows_only_visible_values(#[case] value: &str, #[case] expected: bool) {
        assert_eq!(can_show(&json!({"value": value})), expected);
    }
}
