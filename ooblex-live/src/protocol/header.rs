//! The header in front of every picture.

use crate::Codec;

/// Bytes of a header.
pub const HEADER_LEN: usize = 20;
const VERSION: u8 = 1;
const KEY: u8 = 1;

/// What is said about a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// How the picture is compressed.
    pub codec: Codec,
    /// It depends on no other picture.
    pub is_key: bool,
    /// Up: the publisher's number of it. Down: the stream's.
    pub sequence: u64,
    /// When it was captured, in microseconds since the Unix epoch by the server's clock.
    pub captured_us: u64,
}

/// Why a binary message is no picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Not even a header, or nothing after it.
    #[error("a picture needs a header of 20 bytes and data; this message has {0} bytes")]
    Short(usize),
    /// Byte 0.
    #[error("byte 0 is {0}; version 1 is spoken here")]
    Version(u8),
    /// Byte 1.
    #[error("byte 1 is {0}; kinds are 1 (H.264), 2 (VP8) and 3 (JPEG)")]
    Kind(u8),
    /// Byte 2.
    #[error("byte 2 is {0}; flags are 0, or 1 for a key frame, as every JPEG is")]
    Flags(u8),
    /// Byte 3.
    #[error("byte 3 is {0}; it must be 0")]
    Reserved(u8),
}

impl Header {
    /// Writes the header.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let flags = if self.is_key || self.codec == Codec::Jpeg { KEY } else { 0 };
        bytes[..4].copy_from_slice(&[VERSION, kind(self.codec), flags, 0]);
        bytes[4..12].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[12..].copy_from_slice(&self.captured_us.to_be_bytes());
        bytes
    }

    /// Reads the header of a whole message.
    ///
    /// # Errors
    /// [`HeaderError`] for whatever version 1 does not have.
    pub fn decode(message: &[u8]) -> Result<Self, HeaderError> {
        let (header, data) = message.split_first_chunk().ok_or(HeaderError::Short(message.len()))?;
        if data.is_empty() {
            return Err(HeaderError::Short(message.len()));
        }
        let [version, kind, flags, reserved, rest @ ..]: &[u8; HEADER_LEN] = header;
        if *version != VERSION {
            return Err(HeaderError::Version(*version));
        }
        let codec = Codec::ALL.into_iter().find(|c| self::kind(*c) == *kind);
        let codec = codec.ok_or(HeaderError::Kind(*kind))?;
        let is_key = match *flags {
            KEY => true,
            0 if codec != Codec::Jpeg => false,
            other => return Err(HeaderError::Flags(other)),
        };
        if *reserved != 0 {
            return Err(HeaderError::Reserved(*reserved));
        }
        let number = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        Ok(Self { codec, is_key, sequence: number(&rest[..8]), captured_us: number(&rest[8..]) })
    }
}

const fn kind(codec: Codec) -> u8 {
    match codec {
        Codec::H264 => 1,
        Codec::Vp8 => 2,
        Codec::Jpeg => 3,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_layout_is_that_of_the_document() {
        let header = Header {
            codec: Codec::Vp8,
            is_key: true,
            sequence: 0x0102_0304_0506_0708,
            captured_us: 0x1112_1314_1516_1718,
        };
        let mut message = header.encode().to_vec();
        assert_eq!(message, [1, 2, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 17, 18, 19, 20, 21, 22, 23, 24]);
        assert_eq!(Header::decode(&message), Err(HeaderError::Short(20)));
        message.push(0xFF);
        assert_eq!(Header::decode(&message), Ok(header));
    }

    #[test]
    fn what_the_version_does_not_have_is_refused() {
        for (at, value, error) in [
            (0, 0, HeaderError::Version(0)),
            (0, 2, HeaderError::Version(2)),
            (1, 0, HeaderError::Kind(0)),
            (1, 4, HeaderError::Kind(4)),
            (2, 2, HeaderError::Flags(2)),
            (2, 0x81, HeaderError::Flags(0x81)),
            (3, 1, HeaderError::Reserved(1)),
        ] {
            let mut message = [1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
            message[at] = value;
            assert_eq!(Header::decode(&message), Err(error));
        }
        let mut jpeg =
            Header { codec: Codec::Jpeg, is_key: false, sequence: 1, captured_us: 0 }.encode().to_vec();
        jpeg.push(0);
        assert!(Header::decode(&jpeg).expect("a JPEG is a key frame").is_key);
        jpeg[2] = 0;
        assert_eq!(Header::decode(&jpeg), Err(HeaderError::Flags(0)));
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_the_same(message in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(header) = Header::decode(&message) {
                prop_assert_eq!(&header.encode()[..], &message[..HEADER_LEN]);
            }
        }

        #[test]
        fn whatever_is_written_is_read(
            codec in 0..3usize, is_key: bool, sequence: u64, captured_us: u64, data in proptest::collection::vec(any::<u8>(), 1..9)
        ) {
            let codec = Codec::ALL[codec];
            let header = Header { codec, is_key: is_key || codec == Codec::Jpeg, sequence, captured_us };
            let message = [&header.encode()[..], &data].concat();
            prop_assert_eq!(Header::decode(&message), Ok(header));
        }
    }
}
