//! Files that came in part, and whether the rest can follow.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::manifest::Wanted;

/// A note longer than this is none of ours.
const LONGEST_NOTE: u64 = 4096;
/// An ETag longer than this is not kept.
const LONGEST_ETAG: usize = 256;

/// A file that came in part: `.NAME.part`, with a note beside it that says of which version it is a part.
pub(super) struct Half {
    file: PathBuf,
    note: PathBuf,
}

/// What the note says.
#[derive(Serialize, Deserialize)]
struct Note {
    address: String,
    etag: String,
    sha256: String,
}

/// The rest is to be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The version that the part belongs to.
    pub etag: String,
    /// How many bytes are there.
    pub from: u64,
}

/// What is of interest in the head of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// `ETag`.
    pub etag: Option<String>,
    /// `Content-Length`.
    pub length: Option<String>,
    /// `Content-Range`.
    pub range: Option<String>,
}

/// What to do with a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Add its body to what is there.
    Append,
    /// Begin with its body.
    Begin,
    /// Forget what is there, and ask for the whole.
    AskAgain,
    /// It cannot be used.
    Refuse(String),
}

impl Half {
    pub(super) fn new(folder: &Path, name: &str) -> Self {
        Self { file: folder.join(format!(".{name}.part")), note: folder.join(format!(".{name}.part.json")) }
    }

    /// What could follow what is there, if it is a part of the wanted file from that address.
    pub(super) fn resume(&self, address: &str, wanted: &Wanted) -> Option<Resume> {
        let length = fs::symlink_metadata(&self.file).ok().filter(fs::Metadata::is_file)?.len();
        let note = fs::symlink_metadata(&self.note).ok()?;
        if !note.is_file() || note.len() > LONGEST_NOTE {
            return None;
        }
        resume(&fs::read(&self.note).ok()?, length, address, wanted)
    }

    /// Opens what is there for more.
    pub(super) fn reopen(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(&self.file)
    }

    /// Begins anew. Only a version with a strong ETag can be resumed.
    pub(super) fn begin(&self, address: &str, etag: Option<&str>, wanted: &Wanted) -> io::Result<File> {
        self.discard();
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&self.file)?;
        if let Some(etag) = etag.filter(|etag| is_strong(etag)) {
            let (address, etag) = (address.to_owned(), etag.to_owned());
            let note = Note { address, etag, sha256: wanted.sha256.clone() };
            fs::write(&self.note, serde_json::to_vec(&note)?)?;
        }
        Ok(file)
    }

    /// Forgets what is there.
    pub(super) fn discard(&self) {
        // What is not there need not be removed; what cannot be removed is noticed when it is opened.
        let _ = fs::remove_file(&self.file);
        let _ = fs::remove_file(&self.note);
    }

    /// Gives the whole file its name. What it is then is the whole file, or what was there before.
    pub(super) fn install(&self, file: &File, target: &Path) -> io::Result<()> {
        file.sync_all()?;
        fs::rename(&self.file, target)?;
        let _ = fs::remove_file(&self.note);
        // Some file systems cannot do this for a folder; then the name is written a little later.
        if let Some(folder) = target.parent() {
            let _ = File::open(folder).and_then(|folder| folder.sync_all());
        }
        Ok(())
    }
}

/// What could follow `length` bytes that `note` tells of.
pub fn resume(note: &[u8], length: u64, address: &str, wanted: &Wanted) -> Option<Resume> {
    let note: Note = serde_json::from_slice(note).ok()?;
    let same = note.address == address && note.sha256 == wanted.sha256 && is_strong(&note.etag);
    (same && length > 0 && length < wanted.bytes).then_some(Resume { etag: note.etag, from: length })
}

/// Whether bytes of two responses with this ETag belong together (RFC 9110 section 8.8.3).
fn is_strong(etag: &str) -> bool {
    let inside = etag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inside.is_some_and(|inside| {
        etag.len() <= LONGEST_ETAG && inside.bytes().all(|b| b == b'!' || (b'#'..=b'~').contains(&b))
    })
}

