//! SDP fragments: the bodies of `PATCH` requests and of their answers (RFC 8840 section 9, RFC 9725 section 4.3).

use std::collections::HashSet;
use std::fmt::Write as _;

use crate::webrtc::{Fragment, IceCredentials, Restarted, TrickledCandidate};

/// Longest fragment that is read, in bytes: some hundred candidates.
pub(super) const MAX_BYTES: usize = 32 * 1024;
/// Longest line, in bytes.
const MAX_LINE: usize = 1024;
/// Most `m=` lines; candidates of a bundle all belong to the first one.
const MAX_SECTIONS: usize = 64;
/// Most candidates. A browser on a host with ten interfaces has about sixty.
const MAX_CANDIDATES: usize = 256;
/// Bounds of a user name fragment and a password, in characters (RFC 8839 section 5.4).
const UFRAG: std::ops::RangeInclusive<usize> = 4..=256;
const PASSWORD: std::ops::RangeInclusive<usize> = 22..=256;

/// Why a text is no SDP fragment. Line numbers count from 1. Messages do not repeat the text, which may hold secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FragmentError {
    /// There is nothing.
    #[error("the fragment is empty; send a=ice-ufrag, a=ice-pwd and a=candidate lines")]
    Empty,
    /// More bytes than are read.
    #[error("the fragment has {bytes} bytes, limit {MAX_BYTES}")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// More lines of one sort than are read.
    #[error("line {line} is one {what} too many, limit {limit}")]
    TooMany {
        /// The line.
        line: usize,
        /// What there is too much of.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
    /// A line that is wrong.
    #[error("line {line}: {what}")]
    Line {
        /// The line.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Credentials that are not a pair.
    #[error("ice-ufrag and ice-pwd belong together; the fragment has only {present}")]
    HalfCredentials {
        /// The attribute that is there.
        present: &'static str,
    },
}

/// Reads a fragment. Lines end with CRLF or LF; attributes and line types that matter to others are skipped, so a
/// whole session description is a fragment, too. Every candidate counts once, whichever sections of the bundle repeat
/// it; one that names another user name fragment than the fragment itself is of another generation and left out.
///
/// ```
/// use ooblex_ingest::whip::parse_fragment;
/// let text = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n\
///             a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host\r\na=end-of-candidates\r\n";
/// let fragment = parse_fragment(text.as_bytes()).unwrap();
/// assert_eq!(fragment.credentials.unwrap().ufrag, "EsAw");
/// assert_eq!(fragment.candidates[0].mid.as_deref(), Some("0"));
/// assert!(fragment.end_of_candidates);
/// ```
///
/// # Errors
/// [`FragmentError`]: what is not SDP, or more of it than anyone needs.
pub fn parse_fragment(text: &[u8]) -> Result<Fragment, FragmentError> {
    if text.len() > MAX_BYTES {
        return Err(FragmentError::TooLarge { bytes: text.len() });
    }
    let mut reader = Reader::default();
    for (index, line) in text.split(|&b| b == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.trim_ascii().is_empty() {
            reader.take(index + 1, line)?;
        }
    }
    reader.finish()
}

/// Writes the server's side of an ICE restart as RFC 8840 section 9 has it, each line ended by CRLF.
pub fn print_fragment(restarted: &Restarted) -> String {
    let IceCredentials { ufrag, pwd } = &restarted.credentials;
    // Port, protocol and format mean nothing here; these are what RFC 8840 section 9 asks for.
    let media = restarted.media.split(' ').next().unwrap_or_default();
    let mut text = format!(
        "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\nm={media} 9 RTP/AVP 0\r\na=mid:{}\r\n",
        restarted.mid
    );
    for candidate in &restarted.candidates {
        // Writing to a string cannot fail.
        let _ = write!(text, "a={candidate}\r\n");
    }
    text + "a=end-of-candidates\r\n"
}

#[derive(Default)]
struct Reader {
    ufrag: Option<String>,
    pwd: Option<String>,
    /// With the places of their sections.
    candidates: Vec<(usize, Line)>,
    seen: HashSet<String>,
    /// Of every section; the first one is what comes before any `m=` line.
    mids: Vec<Option<String>>,
    lines: usize,
    end_of_candidates: bool,
    any: bool,
}

/// A candidate attribute, and the user name fragment that it names.
struct Line {
    attribute: String,
    ufrag: Option<String>,
}

impl Reader {
    fn take(&mut self, number: usize, line: &[u8]) -> Result<(), FragmentError> {
        let wrong = |what| FragmentError::Line { line: number, what };
        if line.len() > MAX_LINE {
            return Err(FragmentError::TooMany { line: number, what: "byte in a line", limit: MAX_LINE });
        }
        let text = std::str::from_utf8(line).map_err(|_| wrong("not UTF-8"))?;
        if text.chars().any(|c| c.is_control() && c != '\t') {
            return Err(wrong("a control character"));
        }
        let Some((kind @ [b'a'..=b'z'], rest)) = text.split_once('=').map(|(k, r)| (k.as_bytes(), r)) else {
            return Err(wrong("not of the form x=value"));
        };
        self.any = true;
        match kind {
            b"m" => self.media(number, rest),
            b"a" => self.attribute(number, rest),
            _ => Ok(()),
        }
    }

    fn media(&mut self, number: usize, rest: &str) -> Result<(), FragmentError> {
        let media = rest.split(' ').next().unwrap_or_default();
        if media.is_empty() || !media.bytes().all(is_token) {
            return Err(FragmentError::Line { line: number, what: "m= without a kind of media" });
        }
        if self.mids.len() >= MAX_SECTIONS {
            return Err(FragmentError::TooMany { line: number, what: "m= line", limit: MAX_SECTIONS });
        }
        self.mids.push(None);
        Ok(())
    }

    fn attribute(&mut self, number: usize, rest: &str) -> Result<(), FragmentError> {
        let wrong = |what| FragmentError::Line { line: number, what };
        let (name, value) = rest.split_once(':').unwrap_or((rest, ""));
        match name {
            "ice-ufrag" => set(&mut self.ufrag, value, &UFRAG).map_err(|same| {
                wrong(if same {
                    "a second, different ice-ufrag"
                } else {
                    "ice-ufrag is not 4 to 256 ice-chars"
                })
            }),
            "ice-pwd" => set(&mut self.pwd, value, &PASSWORD).map_err(|same| {
                wrong(if same { "a second, different ice-pwd" } else { "ice-pwd is not 22 to 256 ice-chars" })
            }),
            "end-of-candidates" => {
                self.end_of_candidates = true;
                Ok(())
            }
            "mid" => {
                if value.is_empty() || !value.bytes().all(is_token) {
                    return Err(wrong("mid is not a token"));
                }
                let section = self.section();
                match &self.mids[section] {
                    Some(mid) if mid != value => Err(wrong("a second mid in one section")),
                    _ => {
                        self.mids[section] = Some(value.to_owned());
                        Ok(())
                    }
                }
            }
            "candidate" => self.candidate(number, value),
            _ => Ok(()),
        }
    }

    fn candidate(&mut self, number: usize, value: &str) -> Result<(), FragmentError> {
        let ufrag = read_candidate(value).map_err(|what| FragmentError::Line { line: number, what })?;
        self.lines += 1;
        if self.lines > MAX_CANDIDATES {
            return Err(FragmentError::TooMany { line: number, what: "candidate", limit: MAX_CANDIDATES });
        }
        if self.seen.insert(value.to_owned()) {
            let line = Line { attribute: format!("candidate:{value}"), ufrag: ufrag.map(str::to_owned) };
            let section = self.section();
            self.candidates.push((section, line));
        }
        Ok(())
    }

    /// The section that a line belongs to.
    fn section(&mut self) -> usize {
        if self.mids.is_empty() {
            self.mids.push(None);
        }
        self.mids.len() - 1
    }

    fn finish(self) -> Result<Fragment, FragmentError> {
        if !self.any {
            return Err(FragmentError::Empty);
        }
        let credentials = match (self.ufrag, self.pwd) {
            (Some(ufrag), Some(pwd)) => Some(IceCredentials { ufrag, pwd }),
            (None, None) => None,
            (Some(_), None) => return Err(FragmentError::HalfCredentials { present: "ice-ufrag" }),
            (None, Some(_)) => return Err(FragmentError::HalfCredentials { present: "ice-pwd" }),
        };
        let of_this_generation = |line: &Line| match (&line.ufrag, &credentials) {
            (Some(named), Some(credentials)) => *named == credentials.ufrag,
            _ => true,
        };
        let candidates = self.candidates.into_iter().filter(|(_, line)| of_this_generation(line));
        let candidates = candidates
            .map(|(section, line)| TrickledCandidate {
                mid: self.mids[section].clone(),
                candidate: line.attribute,
            })
            .collect();
        Ok(Fragment { credentials, candidates, end_of_candidates: self.end_of_candidates })
    }
}

/// Sets a credential. `Err(true)`: another value is there already; `Err(false)`: it is none.
fn set(
    place: &mut Option<String>,
    value: &str,
    length: &std::ops::RangeInclusive<usize>,
) -> Result<(), bool> {
    if !length.contains(&value.len()) || !value.bytes().all(is_ice_char) {
        return Err(false);
    }
    match place {
        Some(before) if before != value => Err(true),
        _ => {
            *place = Some(value.to_owned());
            Ok(())
        }
    }
}

/// Checks the shape of a candidate (RFC 8839 section 5.1) and finds the user name fragment among its extensions.
/// Transports, types and host names that nobody here can use are well-formed all the same: they are to be skipped
/// silently (RFC 9725 section 4.3).
fn read_candidate(value: &str) -> Result<Option<&str>, &'static str> {
    let mut words = value.split(' ');
    let mut word = |what| words.next().filter(|w| !w.is_empty()).ok_or(what);
    let foundation = word("candidate without a foundation")?;
    if foundation.len() > 32 || !foundation.bytes().all(is_ice_char) {
        return Err("the candidate's foundation is not 1 to 32 ice-chars");
    }
    let number = |text: &str, limit: u32| {
        let digits = !text.is_empty() && text.len() <= 10 && text.bytes().all(|b| b.is_ascii_digit());
        digits && text.parse::<u32>().is_ok_and(|n| n <= limit)
    };
    if !number(word("candidate without a component")?, 256) {
        return Err("the candidate's component is not a number up to 256");
    }
    if !word("candidate without a transport")?.bytes().all(is_token) {
        return Err("the candidate's transport is not a token");
    }
    if !number(word("candidate without a priority")?, u32::MAX) {
        return Err("the candidate's priority is not a number up to 4294967295");
    }
    word("candidate without an address")?;
    if !number(word("candidate without a port")?, u32::from(u16::MAX)) {
        return Err("the candidate's port is not a number up to 65535");
    }
    if word("candidate without typ")? != "typ" {
        return Err("the candidate's port is not followed by typ");
    }
    if !word("candidate without a type")?.bytes().all(is_token) {
        return Err("the candidate's type is not a token");
    }
    // Extensions: names and values in turn.
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        if name == "ufrag" {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// RFC 8839 section 5.1: `ice-char`.
fn is_ice_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

/// RFC 8866 section 9: `token-char`.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]".contains(&byte)
}

/// For fuzzing: reads anything, and holds what it reads to what was promised.
#[doc(hidden)]
pub fn fuzz_fragment(data: &[u8]) {
    let Ok(fragment) = parse_fragment(data) else { return };
    assert!(fragment.candidates.len() <= MAX_CANDIDATES, "more candidates than allowed");
    let Some(credentials) = fragment.credentials.clone() else { return };
    let restarted = Restarted {
        credentials,
        media: "video 9 UDP/TLS/RTP/SAVPF 96".to_owned(),
        mid: "0".to_owned(),
        candidates: fragment.candidates.iter().map(|c| c.candidate.clone()).collect(),
        etag: String::new(),
    };
    // Many long candidates are more than is read again.
    let Ok(again) = parse_fragment(print_fragment(&restarted).as_bytes()) else { return };
    let attributes = |f: &Fragment| f.candidates.iter().map(|c| c.candidate.clone()).collect::<Vec<_>>();
    assert_eq!(attributes(&again), attributes(&fragment), "what was written is not what was read");
    assert!(again.credentials == fragment.credentials && again.end_of_candidates);
}

#[cfg(test)]
mod tests;
