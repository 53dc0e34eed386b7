//! The parts of a `multipart/x-mixed-replace` stream, as the cameras of this world write them.

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memmem};

/// Longest line and longest set of part headers.
const MAX_HEAD: usize = 16 << 10;
/// Bytes between parts that are skipped in search of a delimiter.
const MAX_STRAY: usize = 64 << 10;

/// Why a stream cannot be followed any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MultipartError {
    #[error("part headers are longer than {MAX_HEAD} bytes")]
    LongHead,
    #[error("no boundary {0:?} within {MAX_STRAY} bytes")]
    NoBoundary(String),
    #[error("a part is larger than the limit of {0} bytes")]
    LargePart(usize),
    #[error("the stream ended with its closing boundary")]
    Closed,
}

/// Where the parser is.
#[derive(Clone, Copy, Debug)]
enum State {
    /// In search of a delimiter line, with the bytes skipped so far.
    Delimiter(usize),
    /// In part headers, with the length they gave and the bytes they took.
    Headers(Option<usize>, usize),
    /// In a part of known length.
    Sized(usize),
    /// In a part that ends at the next delimiter; the bytes before this have been searched.
    Unsized(usize),
}

/// Cuts a byte stream into parts. Tolerates boundaries with and without their leading dashes and quotes, parts
/// with and without `Content-Length`, bare line feeds, and stray bytes between parts. Never holds more than one part
/// of at most `max_part` bytes and the headers before it beyond what was pushed.
pub(super) struct Multipart {
    /// Without any leading dashes; learnt from the first delimiter if the response did not name it.
    boundary: Vec<u8>,
    max_part: usize,
    buffer: BytesMut,
    state: State,
}

impl Multipart {
    pub(super) fn new(boundary: &str, max_part: usize) -> Self {
        Self {
            boundary: boundary.trim_start_matches('-').as_bytes().to_vec(),
            max_part,
            buffer: BytesMut::new(),
            state: State::Delimiter(0),
        }
    }

