//! Trace IDs.

use std::str::FromStr;

/// The 16 bytes that all spans of a trace share.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, derive_more::Debug, derive_more::Display,
)]
#[debug("{self}")]
#[display("{:032x}", u128::from_be_bytes(*_0))]
pub struct TraceId([u8; 16]);

/// Text that is not a [`TraceId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a trace ID must be 1 to 32 hexadecimal digits and not all zero")]
pub struct InvalidTraceId;

impl TraceId {
    /// Creates an ID from OTLP's bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// OTLP's bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// The low 56 bits: a trace's randomness, unless its `tracestate` has another value.
    ///
    /// Source: W3C Trace Context Level 2, random trace ID flag.
    #[must_use]
    pub const fn randomness(self) -> u64 {
        // The truncation is intended: the low 64 bits, then the low 56 of those.
        (u128::from_be_bytes(self.0) as u64) & ((1 << 56) - 1)
    }
}

impl FromStr for TraceId {
    type Err = InvalidTraceId;

    /// Parses hexadecimal digits; leading zeros may be omitted, as in Jaeger.
    fn from_str(text: &str) -> Result<Self, InvalidTraceId> {
        let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !digits || text.is_empty() || text.len() > 32 {
            return Err(InvalidTraceId);
        }
        match u128::from_str_radix(text, 16) {
            // W3C Trace Context forbids an ID of zeros.
            Ok(0) | Err(_) => Err(InvalidTraceId),
            Ok(id) => Ok(Self(id.to_be_bytes())),
        }
    }
}
