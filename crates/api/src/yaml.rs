//! Reading and writing YAML. Only this module depends on the crate that does it.

use std::{cell::Cell, collections::BTreeSet, fmt};

use serde::{
    Serialize,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use serde_yaml::Deserializer;

use crate::field::{FieldPath, Segment, quoted, shortened};

/// The most values in a document, with aliases expanded: a short text with nested aliases can stand
/// for a very large document.
const MAX_NODES: usize = 20_000;

/// The most text in a document with aliases expanded, in bytes.
const MAX_TEXT_BYTES: usize = 4 << 20;

/// The most brackets that may be open at a time. For each token, the parser goes through all of
/// them, so its time would grow with their number squared.
const MAX_OPEN_BRACKETS: usize = 100;

/// The most opening brackets in a document.
const MAX_BRACKETS: usize = 10_000;

/// The most characters of a parser's message that are shown. It may contain a field's name of any
/// length.
const MAX_MESSAGE_CHARS: usize = 300;

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
    /// The line counted from 1, if known.
    pub(crate) line: Option<usize>,
    pub(crate) problem: String,
}

/// Parses one document. An empty one is null.
pub(crate) fn parse(text: &str) -> Result<Value, Malformed> {
    check_brackets(text)?;
    let budget = Budget {
        nodes: Cell::new(MAX_NODES),
        text: Cell::new(MAX_TEXT_BYTES),
    };
    Tree(&budget)
        .deserialize(Deserializer::from_str(text))
        .map_err(|error| {
            let has_another =
                error.location().is_none() && Deserializer::from_str(text).nth(1).is_some();
            let problem = match has_another {
                true => "must have a line `---` before the next document".to_owned(),
                false if is_indented_by_tab(text, &error) => {
                    "must be indented with spaces, not with tabs".to_owned()
                }
                false => shortened(&without_location(&error), MAX_MESSAGE_CHARS).into_owned(),
            };
            Malformed {
                line: error.location().map(|location| location.line()),
                problem,
            }
        })
}

/// Counts brackets everywhere, including in quoted text: telling the two apart takes the parser that
/// this protects.
fn check_brackets(text: &str) -> Result<(), Malformed> {
    let (mut open, mut all) = (0usize, 0usize);
    for (number, line) in text.lines().enumerate() {
        for byte in line.bytes() {
            match byte {
                b'[' | b'{' => (open, all) = (open + 1, all + 1),
                b']' | b'}' => open = open.saturating_sub(1),
                _ => {}
            }
        }
        if open > MAX_OPEN_BRACKETS || all > MAX_BRACKETS {
            let problem = format!(
                "must have at most {MAX_BRACKETS} opening brackets in a document, and at most {MAX_OPEN_BRACKETS} open at a time"
            );
            return Err(Malformed {
                line: Some(number + 1),
                problem,
            });
        }
    }
    Ok(())
}

/// The line of a field's key, counted from 1, or of the deepest field on its path that exists.
///
/// The parser reports lines only with errors, so this parses the document again and fails on
/// purpose at the field.
pub(crate) fn line(text: &str, path: &FieldPath) -> usize {
    let mut segments = path.segments();
    loop {
        let found = PathSeeker(segments).deserialize(Deserializer::from_str(text));
        if let Some(location) = found.err().and_then(|error| error.location()) {
            return location.line();
        }
        match segments.split_last() {
            Some((_, shorter)) => segments = shorter,
            None => return 1,
        }
    }
}

fn is_indented_by_tab(text: &str, error: &serde_yaml::Error) -> bool {
    let line = error.location().map(|location| location.line());
    let line = line.and_then(|line| text.lines().nth(line.checked_sub(1)?));
    line.is_some_and(|line| line.trim_start_matches(' ').starts_with('\t'))
}

/// The message without "at line 2 column 1". The caller puts file and line in front.
fn without_location(error: &serde_yaml::Error) -> String {
    let message = error.to_string();
    let Some(location) = error.location() else {
        return message;
    };
    let place = format!(" at line {} column {}", location.line(), location.column());
    message.replace(&place, "")
}

struct Budget {
    nodes: Cell<usize>,
    text: Cell<usize>,
}

impl Budget {
    fn spend<E: de::Error>(&self, text: usize) -> Result<(), E> {
        let nodes = self.nodes.get().checked_sub(1);
        let text = self.text.get().checked_sub(text);
        let (Some(nodes), Some(text)) = (nodes, text) else {
            let problem = "must be smaller: a document may hold 20000 values and 4 MiB of text, with aliases written out";
            return Err(E::custom(problem));
        };
        self.nodes.set(nodes);
        self.text.set(text);
        Ok(())
    }
}

/// Reads any value within a budget, and rejects what JSON cannot express.
#[derive(Clone, Copy)]
struct Tree<'a>(&'a Budget);

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping, a list, text, a number or a boolean")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        self.0.spend(0).map(|()| Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        self.0.spend(0).map(|()| value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        self.0.spend(0).map(|()| value.into())
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Value, E> {
        self.visit_f64(value as f64)
    }

    /// Too large for any field. The field's own check reports what it should be.
    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Value, E> {
        self.visit_f64(value as f64)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        self.0.spend(0)?;
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("must be a finite number"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        self.0.spend(value.len()).map(|()| value.into())
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        self.0.spend(0).map(|()| Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        self.0.spend(0)?;
        let mut items = vec![];
        while let Some(item) = list.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        self.0.spend(0)?;
        let (mut fields, mut seen) = (Map::new(), BTreeSet::new());
        while let Some(name) = map.next_key_seed(Key {
            budget: self.0,
            seen: &mut seen,
        })? {
            fields.insert(name, map.next_value_seed(self)?);
        }
        Ok(Value::Object(fields))
    }

    fn visit_enum<A: de::EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(de::Error::custom(
            "must not have a tag; remove the word that begins with \"!\"",
        ))
    }
}

/// Reads a key, which must be text and not a duplicate.
struct Key<'a> {
    budget: &'a Budget,
    seen: &'a mut BTreeSet<String>,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<String, E> {
        self.budget.spend(name.len())?;
        if !self.seen.insert(name.to_owned()) {
            return Err(E::custom(format!(
                "duplicate field {}; delete one",
                quoted(name)
            )));
        }
        Ok(name.to_owned())
    }
}

/// Follows a path, ignores everything else and fails at the path's end.
#[derive(Clone, Copy)]
struct PathSeeker<'a>(&'a [Segment]);

const ARRIVED: &str = "arrived";

impl<'de> DeserializeSeed<'de> for PathSeeker<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for PathSeeker<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ARRIVED)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some((Segment::Index(index), rest)) = self.0.split_first() else {
            return Err(de::Error::custom(ARRIVED));
        };
        for _ in 0..*index {
            if list.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
        }
        list.next_element_seed(PathSeeker(rest))?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Segment::Field(name), rest)) = self.0.split_first() else {
            return Err(de::Error::custom(ARRIVED));
        };
        while let Some(found) = map.next_key_seed(KeySeeker {
            name,
            is_last: rest.is_empty(),
        })? {
            if found {
                map.next_value_seed(PathSeeker(rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// Compares a key with a name, and fails there if the path ends with it.
struct KeySeeker<'a> {
    name: &'a str,
    is_last: bool,
}

impl<'de> DeserializeSeed<'de> for KeySeeker<'_> {
    type Value = bool;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeeker<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<bool, E> {
        let found = name == self.name;
        if found && self.is_last {
            Err(E::custom(ARRIVED))
        } else {
            Ok(found)
        }
    }
}
