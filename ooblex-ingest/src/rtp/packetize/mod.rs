//! From compressed pictures to RTP payloads: the way out.

mod h264;
mod vp8;

use bytes::Bytes;

use crate::decode::VideoCodec;

/// Bytes of an RTP payload. With RTP header, extensions, SRTP tag, UDP and IP it stays below 1,280 bytes, what every
/// IPv6 link carries, through a TURN relay, too.
pub const MAX_PAYLOAD: usize = 1_140;

/// Splits the pictures of one viewer into RTP payloads.
///
/// ```
/// use bytes::Bytes;
/// use ooblex_ingest::decode::VideoCodec;
/// use ooblex_ingest::rtp::{MAX_PAYLOAD, Packetizer};
///
/// let mut packetizer = Packetizer::new(VideoCodec::Vp8).expect("a codec that can be sent");
/// let payloads = packetizer.split(&Bytes::from(vec![0x10; 3_000]));
/// assert_eq!(payloads.len(), 3);
/// assert!(payloads.iter().all(|payload| payload.len() <= MAX_PAYLOAD));
/// ```
#[derive(Debug)]
pub struct Packetizer(Format);

#[derive(Debug)]
enum Format {
    H264,
    Vp8 { picture_id: u16 },
}

impl Packetizer {
    /// A packetizer for `codec`; `None` for codecs that are received only.
    pub fn new(codec: VideoCodec) -> Option<Self> {
        match codec {
            VideoCodec::H264 => Some(Self(Format::H264)),
            VideoCodec::Vp8 => Some(Self(Format::Vp8 { picture_id: 0 })),
            VideoCodec::Vp9 | VideoCodec::Av1 => None,
        }
    }

    /// The payloads of one picture (H.264: an access unit in Annex B form), in order; the last one's packet gets the
    /// marker bit. None for a picture without content.
    pub fn split(&mut self, picture: &Bytes) -> Vec<Bytes> {
        match &mut self.0 {
            Format::H264 => h264::split(picture, MAX_PAYLOAD),
            Format::Vp8 { picture_id } => {
                let payloads = vp8::split(picture, *picture_id, MAX_PAYLOAD);
                if !payloads.is_empty() {
                    *picture_id = (*picture_id + 1) & vp8::PICTURE_IDS;
                }
                payloads
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use ooblex_core::testing::Random;

    use super::*;
    use crate::rtp::{Assembler, AssemblerConfig, Packet};

    /// Sends pictures through a packetizer and an assembler.
    fn through(codec: VideoCodec, pictures: &[Bytes]) -> Vec<Bytes> {
        let mut packetizer = Packetizer::new(codec).expect("can be sent");
        let mut assembler = Assembler::new(codec, AssemblerConfig::default());
        let (now, mut sequence, mut out) = (Instant::now(), 65_530u16, Vec::new());
        for (n, picture) in pictures.iter().enumerate() {
            let payloads = packetizer.split(picture);
            let last = payloads.len() - 1;
            for (index, payload) in payloads.into_iter().enumerate() {
                assert!(payload.len() <= MAX_PAYLOAD, "{} bytes", payload.len());
                let timestamp = 3_000 * n as u32;
                assembler.push(Packet { sequence, timestamp, marker: index == last, payload }, now);
                sequence = sequence.wrapping_add(1);
            }
            out.extend(std::iter::from_fn(|| assembler.pop(now)).map(|unit| unit.data));
        }
        out
    }

    #[test]
    fn a_vp8_picture_of_any_size_comes_out_as_it_went_in() {
        let mut random = Random::new(3);
        let pictures: Vec<Bytes> = (0..300)
            .map(|n| {
                // Frame tag of a key frame of 16x16 pixels, or of one that refers to others.
                let head: &[u8] =
                    if n == 0 { &[0x10, 0, 0, 0x9D, 0x01, 0x2A, 16, 0, 16, 0] } else { &[0x11, 0, 0] };
                let rest = (0..random.below(4_000)).map(|_| random.below(256) as u8);
                head.iter().copied().chain(rest).collect()
            })
            .collect();
        assert_eq!(through(VideoCodec::Vp8, &pictures), pictures);
    }

    #[test]
    fn an_h264_picture_of_any_size_comes_out_as_it_went_in() {
        let mut random = Random::new(4);
        let parameters: &[u8] = &[
            0, 0, 0, 1, 0x67, 0x42, 0xC0, 0x1E, 0xD9, 0x00, 0xA0, 0x47, 0xFE, 0xC8, 0, 0, 0, 1, 0x68, 0xCE,
            0x38, 0x80,
        ];
        for size in [1, 20, MAX_PAYLOAD - 1, MAX_PAYLOAD, MAX_PAYLOAD + 1, 2 * MAX_PAYLOAD, 9_999] {
            let mut picture = parameters.to_vec();
            picture.extend([0, 0, 0, 1, 0x65, 0xB8]);
            picture.extend((0..size).map(|_| 1 + random.below(255) as u8));
            let picture = Bytes::from(picture);
            assert_eq!(
                through(VideoCodec::H264, std::slice::from_ref(&picture)),
                std::slice::from_ref(&picture),
                "{size} bytes"
            );
        }
    }

    #[test]
    fn nothing_is_sent_of_nothing_and_not_every_codec_can_be_sent() {
        for codec in [VideoCodec::Vp8, VideoCodec::H264] {
            assert!(Packetizer::new(codec).expect("can be sent").split(&Bytes::new()).is_empty());
        }
        assert!(Packetizer::new(VideoCodec::Vp9).is_none() && Packetizer::new(VideoCodec::Av1).is_none());
    }
}
