//! The codecs that pictures leave in.

use std::fmt;
use std::str::FromStr;

/// How a picture is compressed for viewers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// H.264, constrained baseline profile; access units in Annex B form.
    H264,
    /// VP8 (RFC 6386).
    Vp8,
    /// JPEG: every picture is a key frame.
    Jpeg,
}

impl Codec {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::H264, Self::Vp8, Self::Jpeg];

    /// The name on the wire: `h264`, `vp8`, `jpeg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::Vp8 => "vp8",
            Self::Jpeg => "jpeg",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that no [`Codec`] has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown codec `{0}`; there are h264, vp8 and jpeg")]
pub struct UnknownCodec(pub String);

impl FromStr for Codec {
    type Err = UnknownCodec;

    fn from_str(text: &str) -> Result<Self, UnknownCodec> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.as_str() == text)
            .ok_or_else(|| UnknownCodec(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for codec in Codec::ALL {
            assert_eq!(codec.as_str().parse(), Ok(codec));
        }
        assert_eq!("H264".parse::<Codec>(), Err(UnknownCodec("H264".into())));
    }
}
