//! Parts of a `multipart/x-mixed-replace` response, built once a frame and shared by all viewers.
//!
//! ```text
//! --frame\r\n                                  <- begins the response
//! Content-Type: image/jpeg\r\n                 <- head of part 1
//! Content-Length: 1234\r\n ... \r\n\r\n
//! <jpeg>
//! \r\n--frame\r\n                              <- leaves together with the picture before it
//! Content-Type: image/jpeg\r\n                 <- head of part 2
//! ...
//! \r\n--frame\r\n
//! --frame--\r\n                                <- only at the very end
//! ```
//!
//! The delimiter leaves with the picture before it, so that readers which wait for it need not wait for the next
//! picture. It must be the whole line: a part that begins with an empty line has no headers (RFC 2046, 5.1.1).
//!
//! Chromium wants even more: it shows a picture only when the *headers* of the next part are complete. Its viewers
//! get [`Framing::Ahead`], in which those leave with the picture, too, and say no more than the type.

use std::fmt::Write as _;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use ooblex_core::{Clearance, Frame, StreamStats};

/// The boundary between parts.
pub const BOUNDARY: &str = "frame";
/// Value of the response's `Content-Type`.
pub const CONTENT_TYPE: &str = "multipart/x-mixed-replace; boundary=frame";

const PREAMBLE: &[u8] = b"--frame\r\n";
const DELIMITER: &[u8] = b"\r\n--frame\r\n";
const CLOSING: &[u8] = b"--frame--\r\n";
const PREAMBLE_AHEAD: &[u8] = b"--frame\r\nContent-Type: image/jpeg\r\n\r\n";
const DELIMITER_AHEAD: &[u8] = b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n";
const CLOSING_AHEAD: &[u8] = b"\r\n--frame--\r\n";

/// How much of the next part leaves together with a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// The delimiter. Every part has a length and says when it was taken.
    #[default]
    Delimited,
    /// The delimiter and all headers, which are the type alone, since nothing else is known yet.
    Ahead,
}

/// What a picture says about itself, on parts and snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PictureInfo {
    /// Number within the stream; 0 for a placeholder.
    pub sequence: u64,
    /// When it was taken, or received if that is not known: milliseconds since 1970.
    pub captured_ms: u64,
    /// From received to ready for sending, in milliseconds.
    pub latency_ms: u64,
}

impl PictureInfo {
    /// What is said of `frame` when it is ready at `now`; `wall` is the same moment on the wall clock.
    pub fn of(frame: &Frame, now: Instant, wall: SystemTime) -> Self {
        let age = now.saturating_duration_since(frame.received);
        let captured = frame.captured.or_else(|| wall.checked_sub(age)).unwrap_or(wall);
        Self { sequence: frame.sequence, captured_ms: unix_ms(captured), latency_ms: rounded_ms(age) }
    }

    /// What is said of a placeholder made at `wall`.
    pub(crate) fn placeholder(wall: SystemTime) -> Self {
        Self { sequence: 0, captured_ms: unix_ms(wall), latency_ms: 0 }
    }

