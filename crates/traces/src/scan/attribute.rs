//! Attributes: reading them, finding them, and the signature that says where one can't be.

use super::wire::{BYTES, FIXED64, Fault, Reader, VARINT, key};

/// An attribute's value, as far as it can be compared with a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Missing,
    Text(&'a [u8]),
    Bool(bool),
    Int(i64),
    Double(f64),
    /// An array, a list of pairs or bytes.
    Other,
}

/// Reads a `KeyValue`.
#[inline]
pub(crate) fn key_value<'a>(mut reader: Reader<'a>) -> Result<(&'a [u8], Value<'a>), Fault> {
    const KEY: u32 = key(1, BYTES);
    const VALUE: u32 = key(2, BYTES);
    const KEY_INDEX: u32 = key(3, VARINT);
    let (mut name, mut value) = (&[][..], Value::Missing);
    while let Some(key) = reader.key()? {
        match key {
            KEY => name = reader.text()?,
            VALUE => match any_value(reader.message()?)? {
                Value::Missing => {}
                found => value = found,
            },
            KEY_INDEX => drop(reader.varint()?),
            other => reader.unknown(other, 3)?,
        }
    }
    Ok((name, value))
}

#[inline]
fn any_value<'a>(mut reader: Reader<'a>) -> Result<Value<'a>, Fault> {
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
            STRING => Value::Text(reader.text()?),
            BOOL => Value::Bool(reader.varint()? != 0),
            INT => Value::Int(reader.varint()?.cast_signed()),
            DOUBLE => Value::Double(f64::from_bits(reader.fixed64()?)),
            ARRAY => {
                each(reader.message()?, |item| any_value(item).map(drop))?;
                Value::Other
            }
            PAIRS => {
                each(reader.message()?, |item| key_value(item).map(drop))?;
                Value::Other
            }
            RAW => {
                reader.bytes()?;
                Value::Other
            }
            INDEX => {
                reader.varint()?;
                Value::Other
            }
            other => {
                reader.unknown(other, 8)?;
                continue;
            }
        };
    }
    Ok(value)
}

/// Reads a message whose only field, 1, is a repeated message.
fn each<'a>(
    mut list: Reader<'a>,
    mut item: impl FnMut(Reader<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    const ITEM: u32 = key(1, BYTES);
    while let Some(key) = list.key()? {
        match key {
            ITEM => item(list.message()?)?,
            other => list.unknown(other, 1)?,
        }
    }
    Ok(())
}

/// A small Bloom filter over a span's attributes, and three facts about the span itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signature(u64);

impl Signature {
    /// The span has the status error.
    pub(crate) const ERROR: Self = Self(1 << 63);
    /// The span has no parent.
    pub(crate) const ROOT: Self = Self(1 << 62);
    /// The span has a `tracestate`.
    pub(crate) const TRACE_STATE: Self = Self(1 << 61);
    const FILTER_BITS: u64 = 61;

    pub(crate) fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Of an attribute. An attribute whose value can't be compared leaves no mark.
    #[inline]
    pub(crate) fn of(name: &[u8], value: Value<'_>) -> Self {
        let seed = short_hash(name, 0);
        let hash = match value {
            Value::Missing | Value::Other => return Self::default(),
            Value::Text(text) => short_hash(text, seed),
            Value::Int(number) => fold(number.cast_unsigned() ^ seed, INT),
            Value::Double(number) => fold(number.to_bits() ^ seed, DOUBLE),
            Value::Bool(flag) => fold(u64::from(flag) ^ seed, BOOL),
        };
        let bit = |half: u64| 1 << ((half * Self::FILTER_BITS) >> 32);
        Self(bit(hash & 0xffff_ffff) | bit(hash >> 32))
    }
}

// The digits of π, for want of meaning.
const TEXT: u64 = 0x243f_6a88_85a3_08d3;
const INT: u64 = 0x1319_8a2e_0370_7344;
const DOUBLE: u64 = 0xa409_3822_299f_31d0;
const BOOL: u64 = 0x082e_fa98_ec4e_6c89;

#[inline]
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    product as u64 ^ (product >> 64) as u64
}

/// A hash that is fast for a few bytes. Signatures are never kept or sent, and a collision only
/// costs a look at the span.
#[inline]
fn short_hash(bytes: &[u8], seed: u64) -> u64 {
    let mut hash = seed ^ bytes.len() as u64;
    let mut rest = bytes;
    while let Some((chunk, more)) = rest.split_first_chunk::<16>() {
        let both = u128::from_le_bytes(*chunk);
        hash = fold(both as u64 ^ hash, (both >> 64) as u64 ^ TEXT);
        rest = more;
    }
    if let (Some(first), Some(last)) = (rest.first_chunk::<8>(), rest.last_chunk::<8>()) {
        return fold(
            u64::from_le_bytes(*first) ^ hash,
            u64::from_le_bytes(*last) ^ TEXT,
        );
    }
    if let (Some(first), Some(last)) = (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return fold(u64::from(first) ^ hash, u64::from(last) ^ TEXT);
    }
    let few = rest.iter().fold(0, |few, byte| few << 8 | u64::from(*byte));
    fold(few ^ hash, TEXT)
}

/// An attribute that is looked for, its value as text: `200` finds the text and the number.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    key: String,
    text: String,
    int: Option<i64>,
    double: Option<f64>,
    bool: Option<bool>,
}

impl Wanted {
    pub(crate) fn new(key: &str, text: &str) -> Self {
        Self {
            key: key.to_owned(),
            text: text.to_owned(),
            int: text.parse().ok(),
            double: text.parse().ok(),
            bool: text.parse().ok(),
        }
    }

    /// A span that has it contains at least one of these.
    pub(crate) fn signatures(&self) -> Vec<Signature> {
        let name = self.key.as_bytes();
        let values = [
            Some(Value::Text(self.text.as_bytes())),
            self.int.map(Value::Int),
            self.double.map(Value::Double),
            self.bool.map(Value::Bool),
        ];
        values
            .into_iter()
            .flatten()
            .map(|value| Signature::of(name, value))
            .collect()
    }

    pub(crate) fn is(&self, name: &[u8], value: Value<'_>) -> bool {
        name == self.key.as_bytes()
            && match value {
                Value::Missing | Value::Other => false,
                Value::Text(text) => text == self.text.as_bytes(),
                Value::Int(number) => self.int == Some(number),
                // By bits, as the signature has it.
                Value::Double(number) => self.double.map(f64::to_bits) == Some(number.to_bits()),
                Value::Bool(flag) => self.bool == Some(flag),
            }
    }
}
