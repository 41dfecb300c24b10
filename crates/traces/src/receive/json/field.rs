//! One field's value.

use std::fmt;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Unexpected, Visitor},
};

use super::{Fields, ignored::Ignored, output::Output};
use crate::otlp_json::{Field, Kind};

/// Reads a field's value, or one element of a repeated field.
pub(super) struct FieldValue<'o> {
    pub(super) field: &'static Field,
    pub(super) is_element: bool,
    pub(super) output: &'o mut Output,
    pub(super) ignored: &'o mut Ignored,
}

impl<'de> DeserializeSeed<'de> for FieldValue<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FieldValue<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expected = match self.field.kind {
            _ if !self.is_single() => "a list",
            Kind::Text => "a string",
            Kind::Id => "hexadecimal digits",
            Kind::Bytes => "base64",
            Kind::Bool => "true or false",
            Kind::Int64 => "a 64-bit integer",
            Kind::Uint32 | Kind::Fixed32 => "an unsigned 32-bit integer",
            Kind::Fixed64 => "an unsigned 64-bit integer",
            Kind::Double => "a number",
            Kind::Enum(_) => "an enum value as a number",
            Kind::Message(_) => "an object",
        };
        write!(f, "{expected} in {}", self.field.name)
    }

    /// Null leaves a field unset; in a list it is an empty element.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        if self.is_element {
            self.output.bytes(self.field.number, &[]);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        if self.is_single() {
            return Err(Error::invalid_type(Unexpected::Seq, &self));
        }
        while elements
            .next_element_seed(FieldValue {
                field: self.field,
                is_element: true,
                output: self.output,
                ignored: self.ignored,
            })?
            .is_some()
        {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<(), A::Error> {
        let message = match self.field.kind {
            Kind::Message(message) if self.is_single() => message,
            _ => return Err(Error::invalid_type(Unexpected::Map, &self)),
        };
        let ignored = self.ignored;
        self.output.nested(self.field.number, |output| {
            let fields = Fields {
                message,
                output,
                ignored,
            };
            fields.visit_map(members)
        })
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.field.kind {
            Kind::Bool if self.is_single() => {
                self.output.varint(self.field.number, value.into());
                Ok(())
            }
            _ => Err(E::invalid_type(Unexpected::Bool(value), &self)),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.integer(value.into(), Unexpected::Unsigned(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.integer(value.into(), Unexpected::Signed(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.float(value, Unexpected::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        let unexpected = Unexpected::Str(shown(value));
        let number = self.field.number;
        match self.field.kind {
            _ if !self.is_single() => return Err(E::invalid_type(unexpected, &self)),
            Kind::Text => self.output.bytes(number, value.as_bytes()),
            Kind::Id => match hex::decode(value) {
                Ok(bytes) => self.output.bytes(number, &bytes),
                Err(_) => return Err(E::invalid_value(unexpected, &self)),
            },
            Kind::Bytes => match BASE64.decode(standard(value)) {
                Ok(bytes) => self.output.bytes(number, &bytes),
                Err(_) => return Err(E::invalid_value(unexpected, &self)),
            },
            Kind::Enum(names) => match names.iter().position(|name| *name == value) {
                Some(position) => self.output.varint(number, position as u64),
                None => return self.number_in_text(value),
            },
            Kind::Bool | Kind::Message(_) => return Err(E::invalid_type(unexpected, &self)),
            Kind::Int64 | Kind::Uint32 | Kind::Fixed32 | Kind::Fixed64 | Kind::Double => {
                return self.number_in_text(value);
            }
        }
        Ok(())
    }
}

impl FieldValue<'_> {
    /// True if one value is expected rather than a list.
    fn is_single(&self) -> bool {
        self.is_element || !self.field.is_repeated
    }

    fn number_in_text<E: Error>(self, text: &str) -> Result<(), E> {
        let unexpected = Unexpected::Str(shown(text));
        // Wide enough for the numbers of both 64-bit types; the field narrows it.
        if let Ok(integer) = text.parse::<i128>() {
            return self.integer(integer, unexpected);
        }
        // Only the forms of JSON and proto3, since Rust's parser accepts others.
        let is_number = text.bytes().all(|byte| b"0123456789+-.eE".contains(&byte));
        let is_special = matches!(text, "NaN" | "Infinity" | "-Infinity");
        match text.parse::<f64>() {
            Ok(number) if is_number || is_special => self.float(number, unexpected),
            _ => Err(E::invalid_value(unexpected, &self)),
        }
    }

    fn float<E: Error>(self, value: f64, unexpected: Unexpected<'_>) -> Result<(), E> {
        match self.field.kind {
            Kind::Double if self.is_single() => {
                self.output.fixed64(self.field.number, value.to_bits());
                Ok(())
            }
            // 1e3 is an integer, too.
            _ if value.fract() == 0.0 && value.abs() < MAX_EXACT_INTEGER => {
                self.integer(value as i128, unexpected)
            }
            _ => Err(E::invalid_value(unexpected, &self)),
        }
    }

    fn integer<E: Error>(mut self, value: i128, unexpected: Unexpected<'_>) -> Result<(), E> {
        match self.write_integer(value) {
            Some(()) => Ok(()),
            None => Err(E::invalid_value(unexpected, &self)),
        }
    }

    /// Writes an integer; `None` if it is out of range for the field or of another type.
    fn write_integer(&mut self, value: i128) -> Option<()> {
        let number = self.field.number;
        let output = &mut *self.output;
        match self.field.kind {
            _ if self.field.is_repeated && !self.is_element => return None,
            Kind::Int64 => output.varint(number, i64::try_from(value).ok()?.cast_unsigned()),
            Kind::Uint32 => output.varint(number, u32::try_from(value).ok()?.into()),
            Kind::Enum(_) => {
                let value = i64::from(i32::try_from(value).ok()?);
                output.varint(number, value.cast_unsigned());
            }
            Kind::Fixed32 => output.fixed32(number, u32::try_from(value).ok()?),
            Kind::Fixed64 => output.fixed64(number, u64::try_from(value).ok()?),
            Kind::Double => output.fixed64(number, (value as f64).to_bits()),
            Kind::Text | Kind::Id | Kind::Bytes | Kind::Bool | Kind::Message(_) => return None,
        }
        Some(())
    }
}

/// The largest integer up to which all integers are exact as doubles.
const MAX_EXACT_INTEGER: f64 = 9_007_199_254_740_992.0;

/// The first characters of a text, for an error message.
fn shown(text: &str) -> &str {
    const MAX_CHARS: usize = 40;
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => text.get(..end).unwrap_or_default(),
        None => text,
    }
}

/// proto3 accepts both alphabets, with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn standard(base64: &str) -> String {
    base64.replace('-', "+").replace('_', "/")
}