    /// The values with the names of their headers.
    pub fn headers(&self) -> [(&'static str, u64); 3] {
        [
            ("X-Ooblex-Sequence", self.sequence),
            ("X-Ooblex-Captured-Ms", self.captured_ms),
            ("X-Ooblex-Latency-Ms", self.latency_ms),
        ]
    }
}

fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

fn rounded_ms(duration: Duration) -> u64 {
    ((duration.as_micros() + 500) / 1000) as u64
}

/// One part with everything that has to be written for it. Immutable and shared; the picture is never copied.
#[derive(Debug)]
pub(crate) struct Part {
    head: Bytes,
    jpeg: Bytes,
    tail: &'static [u8],
    pub(crate) info: PictureInfo,
    /// Place among the parts of one stream; a later one is never replaced by an earlier one.
    pub(crate) order: u64,
    /// Width and height of the picture.
    pub(crate) size: (u32, u32),
    /// When the picture came to be, for deciding how old it is.
    pub(crate) at: Instant,
    /// When the part was ready.
    pub(crate) made: Instant,
    /// Where the time until it was sent is recorded.
    pub(crate) stats: Option<Arc<StreamStats>>,
    clearance: Clearance,
}

impl Part {
    /// A part with a picture of `size` that came to be `at` and is ready `made`.
    pub(crate) fn new(
        jpeg: Bytes,
        info: PictureInfo,
        size: (u32, u32),
        at: Instant,
        made: Instant,
        stats: Option<Arc<StreamStats>>,
    ) -> Self {
        let mut head = String::with_capacity(160);
        // Writing to a string cannot fail.
        let _ = write!(head, "Content-Type: image/jpeg\r\nContent-Length: {}\r\n", jpeg.len());
        for (name, value) in info.headers() {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        let clearance = Clearance::default();
        Self { head: head.into(), jpeg, tail: DELIMITER, info, order: 0, size, at, made, stats, clearance }
    }

    /// Sets the place among the parts of its stream.
    pub(crate) fn with_order(self, order: u64) -> Self {
        Self { order, ..self }
    }

    /// Sets until when it may be shown.
    pub(crate) fn with_clearance(self, clearance: Clearance) -> Self {
        Self { clearance, ..self }
    }

    /// Whether it may be shown. What has begun to be written is written to its end.
    pub(crate) fn may_be_shown(&self) -> bool {
        self.clearance.holds()
    }

    /// The beginning of a response.
    pub(crate) fn preamble(framing: Framing, at: Instant) -> Self {
        let bytes = match framing {
            Framing::Delimited => PREAMBLE,
            Framing::Ahead => PREAMBLE_AHEAD,
        };
        Self::bare(Bytes::new(), bytes, at)
    }

    /// The end of a response. Where headers went ahead, the part that they promised is `last` again: an empty one
    /// would blank the picture, which is right only where it may not be shown any more.
    pub(crate) fn closing(framing: Framing, last: Option<&Self>, at: Instant) -> Self {
        let last = last.filter(|last| framing == Framing::Ahead && last.may_be_shown());
        let bytes = match framing {
            Framing::Delimited => CLOSING,
            Framing::Ahead => CLOSING_AHEAD,
        };
        let (jpeg, clearance) =
            last.map(|last| (last.jpeg.clone(), last.clearance.clone())).unwrap_or_default();
        Self::bare(jpeg, bytes, at).with_clearance(clearance)
    }

    /// Bytes that are the same in every framing: they have no head.
    fn bare(jpeg: Bytes, tail: &'static [u8], at: Instant) -> Self {
        Self {
            head: Bytes::new(),
            jpeg,
            tail,
            info: PictureInfo { sequence: 0, captured_ms: 0, latency_ms: 0 },
            order: 0,
            size: (0, 0),
            at,
            made: at,
            stats: None,
            clearance: Clearance::default(),
        }
    }

    /// Whether this is a picture, not the beginning or the end.
    pub(crate) fn is_picture(&self) -> bool {
        !self.head.is_empty()
    }

    /// The picture.
    pub(crate) fn jpeg(&self) -> &Bytes {
        &self.jpeg
    }

    /// Bytes to write.
    pub(crate) fn len(&self, framing: Framing) -> usize {
        let (head, tail) = self.frame(framing);
        head.len() + self.jpeg.len() + tail.len()
    }

    /// What is left to write after `written` bytes, for one vectored write.
    pub(crate) fn slices(&self, framing: Framing, written: usize) -> [IoSlice<'_>; 3] {
        let (head, tail) = self.frame(framing);
        let mut skip = written;
        [head, &self.jpeg[..], tail].map(|bytes| {
            let from = skip.min(bytes.len());
            skip -= from;
            IoSlice::new(&bytes[from..])
        })
    }

    /// The same bytes in pieces that share the picture.
    pub(crate) fn pieces(&self, framing: Framing) -> [Bytes; 3] {
        let (head, tail) = self.frame(framing);
        let head = if head.is_empty() { Bytes::new() } else { self.head.clone() };
        [head, self.jpeg.clone(), Bytes::from_static(tail)]
    }

    /// What goes before and behind the picture.
    fn frame(&self, framing: Framing) -> (&[u8], &'static [u8]) {
        match framing {
            Framing::Ahead if self.is_picture() => (&[], DELIMITER_AHEAD),
            _ => (&self.head, self.tail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ooblex_core::{BufferPool, Image, Picture, StreamId};

    const BOTH: [Framing; 2] = [Framing::Delimited, Framing::Ahead];

    fn flat(part: &Part, framing: Framing, written: usize) -> Vec<u8> {
        part.slices(framing, written).iter().flat_map(|s| s.to_vec()).collect()
    }

    #[test]
    fn a_part_is_these_bytes() {
        let info = PictureInfo { sequence: 17, captured_ms: 1_700_000_000_123, latency_ms: 4 };
        let now = Instant::now();
        let part = Part::new(Bytes::from_static(b"JPEG"), info, (1, 1), now, now, None);
        let want = "Content-Type: image/jpeg\r\nContent-Length: 4\r\nX-Ooblex-Sequence: 17\r\n\
                    X-Ooblex-Captured-Ms: 1700000000123\r\nX-Ooblex-Latency-Ms: 4\r\n\r\nJPEG\r\n--frame\r\n";
        let whole = Framing::Delimited;
        assert_eq!(String::from_utf8(flat(&part, whole, 0)).expect("text"), want);
        assert_eq!(part.len(whole), want.len());
        assert_eq!(part.pieces(whole).concat(), want.as_bytes());
        assert_eq!(flat(&Part::preamble(whole, now), whole, 0), b"--frame\r\n");
        assert_eq!(flat(&Part::closing(whole, Some(&part), now), whole, 0), b"--frame--\r\n");
    }

    #[test]
    fn with_headers_ahead_the_next_part_is_complete_but_for_its_picture() {
        let info = PictureInfo { sequence: 17, captured_ms: 1, latency_ms: 4 };
        let (now, ahead) = (Instant::now(), Framing::Ahead);
        let part = Part::new(Bytes::from_static(b"JPEG"), info, (1, 1), now, now, None);
        let response = [
            flat(&Part::preamble(ahead, now), ahead, 0),
            flat(&part, ahead, 0),
            flat(&Part::closing(ahead, Some(&part), now), ahead, 0),
        ];
        let head = "--frame\r\nContent-Type: image/jpeg\r\n\r\n";
        let want = format!("{head}JPEG\r\n{head}JPEG\r\n--frame--\r\n");
        assert_eq!(String::from_utf8(response.concat()).expect("text"), want);
        assert_eq!(part.len(ahead), part.pieces(ahead).concat().len());
    }

    #[test]
    fn writing_can_stop_and_go_on_at_every_byte() {
        let info = PictureInfo { sequence: 1, captured_ms: 2, latency_ms: 3 };
        let now = Instant::now();
        let part = Part::new(Bytes::from_static(b"some picture"), info, (1, 1), now, now, None);
        for framing in BOTH {
            let whole = flat(&part, framing, 0);
            for written in 0..=whole.len() {
                assert_eq!(flat(&part, framing, written), whole[written..], "after {written}");
            }
        }
    }

    #[test]
    fn capture_time_and_latency_follow_the_clocks() {
        let pool = BufferPool::default();
        let received = Instant::now();
        let picture = Picture::new(Image::black(2, 2, &pool).expect("size"), pool);
        let frame = Frame::new(StreamId::default(), 9, received, picture);
        let wall = SystemTime::UNIX_EPOCH + Duration::from_millis(10_000);
        let now = received + Duration::from_micros(2_600);
        let info = PictureInfo::of(&frame, now, wall);
        assert_eq!((info.sequence, info.captured_ms, info.latency_ms), (9, 9_997, 3));
        let frame = frame.with_captured(Some(SystemTime::UNIX_EPOCH + Duration::from_millis(5)));
        assert_eq!(PictureInfo::of(&frame, now, wall).captured_ms, 5);
    }
}
