//! Protobuf's wire format, read without copying.
//!
//! Accepts exactly the messages that prost accepts, so that each accepted one can be decoded later.
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

/// The reason why bytes are not a protobuf message of the expected type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("ends in the middle of a field")]
    Truncated,
    #[error("contains a varint of more than 64 bits")]
    Varint,
    #[error("contains an invalid field number or wire type")]
    Key,
    #[error("contains a field whose wire type differs from its definition")]
    WireType,
    #[error("contains a string that is not UTF-8")]
    Text,
    #[error("is nested too deeply")]
    Depth,
}

/// The deepest nesting of messages, as in prost.
pub(crate) const MAX_DEPTH: u32 = 100;

/// The wire types, the low three bits of a key.
pub(crate) const VARINT: u32 = 0;
pub(crate) const FIXED64: u32 = 1;
pub(crate) const BYTES: u32 = 2;
const GROUP: u32 = 3;
const GROUP_END: u32 = 4;
pub(crate) const FIXED32: u32 = 5;

/// The key before a field: its number and wire type.
pub(crate) const fn key(field: u32, wire_type: u32) -> u32 {
    field << 3 | wire_type
}

/// Reads one message. Positions count from the start of the outermost one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: u32,
}

impl<'a> Reader<'a> {
    /// A reader at the start of an outermost message.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            depth: MAX_DEPTH,
        }
    }

    /// The position of the next byte.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The bytes between two positions.
    pub(crate) fn between(&self, start: usize, end: usize) -> &'a [u8] {
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// The bytes that are left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The next field's key; `None` at the end.
    #[inline(always)]
    pub(crate) fn key(&mut self) -> Result<Option<u32>, WireError> {
        if self.at >= self.bytes.len() {
            return Ok(None);
        }
        // Field numbers have 29 bits; prost refuses a longer key, too.
        u32::try_from(self.varint()?)
            .map(Some)
            .map_err(|_| WireError::Key)
    }

    #[inline(always)]
    pub(crate) fn varint(&mut self) -> Result<u64, WireError> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0;
        for (count, &byte) in self.rest().iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (count * 7);
            if byte < 0x80 {
                // Nine bytes hold 63 bits: the tenth has room for one.
                if count == 9 && byte > 1 {
                    return Err(WireError::Varint);
                }
                self.at += count + 1;
                return Ok(value);
            }
        }
        // Ten bytes that all have the continuation bit are not a varint, whatever follows.
        if self.rest().len() < 10 {
            Err(WireError::Truncated)
        } else {
            Err(WireError::Varint)
        }
    }

    #[inline(always)]
    pub(crate) fn fixed64(&mut self) -> Result<u64, WireError> {
        self.fixed().map(u64::from_le_bytes)
    }

    #[inline(always)]
    pub(crate) fn fixed32(&mut self) -> Result<u32, WireError> {
        self.fixed().map(u32::from_le_bytes)
    }

    #[inline(always)]
    fn fixed<const WIDTH: usize>(&mut self) -> Result<[u8; WIDTH], WireError> {
        let bytes = self.rest().first_chunk().copied();
        self.at += WIDTH;
        bytes.ok_or(WireError::Truncated)
    }

    /// A length-delimited field's content.
    #[inline(always)]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let len = usize::try_from(self.varint()?).map_err(|_| WireError::Truncated)?;
        let start = self.at;
        let end = start.checked_add(len).ok_or(WireError::Truncated)?;
        let content = self.bytes.get(start..end).ok_or(WireError::Truncated)?;
        self.at = end;
        Ok(content)
    }

    /// A string field's content.
    #[inline(always)]
    pub(crate) fn text(&mut self) -> Result<&'a [u8], WireError> {
        let content = self.bytes()?;
        // Most texts are short and ASCII, which is faster to check.
        if content.is_ascii() || std::str::from_utf8(content).is_ok() {
            Ok(content)
        } else {
            Err(WireError::Text)
        }
    }

    /// A message field's content.
    #[inline(always)]
    pub(crate) fn message(&mut self) -> Result<Reader<'a>, WireError> {
        let depth = self.depth.checked_sub(1).ok_or(WireError::Depth)?;
        let len = self.bytes()?.len();
        Ok(Reader {
            // Keeps the bytes before it, so that positions count from the outermost message.
            bytes: self.bytes.get(..self.at).unwrap_or_default(),
            at: self.at - len,
            depth,
        })
    }

    /// Skips a field that is not in the message's definition, which has fields 1 to `known`.
    #[cold]
    pub(crate) fn skip_unknown(&mut self, key: u32, known: u32) -> Result<(), WireError> {
        // prost rejects a known field of another wire type, and skips an unknown field of any type.
        if (1..=known).contains(&(key >> 3)) {
            return Err(WireError::WireType);
        }
        self.skip(key, self.depth)
    }

    fn skip(&mut self, key: u32, depth: u32) -> Result<(), WireError> {
        if key >> 3 == 0 {
            return Err(WireError::Key);
        }
        if depth == 0 {
            return Err(WireError::Depth);
        }
        match key & 7 {
            VARINT => self.varint().map(drop),
            FIXED64 => self.fixed64().map(drop),
            FIXED32 => self.fixed32().map(drop),
            BYTES => self.bytes().map(drop),
            // Groups are deprecated, but prost skips them, and so must this reader.
            GROUP => loop {
                let inner = self.key()?.ok_or(WireError::Truncated)?;
                if inner & 7 == GROUP_END {
                    return if inner >> 3 == key >> 3 {
                        Ok(())
                    } else {
                        Err(WireError::Key)
                    };
                }
                self.skip(inner, depth - 1)?;
            },
            _ => Err(WireError::Key),
        }
    }
}

/// Visits the fields of a message that has been scanned and is therefore valid.
pub(crate) fn visit<'a>(
    message: &'a [u8],
    mut field: impl FnMut(&mut Reader<'a>, u32) -> Result<(), WireError>,
) {
    let mut reader = Reader::new(message);
    while let Ok(Some(key)) = reader.key() {
        if field(&mut reader, key).is_err() {
            break;
        }
    }
}
