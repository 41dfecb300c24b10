//! Reading and writing YAML. No other module depends on the YAML crates.

use std::{borrow::Cow, cell::Cell, fmt, rc::Rc};

use serde::{
    Deserialize, Serialize,
    de::{self, MapAccess, SeqAccess, Visitor, value::SeqAccessDeserializer},
};
use serde_json::{Map, Number, Value};
use serde_saphyr::{
    Error, ExternalMessageSource, Location, MessageFormatter, Spanned, Tagged,
    UserMessageFormatter,
    budget::BudgetReport,
    granit_parser::ErrorKind,
    options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy},
};

use crate::{FieldError, FieldPath, field::Segment};

/// The most values in a document with aliases expanded. A short text with nested aliases can expand
/// to a very large document.
const MAX_NODES: usize = 20_000;

/// The most text in a document with aliases expanded, in bytes.
const MAX_TEXT_BYTES: usize = 4 << 20;

/// The bytes of text that take as long to read as one value.
const BYTES_PER_VALUE: usize = 256;

/// The deepest nesting of lists and mappings. Reading is recursive and takes about 50 KiB of a
/// thread's 2 MiB for each level in a debug build (7 KiB in a release build). The deepest documents that
/// kubectl prints, lists with managed fields, have about 14 levels.
const MAX_DEPTH: usize = 24;

const TOO_LARGE: &str = "must be smaller: a document may have at most 20000 values, 24 levels and 4 MiB of text, after aliases are expanded";
const NO_MARKER: &str = "must have a `---` line before the next document";
const SYNTAX: &str = "write a field as `probability: 1%` and the entry of a list as `- service: a`";
const ALIAS: &str = "must not refer to an anchor that does not exist; quote text that begins with '*', such as `\"*a\"`";
const TAG: &str = "must not have a tag; remove the word that begins with \"!\"";

/// Writes a resource as YAML.
///
/// # Errors
/// An error for a value that YAML cannot express. No resource of this crate has one.
pub fn to_yaml<T: Serialize>(resource: &T) -> Result<String, impl std::error::Error + use<T>> {
    serde_yaml::to_string(resource)
}

/// An error in the syntax of YAML.
#[derive(Debug)]
pub(crate) struct Malformed {
    /// The line, counted from 1.
    pub(crate) line: usize,
    pub(crate) problem: String,
}

/// A value as written, with the lines of all fields and items in it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Node(Tagged<Spanned<Content>>);

#[derive(Clone, Debug, PartialEq)]
enum Content {
    Scalar(Value),
    // An infinity or NaN, which JSON cannot express. `to_json` reports it with its path.
    NotFinite,
    List(Vec<Node>),
    Mapping(Vec<(Spanned<String>, Node)>),
}

/// Parses one document. An empty one is null. Subtracts from `room` the number of values read before
/// the end or an error, with aliases expanded, and one more for each [`BYTES_PER_VALUE`] bytes of text.
pub(crate) fn parse(text: &str, room: &mut usize) -> Result<Node, Malformed> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MAX_NODES,
            max_total_scalar_bytes: MAX_TEXT_BYTES,
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            // Nested anchors record the same nodes several times.
            max_recorded_anchor_events: MAX_NODES,
            max_recorded_anchor_bytes: MAX_TEXT_BYTES,
            // Many aliases of one value are allowed: the limits above apply after their expansion.
            enforce_alias_anchor_ratio: false,
        },
        // With comments as events, 33 lines of comment before a list are an error.
        emit_comments: false,
        // `to_json` reports duplicates with the path of the field.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        // YAML 1.2 has no merge keys, so `<<` is an ordinary field, which is unknown.
        merge_keys: MergeKeyPolicy::AsOrdinary,
        // YAML 1.1 and 1.2 disagree on `012`, `1_000` and `yes`. They stay text, so that a field of
        // another type refuses them.
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        strict_booleans: true,
        ignore_binary_tag_for_string: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    };
    let read = Rc::new(Cell::new(0));
    let reported = read.clone();
    let options = options.with_budget_report(move |report: BudgetReport| {
        reported.set(report.nodes + report.total_scalar_bytes / BYTES_PER_VALUE);
    });
    let node = serde_saphyr::from_str_with_options(text, options);
    *room = room.saturating_sub(read.get());
    node.map_err(|error| Malformed {
        line: error.location().map_or(1, line_number),
        problem: problem(&error).into(),
    })
}

/// The problem without its line, which the caller adds.
fn problem(error: &Error) -> Cow<'_, str> {
    match error {
        Error::AliasError { error, .. } => problem(error),
        Error::Budget { .. } => TOO_LARGE.into(),
        Error::MultipleDocuments { .. } => NO_MARKER.into(),
        Error::NullIntoString { .. } | Error::Unexpected { .. } => {
            "must have a string as the name of each field".into()
        }
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "must not have an alias inside the value that it stands for".into()
        }
        Error::UnknownAnchor { .. } => ALIAS.into(),
        // The type of a scalar follows from its syntax, so only a tag can require another type.
        Error::InvalidBooleanStrict { .. }
        | Error::InvalidScalar { .. }
        | Error::TaggedScalarCannotDeserializeIntoString { .. }
        | Error::UnsupportedTag { .. } => TAG.into(),
        Error::ExternalMessage { source, msg, .. } => match source.as_ref() {
            ExternalMessageSource::Parser(error) => return syntax_problem(error.kind(), msg),
            _ => msg,
        }
        .into(),
        _ => UserMessageFormatter.format_message(error),
    }
}