/// What to do with a response to a request for `total` bytes, or for what follows the part in `asked`.
pub fn judge(head: &Head, asked: Option<&Resume>, total: u64) -> Plan {
    match (head.status, asked) {
        (200, _) => match head.length.as_deref().map(|length| number(length.trim()).ok_or(length)) {
            Some(Ok(length)) if length != total => {
                Plan::Refuse(format!("it has {length} bytes there, not {total}"))
            }
            Some(Err(text)) => Plan::Refuse(format!("the server says that its length is {text:?}")),
            _ => Plan::Begin,
        },
        (206, Some(resume)) => {
            let fits = head.range.as_deref().and_then(content_range).is_some_and(|(first, last, whole)| {
                first == resume.from && last.checked_add(1) == Some(total) && whole.is_none_or(|w| w == total)
            });
            let same = head.etag.as_ref().is_none_or(|etag| *etag == resume.etag);
            if fits && same { Plan::Append } else { Plan::AskAgain }
        }
        (416, Some(_)) => Plan::AskAgain,
        (206, None) => Plan::Refuse("the server sends a part although the whole was asked for".into()),
        (status, _) => Plan::Refuse(format!("the server answers with status {status}")),
    }
}

/// First and last byte, and the whole length if it is told (RFC 9110 section 14.4).
fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, whole) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let whole = if whole == "*" { None } else { Some(number(whole)?) };
    Some((number(first)?, number(last)?, whole))
}

/// Digits and nothing else.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "https://example.org/a.onnx";

    fn wanted() -> Wanted {
        Wanted::new("a.onnx", 100, &"ab".repeat(32)).expect("good")
    }

    fn note(etag: &str) -> Vec<u8> {
        let (address, sha256) = (ADDRESS.to_owned(), wanted().sha256);
        serde_json::to_vec(&Note { address, etag: etag.to_owned(), sha256 }).expect("JSON")
    }

    #[test]
    fn only_a_part_of_the_same_version_is_resumed() {
        let good = note("\"v1\"");
        let resumed = Some(Resume { etag: "\"v1\"".into(), from: 40 });
        assert_eq!(resume(&good, 40, ADDRESS, &wanted()), resumed);
        for length in [0, 100, 101] {
            assert_eq!(resume(&good, length, ADDRESS, &wanted()), None, "{length}");
        }
        assert_eq!(resume(&good, 40, "https://example.org/b.onnx", &wanted()), None);
        let other = Wanted::new("a.onnx", 100, &"cd".repeat(32)).expect("good");
        assert_eq!(resume(&good, 40, ADDRESS, &other), None);
        let long = format!("\"{}\"", "x".repeat(300));
        for etag in ["W/\"v1\"", "v1", "\"", "", "\"v\r\n1\"", "\"a\"b\"", &long] {
            assert_eq!(resume(&note(etag), 40, ADDRESS, &wanted()), None, "{etag:?}");
        }
        assert_eq!(resume(b"{}", 40, ADDRESS, &wanted()), None);
    }

    #[test]
    fn responses_are_judged() {
        let asked = Resume { etag: "\"v1\"".into(), from: 40 };
        let head = |status, range: Option<&str>, etag: Option<&str>, length: Option<&str>| Head {
            status,
            range: range.map(str::to_owned),
            etag: etag.map(str::to_owned),
            length: length.map(str::to_owned),
        };
        let plan = |head: Head| judge(&head, Some(&asked), 100);
        for range in ["bytes 40-99/100", "bytes 40-99/*"] {
            assert_eq!(plan(head(206, Some(range), None, None)), Plan::Append);
        }
        assert_eq!(plan(head(206, Some("bytes 40-99/100"), Some("\"v1\""), None)), Plan::Append);
        for range in [
            "bytes 41-99/100",
            "bytes 40-98/100",
            "bytes 40-99/101",
            "bytes 0-99/100",
            "40-99/100",
            "bytes */100",
            "bytes +40-99/100",
            "bytes 40-18446744073709551615/*",
        ] {
            assert_eq!(plan(head(206, Some(range), None, None)), Plan::AskAgain, "{range}");
        }
        assert_eq!(plan(head(206, None, None, None)), Plan::AskAgain);
        assert_eq!(plan(head(206, Some("bytes 40-99/100"), Some("\"v2\""), None)), Plan::AskAgain);
        assert_eq!(plan(head(416, None, None, None)), Plan::AskAgain);
        assert_eq!(plan(head(200, None, Some("\"v2\""), Some("100"))), Plan::Begin);
        assert_eq!(plan(head(200, None, None, None)), Plan::Begin);
        for refused in [
            head(200, None, None, Some("99")),
            head(200, None, None, Some("-1")),
            head(404, None, None, None),
            head(500, None, None, None),
        ] {
            assert!(matches!(plan(refused.clone()), Plan::Refuse(_)), "{refused:?}");
        }
        let part = head(206, Some("bytes 0-99/100"), None, None);
        assert!(matches!(judge(&part, None, 100), Plan::Refuse(_)));
        assert!(matches!(judge(&head(416, None, None, None), None, 100), Plan::Refuse(_)));
    }
}
