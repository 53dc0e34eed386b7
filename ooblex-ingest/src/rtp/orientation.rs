//! Coordination of video orientation: the header extension `urn:3gpp:video-orientation`.
//!
//! Source: 3GPP TS 26.114 section 7.4.5 and RFC 8285. The extension carries one byte `0000CFRR`: camera (back or
//! front), horizontal flip, and the rotation that the receiver makes good.

use ooblex_core::Rotation;

/// The URI by which SDP names the extension.
pub const URI: &str = "urn:3gpp:video-orientation";

/// How a picture must be turned to stand upright.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Orientation {
    /// Quarter turns clockwise that bring the decoded picture upright, 0..=3.
    pub quarter_turns: u8,
    /// Whether the picture is to be mirrored left to right, after it was turned.
    pub mirrored: bool,
}

impl Orientation {
    /// Reads the byte of the extension; reserved bits and which camera it is do not matter.
    pub const fn from_byte(byte: u8) -> Self {
        Self { quarter_turns: byte & 0b11, mirrored: byte & 0b100 != 0 }
    }

    /// The turn to make before mirroring.
    pub const fn rotation(self) -> Rotation {
        match self.quarter_turns % 4 {
            1 => Rotation::Clockwise90,
            2 => Rotation::Half,
            3 => Rotation::Clockwise270,
            _ => Rotation::None,
        }
    }

    /// Whether nothing is to be done.
    pub const fn is_upright(self) -> bool {
        self.quarter_turns == 0 && !self.mirrored
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_read() {
        for byte in 0..=u8::MAX {
            let orientation = Orientation::from_byte(byte);
            assert_eq!(orientation.quarter_turns, byte % 4);
            assert_eq!(orientation.mirrored, byte / 4 % 2 == 1);
        }
    }

    #[test]
    fn a_phone_held_upright_sends_one_quarter_turn() {
        // Front camera, rotated by 90 degrees.
        assert_eq!(Orientation::from_byte(0b1001), Orientation { quarter_turns: 1, mirrored: false });
        assert!(Orientation::from_byte(0b1000).is_upright());
        assert!(!Orientation::from_byte(0b0100).is_upright());
    }
}
