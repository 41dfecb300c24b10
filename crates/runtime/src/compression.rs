//! Decompression of request bodies, for all receivers.

use std::{
    io::{self, BufRead, Read},
    time::Duration,
};

use bytes::Bytes;
use flate2::{bufread::GzDecoder, read::ZlibDecoder};
use rustix::time::{ClockId, clock_gettime};

use crate::with_causes;
use ruzstd::decoding::{
    StreamingDecoder,
    errors::{FrameDecoderError::ReadFrameHeaderError as Header, ReadFrameHeaderError::SkipFrame},
};

/// The content encodings that receivers accept, in the format of `Accept-Encoding` and
/// `grpc-accept-encoding`.
pub const ACCEPTED_ENCODINGS: &str = "gzip, deflate, zstd";

/// The most bytes decompressed at a time, and so the most by which a body can exceed its limit
/// before it is refused.
const CHUNK_BYTES: usize = 64 << 10;
/// The smallest limit on zstd windows, which are allocated in advance. The limit is higher where
/// longer bodies are accepted. Encoders that do not know a body's length announce a window of up to
/// 8 MiB (RFC 9659), however short the body is.
const MIN_ZSTD_WINDOW_LIMIT_BYTES: u64 = 8 << 20;

/// The most members or frames of a body. Programs that compress in parallel write one for each
/// piece of 64 KiB or more, of which the longest body has a few hundred.
const MAX_PARTS: usize = 1_024;

/// The processor time that every body may take, however short. Decompressing 16 MiB of content takes
/// about a tenth of it. Blocks without content take up to 0.22 µs for each of their bytes, and so
/// would take 3.7 s in the longest body.
const MIN_ALLOWED_TIME: Duration = Duration::from_millis(200);
/// The additional processor time for each byte of the compressed body that was read so far.
const ALLOWED_TIME_PER_BYTE: Duration = Duration::from_nanos(50);

/// The compression of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// No compression.
    Identity,
    /// RFC 1952, of one or more members.
    Gzip,
    /// In zlib's format, as HTTP defines it.
    Deflate,
    /// RFC 8878, of one or more frames.
    Zstd,
}

/// The error for a body that cannot be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// The body does not match its encoding, has too many members or frames or too large a window,
    /// or takes too long.
    #[error("cannot decompress the body: {}", with_causes(.0))]
    Invalid(#[from] io::Error),
    /// The decompressed body is larger than allowed.
    #[error("decompressed body is larger than {max} bytes; send smaller batches")]
    TooLarge {
        /// The largest size allowed.
        max: usize,
    },
}

impl Compression {
    /// The compression with this name in a header, or `None` if it is not supported.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        match name.to_ascii_lowercase().as_slice() {
            // An empty header means the same as an absent one.
            b"" | b"identity" => Some(Self::Identity),
            b"gzip" => Some(Self::Gzip),
            b"deflate" => Some(Self::Deflate),
            b"zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Decompresses to at most `max` bytes; returns a body without compression unchanged. `count`
    /// is called with the length of each decompressed chunk before the next one, so that callers
    /// can bound the memory of several bodies together.
    ///
    /// # Errors
    /// [`DecompressError`], or the error of `count`.
    pub fn decompress<E: From<DecompressError>>(
        self,
        body: Bytes,
        max: usize,
        count: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<Bytes, E> {
        let input = Input::new(&body);
        match self {
            Self::Identity => Ok(body),
            Self::Gzip => {
                let member = GzDecoder::new(input);
                read_all(GzipMembers { member, parts: 1 }, max, count)
            }
            Self::Deflate => read_all(ZlibDecoder::new(input), max, count),
            Self::Zstd => {
                let frames = ZstdFrames {
                    input,
                    parts: 0,
                    frame: None,
                    max_window: MIN_ZSTD_WINDOW_LIMIT_BYTES.max(max as u64),
                };
                read_all(frames, max, count)
            }
        }
    }
}

fn read_all<E: From<DecompressError>>(
    mut reader: impl Read,
    max: usize,
    mut count: impl FnMut(usize) -> Result<(), E>,
) -> Result<Bytes, E> {
    let mut all = Vec::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let bytes = reader.read(&mut chunk).map_err(DecompressError::from)?;
        if bytes == 0 {
            return Ok(all.into());
        }
        // Checked before the bytes are stored, so that memory stays within the limit.
        if all.len() + bytes > max {
            return Err(DecompressError::TooLarge { max }.into());
        }
        count(bytes)?;
        all.extend_from_slice(chunk.get(..bytes).unwrap_or_default());
    }
}

