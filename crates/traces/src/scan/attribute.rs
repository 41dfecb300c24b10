//! Attributes: reading them, matching them, and adding them to a span's signature.

use std::ptr;

use spoor_policy::AttributeValue;

use super::wire::{BYTES, FIXED32, FIXED64, Reader, VARINT, WireError, key};
use crate::{
    otlp_json::{self, KEY_VALUE, Kind, Message},
    span::Signature,
};

/// An attribute's value, in the form that is compared with a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<T> {
    Missing,
    Text(T),
    Bool(bool),
    Int(i64),
    Double(f64),
    /// An array, a list of pairs, bytes, or a string's index.
    Other,
}

impl<'a> Value<&'a [u8]> {
    /// The value that a rule may look for.
    pub(crate) fn comparable(self) -> Option<AttributeValue<'a>> {
        match self {
            Self::Missing | Self::Other => None,
            Self::Text(text) => Some(AttributeValue::Text(text)),
            Self::Bool(flag) => Some(AttributeValue::Bool(flag)),
            Self::Int(number) => Some(AttributeValue::Int(number)),
            Self::Double(number) => Some(AttributeValue::Double(number)),
        }
    }
}

/// The form in which texts are read. Each text is validated as UTF-8.
pub(super) trait Texts<'a> {
    type Text;

    /// The text of an absent field.
    fn empty() -> Self::Text;

    fn read(reader: &mut Reader<'a>) -> Result<Self::Text, WireError>;
}

/// The form in which the attributes are read that a span's signature may have.
pub(super) trait Signed<'a>: Texts<'a> {
    /// The signature of an attribute.
    fn signature(name: Self::Text, value: Value<Self::Text>) -> Signature;
}

/// Texts as bytes.
pub(super) struct Plain;

impl<'a> Texts<'a> for Plain {
    type Text = &'a [u8];

    fn empty() -> &'a [u8] {
        &[]
    }

    #[inline(always)]
    fn read(reader: &mut Reader<'a>) -> Result<&'a [u8], WireError> {
        reader.text()
    }
}

/// Texts as hashes.
pub(super) struct Hashed;

impl<'a> Texts<'a> for Hashed {
    type Text = u64;

    fn empty() -> u64 {
        hash(&[]).0
    }

    #[inline(always)]
    fn read(reader: &mut Reader<'a>) -> Result<u64, WireError> {
        let bytes = reader.bytes()?;
        let (hash, is_ascii) = hash(bytes);
        if is_ascii || std::str::from_utf8(bytes).is_ok() {
            Ok(hash)
        } else {
            Err(WireError::Text)
        }
    }
}

impl Signed<'_> for Hashed {
    #[inline(always)]
    fn signature(name: u64, value: Value<u64>) -> Signature {
        signature_of(name, value)
    }
}

/// Texts that are only validated, for signatures without attributes.
pub(super) struct Checked;

impl<'a> Texts<'a> for Checked {
    type Text = ();

    fn empty() {}

    #[inline(always)]
    fn read(reader: &mut Reader<'a>) -> Result<(), WireError> {
        // Without its use, the compiler leaves out the hash.
        Hashed::read(reader).map(drop)
    }
}

impl Signed<'_> for Checked {
    #[inline(always)]
    fn signature((): (), _: Value<()>) -> Signature {
        Signature::default()
    }
}

/// Reads a `KeyValue`.
#[inline]
pub(super) fn key_value<'a, T: Texts<'a>>(
    mut reader: Reader<'a>,
) -> Result<(T::Text, Value<T::Text>), WireError> {
    const KEY: u32 = key(1, BYTES);
    const VALUE: u32 = key(2, BYTES);
    const KEY_INDEX: u32 = key(3, VARINT);
    let (mut name, mut value) = (None, Value::Missing);
    while let Some(key) = reader.key()? {
        match key {
            KEY => name = Some(T::read(&mut reader)?),
            VALUE => match any_value::<T>(reader.message()?)? {
                // Decoders merge repeated messages, so an empty one changes nothing.
                Value::Missing => {}
                found => value = found,
            },
            KEY_INDEX => drop(reader.varint()?),
            other => reader.skip_unknown(other, 3)?,
        }
    }
    Ok((name.unwrap_or_else(T::empty), value))
}

