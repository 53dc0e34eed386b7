//! STUN messages and channel data on a stream (RFC 8656 section 12.5, RFC 8489 section 6.2.2).
//!
//! On a datagram transport a message ends with its datagram. On a stream both kinds tell their length in their first
//! four bytes, and channel data is padded to a multiple of four bytes, which its length does not count.

use bytes::{Buf, Bytes, BytesMut};

use crate::ice::stun;

/// Bytes before the data of a channel message (RFC 8656 section 12.4).
const CHANNEL_HEADER: usize = 4;
/// The longest message: a STUN header and the most that its length can say.
#[cfg(test)]
const MAX_FRAME: usize = stun::HEADER + u16::MAX as usize;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameKind {
    /// A STUN message.
    Stun,
    /// Data of a channel: most of the media.
    Channel,
}

/// Bytes that are neither, after which nothing on the stream has a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server sent {0:#04x} where a STUN message or channel data should begin; is it a TURN server?")]
pub struct FrameError(u8);

/// What a message that begins with these bytes is, and its length without padding; `None` for what begins like
/// neither.
fn measure(head: [u8; 4]) -> Option<(FrameKind, usize)> {
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    match head[0] >> 6 {
        0b00 if length % 4 == 0 => Some((FrameKind::Stun, stun::HEADER + length)),
        0b01 => Some((FrameKind::Channel, CHANNEL_HEADER + length)),
        _ => None,
    }
}

/// Cuts a stream into messages. Holds at most the beginning of one message besides what the caller just pushed.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: BytesMut,
    failed: Option<FrameError>,
}

impl FrameReader {
    /// Takes what the stream brought.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next whole message, as a datagram would hold it: channel data without padding.
    ///
    /// # Errors
    /// [`FrameError`] once the stream makes no sense, from then on always.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let Some(head) = self.buffer.first_chunk() else { return Ok(None) };
        let Some((_, length)) = measure(*head) else {
            let error = FrameError(head[0]);
            self.failed = Some(error);
            self.buffer = BytesMut::new();
            return Err(error);
        };
        let padded = length.next_multiple_of(4);
        if self.buffer.len() < padded {
            return Ok(None);
        }
        let frame = self.buffer.split_to(length).freeze();
        self.buffer.advance(padded - length);
        Ok(Some(frame))
    }

    /// Bytes held for a message that is not whole yet.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }
}

/// A datagram as it goes onto the stream: channel data cut to its length and padded, a STUN message as it is. `None`
/// for what is neither or is not whole.
pub fn frame(datagram: &[u8]) -> Option<(FrameKind, Bytes)> {
    let (kind, length) = measure(*datagram.first_chunk()?)?;
    match kind {
        FrameKind::Stun => (datagram.len() == length).then(|| (kind, Bytes::copy_from_slice(datagram))),
        FrameKind::Channel => {
            let data = datagram.get(..length)?;
            let mut padded = BytesMut::with_capacity(length.next_multiple_of(4));
            padded.extend_from_slice(data);
            padded.resize(length.next_multiple_of(4), 0);
            Some((kind, padded.freeze()))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// A message as a datagram holds it.
    fn datagram(stun: bool, body: &[u8]) -> Vec<u8> {
        let body = if stun { &body[..body.len() / 4 * 4] } else { body };
        let mut bytes = if stun { vec![0x00, 0x01] } else { vec![0x40, 0x01] };
        bytes.extend((body.len() as u16).to_be_bytes());
        if stun {
            bytes.extend([0; 16]);
        }
        bytes.extend(body);
        bytes
    }

    #[test]
    fn channel_data_is_padded_on_the_stream_and_cut_in_datagrams() {
        let (kind, bytes) = frame(&[0x40, 0x00, 0, 5, 1, 2, 3, 4, 5]).expect("a frame");
        assert_eq!((kind, &bytes[..]), (FrameKind::Channel, &[0x40, 0x00, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0][..]));
        // Some clients pad towards UDP, too (RFC 8656 section 12.5 allows it).
        let padded = frame(&[0x40, 0x00, 0, 5, 1, 2, 3, 4, 5, 9, 9, 9]).expect("a frame");
        assert_eq!(padded.1, bytes);
        let mut reader = FrameReader::default();
        reader.push(&bytes[..bytes.len() - 1]);
        assert_eq!(reader.next_frame(), Ok(None), "its padding belongs to it");
        reader.push(&[0]);
        assert_eq!(reader.next_frame(), Ok(Some(Bytes::from_static(&[0x40, 0x00, 0, 5, 1, 2, 3, 4, 5]))));
        assert_eq!(reader.pending(), 0);
    }

    #[test]
    fn what_is_not_whole_is_no_frame() {
        for bad in [&[][..], &[0, 1, 0], &[0x40, 0, 0, 2, 7], &[0, 1, 0, 3, 0, 0, 0, 0], &[0x80, 0, 0, 0]] {
            assert_eq!(frame(bad), None, "{bad:?}");
        }
        assert_eq!(frame(&datagram(true, &[0; 8])[..24]), None, "a cut STUN message");
    }

    #[test]
    fn a_stream_of_something_else_fails_for_good() {
        let mut reader = FrameReader::default();
        reader.push(b"\x80\x60rtp");
        let error = reader.next_frame().expect_err("no frame");
        assert!(error.to_string().contains("0x80"), "{error}");
        reader.push(&datagram(true, &[]));
        assert_eq!(reader.next_frame(), Err(error));
        assert_eq!(reader.pending(), 0);
        // "HTTP/1.1 400": begins like channel data, of 21,584 bytes that never come; the caller's time-out ends it.
        let mut reader = FrameReader::default();
        reader.push(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        assert_eq!(reader.next_frame(), Ok(None));
    }

    proptest! {
        #[test]
        fn messages_survive_any_split_of_the_stream(
            messages in vec((any::<bool>(), vec(any::<u8>(), 0..90)), 0..12),
            cuts in vec(1usize..60, 1..80),
        ) {
            let sent: Vec<Vec<u8>> = messages.iter().map(|(stun, body)| datagram(*stun, body)).collect();
            let stream: Vec<u8> = sent.iter().flat_map(|d| frame(d).expect("a frame").1).collect();
            prop_assert_eq!(stream.len() % 4, 0);
            let (mut reader, mut received, mut rest) = (FrameReader::default(), Vec::new(), &stream[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                rest = later;
                reader.push(now);
                while let Some(message) = reader.next_frame().expect("a good stream") {
                    received.push(message.to_vec());
                }
                prop_assert!(reader.pending() < MAX_FRAME);
            }
            prop_assert_eq!(received, sent);
            prop_assert_eq!(reader.pending(), 0);
        }

        #[test]
        fn any_stream_is_cut_or_refused(bytes in vec(any::<u8>(), 0..300), cut in 1usize..300) {
            let (mut whole, mut pieces) = (FrameReader::default(), FrameReader::default());
            let drain = |reader: &mut FrameReader| std::iter::from_fn(|| reader.next_frame().ok().flatten()).collect::<Vec<_>>();
            whole.push(&bytes);
            let expected = drain(&mut whole);
            let mut got = Vec::new();
            for piece in bytes.chunks(cut) {
                pieces.push(piece);
                got.extend(drain(&mut pieces));
            }
            prop_assert_eq!(got, expected);
            prop_assert_eq!(whole.next_frame(), pieces.next_frame());
        }
    }
}