/// The rest of a compressed body. Reading it fails once decompression has taken too long. The check
/// is not in [`read_all`], which waits for content while a decoder reads blocks without any.
#[derive(Clone, Copy)]
struct Input<'a> {
    rest: &'a [u8],
    length: usize,
    start: Duration,
}

impl<'a> Input<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Self {
            rest,
            length: rest.len(),
            start: processor_time(),
        }
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Input<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let read = u32::try_from(self.length - self.rest.len()).unwrap_or(u32::MAX);
        let allowed = MIN_ALLOWED_TIME + ALLOWED_TIME_PER_BYTE * read;
        if processor_time().saturating_sub(self.start) > allowed {
            let problem = "it takes too long; use another encoder or no compression";
            return Err(io::Error::other(problem));
        }
        Ok(self.rest.get(..CHUNK_BYTES).unwrap_or(self.rest))
    }

    fn consume(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }
}

/// The processor time of this thread. Unlike wall-clock time, it does not depend on the load of the
/// machine.
fn processor_time() -> Duration {
    // The time since the thread's start is never negative.
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Counts one more part of a body: a gzip member or a zstd frame. Without a limit, millions of
/// parts without content would take seconds of CPU time, while the limits on content would not
/// apply.
fn count_part(parts: &mut usize) -> io::Result<()> {
    *parts += 1;
    match *parts > MAX_PARTS {
        true => Err(io::Error::other(format!(
            "more than {MAX_PARTS} members or frames"
        ))),
        false => Ok(()),
    }
}

/// The members of a gzip body, one after another. flate2's `MultiGzDecoder` has no limit on them.
struct GzipMembers<'a> {
    member: GzDecoder<Input<'a>>,
    parts: usize,
}

impl Read for GzipMembers<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.member.read(buffer)?;
            let input = *self.member.get_ref();
            if count > 0 || input.rest.is_empty() {
                return Ok(count);
            }
            count_part(&mut self.parts)?;
            self.member = GzDecoder::new(input);
        }
    }
}

/// The frames of a zstd body, one after another.
struct ZstdFrames<'a> {
    input: Input<'a>,
    parts: usize,
    frame: Option<StreamingDecoder<Input<'a>, ruzstd::decoding::FrameDecoder>>,
    max_window: u64,
}

