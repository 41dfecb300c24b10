//! A gRPC codec for messages that are already encoded.

use bytes::{BufMut, Bytes};
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// The initial size of a stream's buffer. Tonic's default is 8 KiB, which adds up over thousands
/// of streams whose messages are small. A larger message enlarges the buffer.
const INITIAL_BUFFER_BYTES: usize = 512;
/// The number of buffered bytes at which a stream sends them. This is Tonic's default.
const YIELD_THRESHOLD_BYTES: usize = 32 * 1024;

/// Sends messages that are encoded already, so that one encoding can be sent to many receivers or
/// again, and decodes received messages with the given function.
#[derive(Clone, Copy, Debug)]
pub struct EncodedCodec<D>(pub fn(&mut DecodeBuf<'_>) -> Result<D, Status>);

impl<D: Send + 'static> Codec for EncodedCodec<D> {
    type Encode = Bytes;
    type Decode = D;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self(self.0)
    }

    fn decoder(&mut self) -> Self {
        Self(self.0)
    }
}

impl<D> Encoder for EncodedCodec<D> {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        // Grows the buffer once, instead of doubling it from its small initial size.
        buffer.reserve(item.len());
        buffer.put(item);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(INITIAL_BUFFER_BYTES, YIELD_THRESHOLD_BYTES)
    }
}

impl<D> Decoder for EncodedCodec<D> {
    type Item = D;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<D>, Status> {
        (self.0)(buffer).map(Some)
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(INITIAL_BUFFER_BYTES, YIELD_THRESHOLD_BYTES)
    }
}
