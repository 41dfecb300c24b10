//! A gRPC codec for messages that are already encoded.

use bytes::{BufMut, Bytes};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// Sends messages that are encoded already, so that one encoding can be sent again, and decodes
/// received messages with the given function.
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
        // Grows the buffer once, instead of doubling it.
        buffer.reserve(item.len());
        buffer.put(item);
        Ok(())
    }
}

impl<D> Decoder for EncodedCodec<D> {
    type Item = D;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<D>, Status> {
        (self.0)(buffer).map(Some)
    }
}
