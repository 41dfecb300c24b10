//! YAML, in the one place that knows which crate reads it.

use std::{cell::Cell, collections::BTreeSet, fmt};

use serde::{
    Serialize,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use serde_yaml::Deserializer;

use crate::field::{FieldPath, Segment, quoted, shortened};

/// What a document may hold at most: aliases repeat what they stand for, so that a short text
/// can mean a very long document.
const MAX_NODES: usize = 20_000;
const MAX_TEXT: usize = 4 << 20;

/// How many brackets may stand open, and how many there may be: for each token the parser goes
/// through all that are open.
const MAX_OPEN: usize = 100;
const MAX_BRACKETS: usize = 10_000;

/// The letters of the parser's messages, which hold fields' names, that are passed on.
const MAX_MESSAGE: usize = 300;

/// Writes a resource as YAML.
///
/// # Errors
/// When a value has no form in YAML, which no resource of this crate holds.
pub fn to_yaml<T: Serialize>(resource: &T) -> Result<String, impl std::error::Error + use<T>> {
    serde_yaml::to_string(resource)
}

/// What is wrong with a text as YAML.
#[derive(Debug)]
pub(crate) struct Malformed {
    /// Counted from 1, if it is known.
    pub(crate) line: Option<usize>,
    pub(crate) problem: String,
}

/// Reads one document. An empty one is null.
pub(crate) fn parse(text: &str) -> Result<Value, Malformed> {
    check_brackets(text)?;
    let budget = Budget {
        nodes: Cell::new(MAX_NODES),
        text: Cell::new(MAX_TEXT),
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
                false => shortened(&without_location(&error), MAX_MESSAGE).into_owned(),
            };
            Malformed {
                line: error.location().map(|location| location.line()),
                problem,
            }
        })
}

/// Counts brackets wherever they stand, also in quotation marks: those are closed again.
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
        if open > MAX_OPEN || all > MAX_BRACKETS {
            let problem = format!(
                "must have at most {MAX_BRACKETS} opening brackets in a document and {MAX_OPEN} that are not closed again"
            );
            return Err(Malformed {
                line: Some(number + 1),
                problem,
            });
        }
    }
    Ok(())
}

/// The line of a field, counted from 1: that of its key, or of the deepest part of the way to it
/// that is there.
///
/// The parser tells lines only with errors, so the document is read again up to the field, where
/// the reading fails on purpose.
pub(crate) fn line(text: &str, path: &FieldPath) -> usize {
    let mut segments = path.segments();
    loop {
        let found = Way(segments).deserialize(Deserializer::from_str(text));
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

/// The message without "at line 2 column 1": who reports it puts file and line in front.
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

/// Reads any value within a budget, and refuses what JSON has no form for.
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

    /// Too large for any field: what it should be is the field's to say.
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
            "must not have a tag: leave out the word that begins with \"!\"",
        ))
    }
}

/// Reads a key that must be text and new.
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
                "field {} stands twice: delete one",
                quoted(name)
            )));
        }
        Ok(name.to_owned())
    }
}

/// Goes along a path, ignores everything beside it and fails at its end.
#[derive(Clone, Copy)]
struct Way<'a>(&'a [Segment]);

const ARRIVED: &str = "arrived";

impl<'de> DeserializeSeed<'de> for Way<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Way<'_> {
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
        list.next_element_seed(Way(rest))?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Segment::Field(name), rest)) = self.0.split_first() else {
            return Err(de::Error::custom(ARRIVED));
        };
        while let Some(found) = map.next_key_seed(Wanted {
            name,
            is_last: rest.is_empty(),
        })? {
            if found {
                map.next_value_seed(Way(rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// Says whether a key is the wanted one, and fails there if the way ends with it.
struct Wanted<'a> {
    name: &'a str,
    is_last: bool,
}

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = bool;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Wanted<'_> {
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
