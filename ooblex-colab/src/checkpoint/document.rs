//! What a checkpoint holds, and its form as a file: one line that identifies it, then JSON.
//!
//! ```text
//! ooblex-checkpoint 1 <SHA-256 of the JSON, 64 hexadecimal digits> <length of the JSON in bytes>
//! {"saved_ms":..., ...}
//! ```

use std::collections::BTreeMap;

use ooblex_models::manager::sha256;
use serde::{Deserialize, Serialize};

use super::usage::Usage;
use crate::effect::Kept;

/// Number of this form. A reader of another one says so and leaves the file alone.
const FORMAT: &str = "1";
const MAGIC: &str = "ooblex-checkpoint";
/// Largest file that is read or written, in bytes.
pub(super) const MAX_BYTES: usize = 4 << 20;

/// What a server was doing. Holds no pictures, and nothing of a setting that is secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// When it was made, in milliseconds since 1970.
    pub(crate) saved_ms: u64,
    /// Settings that go along, as a file would say them.
    pub(crate) settings: BTreeMap<String, String>,
    /// Effects: for all streams, and of single ones.
    pub(crate) effects: Kept,
    /// Streams that there were.
    pub(crate) streams: Vec<String>,
    pub(crate) totals: Totals,
    /// What has passed tunnels in this month; not in files of earlier versions.
    #[serde(default)]
    pub(super) tunnels: Usage,
}

/// Counters that go on over a resumption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Totals {
    /// Frames that came in.
    pub(crate) received: u64,
    /// Frames that an effect, or none, was done with.
    pub(crate) processed: u64,
    /// How often it was resumed.
    pub(crate) resumed: u64,
}

/// Why a file is not a checkpoint that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("it does not begin as a checkpoint does")]
    Foreign,
    #[error("its format is {0}, not {FORMAT}; it is of another version of the program")]
    Format(String),
    #[error("it has {found} bytes after the first line instead of {said}; it was not written to its end")]
    Length { found: usize, said: usize },
    #[error("its content does not match its digest; it was damaged")]
    Digest,
    #[error("its content is not understood: {0}")]
    Content(String),
    #[error("it would be {0} bytes, more than the {MAX_BYTES} that are allowed")]
    TooLarge(usize),
}

impl Checkpoint {
    /// The file.
    ///
    /// # Errors
    /// If it is too large.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Unreadable> {
        let body = serde_json::to_vec(self).map_err(|error| Unreadable::Content(error.to_string()))?;
        let mut file = format!("{MAGIC} {FORMAT} {} {}\n", sha256(&body), body.len()).into_bytes();
        file.extend(body);
        if file.len() > MAX_BYTES { Err(Unreadable::TooLarge(file.len())) } else { Ok(file) }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// Why it is none that can be used.
    pub(crate) fn decode(file: &[u8]) -> Result<Self, Unreadable> {
        if file.len() > MAX_BYTES {
            return Err(Unreadable::TooLarge(file.len()));
        }
        let end = file.iter().position(|byte| *byte == b'\n').ok_or(Unreadable::Foreign)?;
        let (head, body) = (&file[..end], &file[end + 1..]);
        let head = std::str::from_utf8(head).map_err(|_| Unreadable::Foreign)?;
        let mut words = head.split(' ');
        if words.next() != Some(MAGIC) {
            return Err(Unreadable::Foreign);
        }
        match words.next() {
            Some(FORMAT) => {}
            other => return Err(Unreadable::Format(other.unwrap_or_default().chars().take(20).collect())),
        }
        let (Some(digest), Some(length), None) = (words.next(), words.next(), words.next()) else {
            return Err(Unreadable::Foreign);
        };
        let said = length.parse().map_err(|_| Unreadable::Foreign)?;
        if body.len() != said {
            return Err(Unreadable::Length { found: body.len(), said });
        }
        if sha256(body) != digest {
            return Err(Unreadable::Digest);
        }
        serde_json::from_slice(body).map_err(|error| Unreadable::Content(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn example() -> Checkpoint {
        Checkpoint {
            saved_ms: 1_700_000_000_000,
            settings: [("jpeg_quality".to_owned(), "70".to_owned())].into(),
            effects: Kept { generation: 7, ..Kept::default() },
            streams: vec!["cam".into()],
            totals: Totals { received: 10, processed: 9, resumed: 1 },
            tunnels: crate::checkpoint::usage::tests::example(5),
        }
    }

    #[test]
    fn it_comes_back_as_it_was() {
        let file = example().encode().expect("small");
        assert_eq!(Checkpoint::decode(&file), Ok(example()));
    }

    #[test]
    fn one_of_an_earlier_version_knows_nothing_of_tunnels() {
        let mut body = serde_json::to_value(example()).expect("JSON");
        body.as_object_mut().expect("an object").remove("tunnels").expect("it is there");
        let body = body.to_string();
        let file = format!("{MAGIC} {FORMAT} {} {}\n{body}", sha256(body.as_bytes()), body.len());
        let read = Checkpoint::decode(file.as_bytes());
        assert_eq!(read, Ok(Checkpoint { tunnels: Usage::default(), ..example() }));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let file = example().encode().expect("small");
        let text = String::from_utf8(file.clone()).expect("text");
        let wrong = |file: &[u8]| Checkpoint::decode(file).expect_err("wrong").to_string();
        assert_eq!(wrong(b"{}"), Unreadable::Foreign.to_string());
        assert_eq!(wrong(b"ooblex-checkpoint 1 x\n{}"), Unreadable::Foreign.to_string());
        assert!(wrong(text.replacen(" 1 ", " 2 ", 1).as_bytes()).contains("format is 2, not 1"));
        assert!(wrong(&file[..file.len() - 1]).contains("not written to its end"));
        assert!(wrong(text.replace("\"cam\"", "\"dam\"").as_bytes()).contains("digest"));
        assert!(wrong(&vec![b'x'; MAX_BYTES + 1]).contains("more than"));
        let body = "{\"saved_ms\":true}";
        let odd = format!("{MAGIC} {FORMAT} {} {}\n{body}", sha256(body.as_bytes()), body.len());
        assert!(wrong(odd.as_bytes()).contains("not understood"));
    }

    proptest! {
        #[test]
        fn a_cut_file_is_refused(share in 0.0..1.0f64) {
            let file = example().encode().expect("small");
            let length = (file.len() as f64 * share) as usize;
            prop_assert!(Checkpoint::decode(&file[..length]).is_err());
        }

        #[test]
        fn a_damaged_file_is_refused_and_never_taken_for_another(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let mut file = example().encode().expect("small");
            let at = at.index(file.len());
            file[at] ^= flip;
            prop_assert!(Checkpoint::decode(&file).is_err(), "byte {at}");
        }

        #[test]
        fn zeros_at_the_end_as_after_a_crash_are_refused(from in any::<prop::sample::Index>()) {
            let mut file = example().encode().expect("small");
            let from = from.index(file.len());
            file[from..].fill(0);
            prop_assert!(Checkpoint::decode(&file).is_err());
        }

        #[test]
        fn anything_else_is_refused(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Checkpoint::decode(&data).is_err());
        }
    }
}