/// The parser's message or a clearer one, with an example of correct syntax.
fn syntax_problem<'a>(kind: &ErrorKind, message: &'a str) -> Cow<'a, str> {
    let problem = match kind {
        ErrorKind::RecursionLimitExceeded => TOO_LARGE,
        ErrorKind::ExpectedDocumentStart => NO_MARKER,
        ErrorKind::UndeclaredTagHandle => TAG,
        ErrorKind::MissingAnchorOrAliasName => ALIAS,
        ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::ExpectedFlowSequenceSeparator => {
            "must have a comma between two values, such as `[a, b]`"
        }
        ErrorKind::UnknownQuotedScalarEscape => {
            "must not have an unknown escape; use single quotes, such as `'a\\b'`"
        }
        ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabInPlainScalar => {
            "must be indented with spaces, not with tabs, such as `  probability: 1%`"
        }
        ErrorKind::InvalidQuotedScalarIndent => {
            "must be indented like the quoted text before; if the closing quote is missing, add it, such as `name: 'a'`"
        }
        // The parser reports the end of the text for any other token in place of a value.
        ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofImplicitFlowMapping => {
            "must have a value between two commas, such as `[a, b]`"
        }
        ErrorKind::MappingValueNotAllowed => {
            "must not have a colon here; indent a field like the one before, and quote text with a colon, such as `\"a: b\"`"
        }
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::InvalidIndentation
        | ErrorKind::SimpleKeyExpected => {
            "must be a field with a value, indented like the field before, such as `probability: 1%`"
        }
        ErrorKind::UnexpectedCharacter { .. } => {
            return format!("{message}; delete it or quote the text, such as `\"a\"`").into();
        }
        ErrorKind::MismatchedFlowCollectionEnd { .. }
        | ErrorKind::UnclosedFlowCollection { .. } => {
            return format!("{message}; close each bracket, such as `{{operations: [a, b]}}`")
                .into();
        }
        _ => return format!("{message}; {SYNTAX}").into(),
    };
    problem.into()
}

impl Node {
    /// The value as JSON, or the first part of it that JSON cannot express.
    pub(crate) fn to_json(&self) -> Result<Value, FieldError> {
        let root = FieldPath::root();
        let Tagged(Spanned { value: content, .. }, tag) = &self.0;
        if tag.as_deref().is_some_and(|tag| !is_core_tag(tag)) {
            return Err(FieldError::new(root, TAG));
        }
        match content {
            Content::Scalar(value) => Ok(value.clone()),
            Content::NotFinite => Err(FieldError::new(root, "must be a finite number")),
            Content::List(items) => items
                .iter()
                .enumerate()
                .map(|(at, item)| item.to_json().map_err(|error| error.below(&root.index(at))))
                .collect(),
            Content::Mapping(entries) => {
                let mut fields = Map::new();
                for (Spanned { value: name, .. }, value) in entries {
                    let path = root.field(name);
                    let value = value.to_json().map_err(|error| error.below(&path))?;
                    if fields.insert(name.clone(), value).is_some() {
                        return Err(FieldError::new(path, "duplicate field; delete one"));
                    }
                }
                Ok(Value::Object(fields))
            }
        }
    }

    /// The line of a field's key, counted from 1, or of the deepest field on its path that exists.
    pub(crate) fn line(&self, path: &FieldPath) -> usize {
        let (mut node, mut location) = (self, self.0.0.defined);
        for segment in path.segments() {
            let next = match (&node.0.0.value, segment) {
                // The last one, since a duplicate is reported where it is repeated.
                (Content::Mapping(entries), Segment::Field(name)) => entries
                    .iter()
                    .rfind(|(key, _)| key.value == *name)
                    .map(|(key, value)| (value, key.defined)),
                (Content::List(items), Segment::Index(index)) => {
                    items.get(*index).map(|item| (item, item.0.0.defined))
                }
                _ => None,
            };
            let Some(next) = next else { break };
            (node, location) = next;
        }
        line_number(location)
    }
}

fn line_number(location: Location) -> usize {
    usize::try_from(location.line()).unwrap_or(usize::MAX)
}

/// True for the tags of JSON's types, which are redundant.
fn is_core_tag(tag: &str) -> bool {
    let name = tag.strip_prefix("tag:yaml.org,2002:");
    name.is_some_and(|name| ["bool", "float", "int", "map", "null", "seq", "str"].contains(&name))
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping, a list, a string, a number or a boolean")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Content, E> {
        let number = Number::from_f64(value).map(Value::Number);
        Ok(number.map_or(Content::NotFinite, Content::Scalar))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Content, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Content::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
        let mut entries = vec![];
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Content::Mapping(entries))
    }
}
