//! Compressed bodies.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use ruzstd::decoding::StreamingDecoder;

use super::{ReceiveSettings, body::BodyError, memory::Share};

/// The compressions that a receiver takes, as `Accept-Encoding` and `grpc-accept-encoding` have
/// them.
pub(super) const ACCEPTED: &str = "gzip, deflate, zstd";

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Identity,
    Gzip,
    /// In zlib's format, as HTTP defines it.
    Deflate,
    Zstd,
}

impl Compression {
    /// The compression of this name in a header; none for any other.
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        match () {
            () if name.is_empty() || is("identity") => Some(Self::Identity),
            () if is("gzip") => Some(Self::Gzip),
            () if is("deflate") => Some(Self::Deflate),
            () if is("zstd") => Some(Self::Zstd),
            () => None,
        }
    }

    /// Decompresses, counting each piece before the next one is made, and never to more than the
    /// bound on bodies.
    pub(super) fn decompress(
        self,
        body: Bytes,
        settings: &ReceiveSettings,
        share: &mut Share,
    ) -> Result<Bytes, BodyError> {
        let max = settings.max_body_bytes;
        match self {
            Self::Identity => Ok(body),
            Self::Gzip => read_all(MultiGzDecoder::new(&*body), max, share),
            Self::Deflate => read_all(ZlibDecoder::new(&*body), max, share),
            Self::Zstd => read_all(ZstdFrames::new(&body, max), max, share),
        }
    }
}

fn read_all(mut reader: impl Read, max: usize, share: &mut Share) -> Result<Bytes, BodyError> {
    let mut all = Vec::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = reader.read(&mut chunk).map_err(BodyError::Compressed)?;
        if count == 0 {
            return Ok(all.into());
        }
        if all.len() + count > max {
            return Err(BodyError::TooLargeDecompressed { max });
        }
        share.grow(count)?;
        all.extend_from_slice(chunk.get(..count).unwrap_or_default());
    }
}

const CHUNK_BYTES: usize = 64 << 10;

/// The frames of a zstd body, one after another.
struct ZstdFrames<'a> {
    rest: &'a [u8],
    frame: Option<StreamingDecoder<&'a [u8], ruzstd::decoding::FrameDecoder>>,
    max_window: u64,
}

impl<'a> ZstdFrames<'a> {
    /// A frame's window is allocated before it is used: none larger than a body makes sense.
    fn new(body: &'a [u8], max: usize) -> Self {
        Self {
            rest: body,
            frame: None,
            max_window: max as u64,
        }
    }
}

impl Read for ZstdFrames<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None if self.rest.is_empty() => return Ok(0),
                None => StreamingDecoder::new_with_max_window_size(self.rest, self.max_window)
                    .map_err(io::Error::other)?,
            };
            let count = frame.read(buffer)?;
            if count > 0 {
                self.frame = Some(frame);
                return Ok(count);
            }
            self.rest = frame.into_inner();
        }
    }
}
