//! The video codecs that ooblex knows by name.

use std::fmt;

/// A video codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VideoCodec {
    /// VP8 (RFC 6386).
    Vp8,
    /// VP9, profile 0.
    Vp9,
    /// H.264 (ISO/IEC 14496-10), 8 bits, 4:2:0, progressive.
    H264,
    /// AV1, 8 bits, 4:2:0.
    Av1,
}

impl VideoCodec {
    /// The name in SDP, media types and reports: `VP8`, `VP9`, `H264`, `AV1`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::H264 => "H264",
            Self::Av1 => "AV1",
        }
    }
}

impl fmt::Display for VideoCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