#[inline]
fn any_value<'a, T: Texts<'a>>(mut reader: Reader<'a>) -> Result<Value<T::Text>, WireError> {
    const STRING: u32 = key(1, BYTES);
    const BOOL: u32 = key(2, VARINT);
    const INT: u32 = key(3, VARINT);
    const DOUBLE: u32 = key(4, FIXED64);
    const ARRAY: u32 = key(5, BYTES);
    const PAIRS: u32 = key(6, BYTES);
    const RAW: u32 = key(7, BYTES);
    const INDEX: u32 = key(8, VARINT);
    let mut value = Value::Missing;
    while let Some(key) = reader.key()? {
        value = match key {
            STRING => Value::Text(T::read(&mut reader)?),
            BOOL => Value::Bool(reader.varint()? != 0),
            INT => Value::Int(reader.varint()?.cast_signed()),
            DOUBLE => Value::Double(f64::from_bits(reader.fixed64()?)),
            // Validated only, since a list is never compared with a text.
            ARRAY => check(&otlp_json::ARRAY, reader.message()?).map(|()| Value::Other)?,
            PAIRS => check(&otlp_json::PAIRS, reader.message()?).map(|()| Value::Other)?,
            RAW => reader.bytes().map(|_| Value::Other)?,
            INDEX => reader.varint().map(|_| Value::Other)?,
            other => {
                reader.skip_unknown(other, 8)?;
                continue;
            }
        };
    }
    Ok(value)
}

/// Validates a message, whose content is not used, against its schema.
#[cold]
pub(super) fn check(message: &'static Message, mut reader: Reader<'_>) -> Result<(), WireError> {
    while let Some(key) = reader.key()? {
        let kind = message.field_by_number(key >> 3).map(|field| &field.kind);
        let checked = match (kind, key & 7) {
            (None, _) => reader.skip_unknown(key, 0),
            (Some(Kind::Text), BYTES) => reader.text().map(drop),
            (Some(Kind::Id | Kind::Bytes), BYTES) => reader.bytes().map(drop),
            // `KeyValue` has a field that the schema of OTLP/JSON leaves out.
            (Some(Kind::Message(nested)), BYTES) if ptr::eq(*nested, &KEY_VALUE) => {
                key_value::<Plain>(reader.message()?).map(drop)
            }
            (Some(Kind::Message(nested)), BYTES) => check(nested, reader.message()?),
            (Some(Kind::Bool | Kind::Int64 | Kind::Uint32 | Kind::Enum(_)), VARINT) => {
                reader.varint().map(drop)
            }
            (Some(Kind::Fixed32), FIXED32) => reader.fixed32().map(drop),
            (Some(Kind::Fixed64 | Kind::Double), FIXED64) => reader.fixed64().map(drop),
            (Some(_), _) => Err(WireError::WireType),
        };
        checked?;
    }
    Ok(())
}

/// The signature of an attribute, given the hashes of its texts; empty if the value cannot be
/// compared.
#[inline]
fn signature_of(name: u64, value: Value<u64>) -> Signature {
    let value = match value {
        Value::Missing | Value::Other => return Signature::default(),
        Value::Text(hash) => hash ^ TEXT,
        Value::Int(number) => number.cast_unsigned() ^ INT,
        Value::Double(number) => number.to_bits() ^ DOUBLE,
        Value::Bool(flag) => u64::from(flag) ^ BOOL,
    };
    Signature::of_hash(fold(name, value))
}