impl Read for ZstdFrames<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None if self.input.rest.is_empty() => return Ok(0),
                None => {
                    count_part(&mut self.parts)?;
                    match StreamingDecoder::new_with_max_window_size(self.input, self.max_window) {
                        Ok(frame) => frame,
                        // Skippable frames with user-defined data may occur between the others
                        // (RFC 8878, section 3.1.2). Two numbers of four bytes precede the data.
                        Err(Header(SkipFrame { length, .. })) => {
                            let length = usize::try_from(length).ok();
                            let rest = &mut self.input.rest;
                            let after = length.and_then(|it| rest.get(it.checked_add(8)?..));
                            *rest = after.ok_or(io::ErrorKind::UnexpectedEof)?;
                            continue;
                        }
                        Err(error) => return Err(io::Error::other(error)),
                    }
                }
            };
            let count = frame.read(buffer)?;
            // Zero bytes mean the end of a frame, and another may follow.
            if count > 0 {
                self.frame = Some(frame);
                return Ok(count);
            }
            self.input = frame.into_inner();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn decompress(compression: Compression, body: &[u8]) -> Result<Bytes, DecompressError> {
        compression.decompress(Bytes::copy_from_slice(body), 1 << 20, |_| Ok(()))
    }

    /// An empty zstd frame with a window of this many bytes, a power of two.
    fn zstd_of_window(bytes: u64) -> Vec<u8> {
        let exponent = u8::try_from(bytes.ilog2() - 10).unwrap();
        vec![0x28, 0xb5, 0x2f, 0xfd, 0, exponent << 3, 1, 0, 0]
    }

    #[test]
    fn zstd_windows_have_a_bound() {
        let largest = zstd_of_window(MIN_ZSTD_WINDOW_LIMIT_BYTES);
        assert_eq!(decompress(Compression::Zstd, &largest).unwrap(), "");
        let larger = zstd_of_window(2 * MIN_ZSTD_WINDOW_LIMIT_BYTES);
        let refused = decompress(Compression::Zstd, &larger).unwrap_err();
        assert!(matches!(refused, DecompressError::Invalid(_)));
    }

    #[test]
    fn skippable_zstd_frames_are_skipped() {
        let skippable = b"\x50\x2a\x4d\x18\x02\0\0\0xy";
        // A frame of one raw block of three bytes.
        let frame = b"\x28\xb5\x2f\xfd\x20\x03\x19\0\0abc";
        let body = [&skippable[..], frame].concat();
        assert_eq!(decompress(Compression::Zstd, &body).unwrap(), "abc");
        let cut = &skippable[..9];
        assert!(decompress(Compression::Zstd, cut).is_err());
    }

    #[rstest::rstest]
    #[case::gzip(
        Compression::Gzip,
        b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x03\0\0\0\0\0\0\0\0\0"
    )]
    #[case::zstd(Compression::Zstd, b"\x28\xb5\x2f\xfd\x20\0\x01\0\0")]
    #[case::skippable(Compression::Zstd, b"\x50\x2a\x4d\x18\0\0\0\0")]
    fn parts_without_content_are_limited(#[case] compression: Compression, #[case] part: &[u8]) {
        assert_eq!(decompress(compression, &part.repeat(1_024)).unwrap(), "");
        let refused = decompress(compression, &part.repeat(1_025)).unwrap_err();
        assert!(refused.to_string().contains("1024 members or frames"));
    }

    #[test]
    fn slow_decompression_is_refused() {
        // Blocks with a table of 2,048 Huffman codes, and no content.
        let block = b"\x3c\0\0\x02\xc0\0\x80\xb0\x01\0";
        let body = |blocks| {
            let blocks = block.repeat(blocks);
            [&b"\x28\xb5\x2f\xfd\0\0"[..], &blocks, b"\x01\0\0"].concat()
        };
        assert_eq!(decompress(Compression::Zstd, &body(1_000)).unwrap(), "");
        let refused = decompress(Compression::Zstd, &body(4_000_000)).unwrap_err();
        assert!(refused.to_string().contains("takes too long"), "{refused}");
    }

    #[test]
    fn gzip_members_are_joined() {
        let member = |content: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
            io::Write::write_all(&mut encoder, content).unwrap();
            encoder.finish().unwrap()
        };
        let body = [member(b"one"), member(b""), member(b" two")].concat();
        assert_eq!(decompress(Compression::Gzip, &body).unwrap(), "one two");
        let body = [member(b"one"), b"rest".to_vec()].concat();
        assert!(decompress(Compression::Gzip, &body).is_err());
    }

    #[test]
    fn error_of_count_ends_decompression() {
        let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        io::Write::write_all(&mut encoder, &[0; 1 << 20]).unwrap();
        let body = Bytes::from(encoder.finish().unwrap());
        let mut counted = 0;
        let refused = Compression::Gzip.decompress(body, 1 << 20, |bytes| {
            counted += bytes;
            Err(DecompressError::TooLarge { max: 0 })
        });
        assert!(refused.is_err());
        assert!(counted <= CHUNK_BYTES, "{counted}");
    }

    #[rstest::rstest]
    #[case("", Some(Compression::Identity))]
    #[case("GZIP", Some(Compression::Gzip))]
    #[case("deflate", Some(Compression::Deflate))]
    #[case("zstd", Some(Compression::Zstd))]
    #[case("br", None)]
    #[case("gzip, gzip", None)]
    fn compression_is_found_by_name(#[case] name: &str, #[case] expected: Option<Compression>) {
        assert_eq!(Compression::named(name.as_bytes()), expected);
    }
}
