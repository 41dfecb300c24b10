//! A codec that sends messages which are already encoded.

use bytes::{BufMut, Bytes};
use prost::Message;
use spoor_proto::spoor::control::v1::ClientMessage;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// The initial size of a stream's buffer. Messages are small, and streams are many.
const INITIAL_BUFFER_BYTES: usize = 512;

/// The buffered bytes at which a stream sends them. This is Tonic's default.
const YIELD_THRESHOLD_BYTES: usize = 32 * 1024;

/// Sends encoded server messages and receives client messages.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EncodedCodec;

impl Codec for EncodedCodec {
    type Encode = Bytes;
    type Decode = ClientMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for EncodedCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(item.len());
        buffer.put(item);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(INITIAL_BUFFER_BYTES, YIELD_THRESHOLD_BYTES)
    }
}

impl Decoder for EncodedCodec {
    type Item = ClientMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<ClientMessage>, Status> {
        ClientMessage::decode(buffer)
            .map(Some)
            .map_err(|error| Status::invalid_argument(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(INITIAL_BUFFER_BYTES, YIELD_THRESHOLD_BYTES)
    }
}