// Digits of π: arbitrary bits without structure.
const TEXT: u64 = 0x243f_6a88_85a3_08d3;
const INT: u64 = 0x1319_8a2e_0370_7344;
const DOUBLE: u64 = 0xa409_3822_299f_31d0;
const BOOL: u64 = 0x082e_fa98_ec4e_6c89;

#[inline(always)]
fn fold(one: u64, other: u64) -> u64 {
    // As in wyhash: every bit of the result depends on every bit of both factors.
    let product = u128::from(one) * u128::from(other);
    product as u64 ^ (product >> 64) as u64
}

/// A hash that is fast to compute for a few bytes, and a flag that is true if they are all ASCII.
/// It need not be stable, since signatures are never saved or sent, and a collision only costs a
/// comparison with the span.
#[inline(always)]
fn hash(bytes: &[u8]) -> (u64, bool) {
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    let mut hash = TEXT ^ bytes.len() as u64;
    let mut all = 0;
    let mut rest = bytes;
    while let Some((chunk, more)) = rest.split_first_chunk::<16>() {
        let chunk = u128::from_le_bytes(*chunk);
        let (low, high) = (chunk as u64, (chunk >> 64) as u64);
        all |= low | high;
        hash = fold(low ^ hash, high ^ INT);
        rest = more;
    }
    // A remainder of 8 to 15 bytes is read as two overlapping words, which needs no loop.
    let (first, last) = if let (Some(first), Some(last)) = (rest.first_chunk(), rest.last_chunk()) {
        (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
    } else if let (Some(first), Some(last)) = (rest.first_chunk(), rest.last_chunk()) {
        (
            u64::from(u32::from_le_bytes(*first)),
            u64::from(u32::from_le_bytes(*last)),
        )
    } else {
        (
            rest.iter().fold(0, |few, byte| few << 8 | u64::from(*byte)),
            0,
        )
    };
    (
        fold(first ^ hash, last ^ DOUBLE),
        (all | first | last) & HIGH_BITS == 0,
    )
}

/// Matches an attribute by key and by its value as text: `200` matches the text and the number.
#[derive(Clone, Debug)]
pub(crate) struct AttributeMatcher {
    key: String,
    text: String,
    /// The text as values of the other types, parsed once: a text of hundreds of digits takes
    /// microseconds, and a search compares millions of attributes.
    int: Option<i64>,
    double: Option<f64>,
    boolean: Option<bool>,
}

impl AttributeMatcher {
    pub(crate) fn new(key: &str, text: &str) -> Self {
        Self {
            key: key.to_owned(),
            text: text.to_owned(),
            int: text.parse().ok(),
            double: text.parse().ok(),
            boolean: text.parse().ok(),
        }
    }

    /// The possible signatures of a matching attribute. The signature of a span with such an
    /// attribute contains at least one of them.
    pub(crate) fn signatures(&self) -> Vec<Signature> {
        let (name, _) = hash(self.key.as_bytes());
        let (text, _) = hash(self.text.as_bytes());
        // The type of the attribute is unknown, and each type has different bits.
        let values = [
            Some(Value::Text(text)),
            self.int.map(Value::Int),
            self.double.map(Value::Double),
            self.boolean.map(Value::Bool),
        ];
        let values = values.into_iter().flatten();
        values.map(|value| signature_of(name, value)).collect()
    }

    /// Returns whether it matches attributes with this key.
    pub(crate) fn has_key(&self, name: &str) -> bool {
        self.key == name
    }

    pub(crate) fn matches(&self, name: &[u8], value: Value<&[u8]>) -> bool {
        name == self.key.as_bytes()
            && match value {
                Value::Missing | Value::Other => false,
                Value::Text(text) => text == self.text.as_bytes(),
                Value::Int(number) => self.int == Some(number),
                // By bits, as in the signature.
                Value::Double(number) => self.double.map(f64::to_bits) == Some(number.to_bits()),
                Value::Bool(flag) => self.boolean == Some(flag),
            }
    }
}
