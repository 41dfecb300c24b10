//! Protobuf, encoded in one pass.

use prost::encoding::{WireType, encode_key, encode_varint, fixed32, fixed64, uint64};

/// The largest number that protobuf encodes in one byte.
const MAX_ONE_BYTE_VARINT: u8 = 0x7f;

/// A message that is being encoded.
pub(super) struct Output(pub(super) Vec<u8>);

impl Output {
    pub(super) fn varint(&mut self, field: u32, value: u64) {
        uint64::encode(field, &value, &mut self.0);
    }

    pub(super) fn fixed32(&mut self, field: u32, value: u32) {
        fixed32::encode(field, &value, &mut self.0);
    }

    pub(super) fn fixed64(&mut self, field: u32, value: u64) {
        fixed64::encode(field, &value, &mut self.0);
    }

    pub(super) fn bytes(&mut self, field: u32, value: &[u8]) {
        encode_key(field, WireType::LengthDelimited, &mut self.0);
        encode_varint(value.len() as u64, &mut self.0);
        self.0.extend_from_slice(value);
    }

    /// Writes a nested message. Its length is known only afterwards, so one byte is reserved for
    /// it, and the content moves if that is not enough.
    pub(super) fn nested<E>(
        &mut self,
        field: u32,
        write: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        encode_key(field, WireType::LengthDelimited, &mut self.0);
        let start = self.0.len();
        self.0.push(0);
        write(self)?;
        let length = self.0.len() - start - 1;
        match (u8::try_from(length), self.0.get_mut(start)) {
            // Most messages are this short, and a body of empty ones has millions of them.
            (Ok(length @ ..=MAX_ONE_BYTE_VARINT), Some(byte)) => *byte = length,
            _ => {
                let mut varint = Vec::new();
                encode_varint(length as u64, &mut varint);
                self.0.splice(start..=start, varint);
            }
        }
        Ok(())
    }
}