    pub(super) fn push(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    /// The next whole part, `None` if more data is needed.
    pub(super) fn next_part(&mut self) -> Result<Option<Bytes>, MultipartError> {
        loop {
            match self.state {
                State::Delimiter(skipped) => {
                    let Some(line) = self.line()? else { return Ok(None) };
                    self.state = self.delimiter(&line, skipped)?;
                }
                State::Headers(length, taken) => {
                    let Some(line) = self.line()? else { return Ok(None) };
                    self.state = self.header(&line, length, taken)?;
                }
                State::Sized(length) => {
                    if self.buffer.len() < length {
                        return Ok(None);
                    }
                    self.state = State::Delimiter(0);
                    return Ok(Some(self.buffer.split_to(length).freeze()));
                }
                State::Unsized(searched) => return self.until_delimiter(searched),
            }
        }
    }

    /// A line without its end; `None` if it is not complete.
    fn line(&mut self) -> Result<Option<Bytes>, MultipartError> {
        let Some(end) = memchr(b'\n', &self.buffer) else {
            return if self.buffer.len() > MAX_HEAD { Err(self.long_line()) } else { Ok(None) };
        };
        let line = self.buffer.split_to(end + 1).freeze();
        let length = line.len() - 1 - usize::from(end > 0 && line[end - 1] == b'\r');
        Ok(Some(line.slice(..length)))
    }

    fn long_line(&self) -> MultipartError {
        match self.state {
            State::Headers(..) => MultipartError::LongHead,
            _ => MultipartError::NoBoundary(String::from_utf8_lossy(&self.boundary).into_owned()),
        }
    }

    fn delimiter(&mut self, line: &[u8], skipped: usize) -> Result<State, MultipartError> {
        let line = line.trim_ascii();
        if let Some(rest) = line.strip_prefix(b"--") {
            let name = trim_dashes_start(rest);
            if self.boundary.is_empty() && !name.is_empty() {
                self.boundary = name.to_vec();
            }
            match name.strip_prefix(&self.boundary[..]) {
                Some(b"") => return Ok(State::Headers(None, 0)),
                Some(b"--") => return Err(MultipartError::Closed),
                _ => {}
            }
        }
        let skipped = skipped + line.len() + 1;
        if skipped > MAX_STRAY {
            return Err(self.long_line());
        }
        Ok(State::Delimiter(skipped))
    }

    fn header(&self, line: &[u8], length: Option<usize>, taken: usize) -> Result<State, MultipartError> {
        if line.is_empty() {
            return match length {
                Some(length) if length > self.max_part => Err(MultipartError::LargePart(self.max_part)),
                Some(length) => Ok(State::Sized(length)),
                None => Ok(State::Unsized(0)),
            };
        }
        let taken = taken + line.len() + 1;
        if taken > MAX_HEAD {
            return Err(MultipartError::LongHead);
        }
        let colon = memchr(b':', line).unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        if name.trim_ascii().eq_ignore_ascii_case(b"content-length") {
            let value = std::str::from_utf8(&value[1..]).ok().and_then(|v| v.trim().parse().ok());
            // A length that is no number is as good as none.
            return Ok(State::Headers(value, taken));
        }
        Ok(State::Headers(length, taken))
    }

    fn until_delimiter(&mut self, searched: usize) -> Result<Option<Bytes>, MultipartError> {
        let needle = [b"--", &self.boundary[..]].concat();
        let Some(found) = memmem::find(&self.buffer[searched..], &needle).map(|at| searched + at) else {
            if self.buffer.len() > self.max_part.saturating_add(needle.len() + MAX_HEAD) {
                return Err(MultipartError::LargePart(self.max_part));
            }
            self.state = State::Unsized((self.buffer.len() + 1).saturating_sub(needle.len()));
            return Ok(None);
        };
        if found > self.max_part.saturating_add(MAX_HEAD) {
            return Err(MultipartError::LargePart(self.max_part));
        }
        let part = self.buffer.split_to(found).freeze();
        self.state = State::Delimiter(0);
        // The line end before the delimiter belongs to it, and so do dashes beyond the two that were looked for.
        let end = part.iter().rposition(|&b| b != b'-').map_or(0, |at| at + 1);
        let part = part.slice(..end);
        let part = match &part[..] {
            [.., b'\r', b'\n'] => part.slice(..part.len() - 2),
            [.., b'\n'] => part.slice(..part.len() - 1),
            _ => part,
        };
        Ok(Some(part))
    }
}

fn trim_dashes_start(mut text: &[u8]) -> &[u8] {
    while let Some(rest) = text.strip_prefix(b"-") {
        text = rest;
    }
    text
}

/// The `boundary` parameter of a content type; `None` unless the type is `multipart/...`, empty if it is missing.
pub(super) fn boundary_of(content_type: &str) -> Option<String> {
    let mut words = content_type.split(';');
    let kind = words.next()?.trim();
    kind.get(..10).filter(|head| head.eq_ignore_ascii_case("multipart/"))?;
    let boundary = words.find_map(|word| {
        let (key, value) = word.split_once('=')?;
        key.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
    });
    Some(boundary.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `stream` in pieces of `step` bytes.
    fn parts(boundary: &str, stream: &[u8], step: usize) -> (Vec<Vec<u8>>, Option<MultipartError>) {
        let mut parser = Multipart::new(boundary, 1000);
        let mut found = Vec::new();
        for piece in stream.chunks(step) {
            parser.push(piece);
            loop {
                match parser.next_part() {
                    Ok(Some(part)) => found.push(part.to_vec()),
                    Ok(None) => break,
                    Err(error) => return (found, Some(error)),
                }
            }
        }
        (found, None)
    }

    const SIZED: &[u8] = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 5\r\n\r\nab\r\nc\r\n--frame\r\ncontent-length:2\r\n\r\nde\r\n";
    const UNSIZED: &[u8] =
        b"--frame\r\nContent-Type: image/jpeg\r\n\r\nab\r\nc\r\n--frame\r\n\r\nde\r\n--frame\r\n";

    #[test]
    fn parts_come_out_whatever_the_pieces() {
        for stream in [SIZED, UNSIZED] {
            for step in 1..stream.len() {
                let (found, error) = parts("frame", stream, step);
                assert_eq!(found, [&b"ab\r\nc"[..], b"de"], "step {step}");
                assert_eq!(error, None);
            }
        }
    }

    #[test]
    fn quirks_are_tolerated() {
        // The header gives the boundary with its dashes, or not at all; lines end in a bare line feed; dashes
        // beyond two stand before the delimiter.
        for boundary in ["--frame", "frame", ""] {
            assert_eq!(parts(boundary, SIZED, 7).0.len(), 2, "{boundary}");
            assert_eq!(parts(boundary, UNSIZED, 7).0.len(), 2, "{boundary}");
        }
        let bare: Vec<u8> = UNSIZED.iter().copied().filter(|&b| b != b'\r').collect();
        assert_eq!(parts("frame", &bare, 3).0, [&b"ab\nc"[..], b"de"]);
        let dashes = b"----frame\r\n\r\nab\r\n----frame\r\n\r\n";
        assert_eq!(parts("--frame", dashes, 4).0, [b"ab"]);
        let stray = b"\r\n\r\nwelcome\r\n--frame\r\nContent-Length: 1\r\n\r\nXyz\r\n--frame\r\nContent-Length: 1\r\n\r\nZ";
        assert_eq!(parts("frame", stray, 1000).0, [b"X", b"Z"]);
        let odd = b"--frame\r\nContent-Length: many\r\n\r\nabc\r\n--frame\r\n";
        assert_eq!(parts("frame", odd, 5).0, [b"abc"]);
    }

    #[test]
    fn the_closing_boundary_ends_the_stream() {
        let (found, error) = parts("frame", b"--frame\r\n\r\nab\r\n--frame--\r\n", 6);
        assert_eq!((found.len(), error), (1, Some(MultipartError::Closed)));
    }

    #[test]
    fn nothing_grows_without_bound() {
        let large = b"--frame\r\nContent-Length: 1001\r\n\r\n";
        assert_eq!(parts("frame", large, 9).1, Some(MultipartError::LargePart(1000)));
        let endless = [b"--frame\r\n\r\n".to_vec(), vec![b'x'; 40_000]].concat();
        assert_eq!(parts("frame", &endless, 500).1, Some(MultipartError::LargePart(1000)));
        let head = [b"--frame\r\n".to_vec(), b"X-Y: z\r\n".repeat(9000)].concat();
        assert_eq!(parts("frame", &head, 500).1, Some(MultipartError::LongHead));
        for noise in [vec![b'x'; 90_000], b"noise\n".repeat(20_000)] {
            assert_eq!(parts("frame", &noise, 500).1, Some(MultipartError::NoBoundary("frame".into())));
        }
    }

    #[test]
    fn the_boundary_parameter_is_found() {
        let cases = [
            ("multipart/x-mixed-replace; boundary=frame", Some("frame")),
            ("Multipart/X-Mixed-Replace;boundary=\"--my frame\"", Some("--my frame")),
            ("multipart/x-mixed-replace", Some("")),
            ("image/jpeg", None),
        ];
        for (text, expected) in cases {
            assert_eq!(boundary_of(text).as_deref(), expected, "{text}");
        }
    }
}
