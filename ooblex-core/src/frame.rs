//! A picture with identity and clocks.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::annotation::Annotation;
use crate::clearance::Clearance;
use crate::clock::{LatencyTrace, MediaTime};
use crate::picture::Picture;

/// Name of a stream: 1 to 64 of `A-Z a-z 0-9 _ -`, and neither `stream` nor `snapshot`, which are routes.
/// Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(Arc<str>);

/// Why a string is not a stream name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamIdError {
    /// Empty or longer than 64.
    #[error("stream name is {0} characters long; use 1 to 64 of A-Z a-z 0-9 _ -")]
    Length(usize),
    /// A character outside the alphabet.
    #[error("stream name {name:?} contains {found:?}; use 1 to 64 of A-Z a-z 0-9 _ -")]
    Character {
        /// The name.
        name: String,
        /// The first character that is not allowed.
        found: char,
    },
    /// `stream` and `snapshot` name routes.
    #[error("stream name {0:?} is reserved; choose another")]
    Reserved(String),
}

impl StreamId {
    /// Names that cannot be given to a stream.
    pub const RESERVED: [&'static str; 2] = ["stream", "snapshot"];
    /// The name used where none is given.
    pub const DEFAULT: &'static str = "default";
    /// Longest name in characters.
    pub const MAX_LEN: usize = 64;

    /// Checks `name`.
    ///
    /// # Errors
    /// [`StreamIdError`] with what is wrong and what is allowed.
    pub fn new(name: &str) -> Result<Self, StreamIdError> {
        let length = name.chars().count();
        if length == 0 || length > Self::MAX_LEN {
            return Err(StreamIdError::Length(length));
        }
        if let Some(found) = name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))) {
            return Err(StreamIdError::Character { name: name.into(), found });
        }
        if Self::RESERVED.contains(&name) {
            return Err(StreamIdError::Reserved(name.into()));
        }
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for StreamId {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

impl FromStr for StreamId {
    type Err = StreamIdError;
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl Borrow<str> for StreamId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// One picture on its way through a pipeline. Cloning shares the pixels.
///
/// Processors edit frames in place, so identity, clocks and trace cannot be lost on the way.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Frame {
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Number within the stream, rising by one with every accepted frame, from 1.
    pub sequence: u64,
    /// When to show it, in the sender's media time, if known.
    pub pts: Option<MediaTime>,
    /// When its last byte arrived, on the local monotonic clock. Latency is measured from here.
    pub received: Instant,
    /// When it was taken, on the sender's wall clock, if known.
    pub captured: Option<SystemTime>,
    /// The picture, perhaps still compressed.
    pub image: Picture,
    /// What processors found in it.
    pub annotations: Vec<Annotation>,
    /// When it left each stage.
    pub trace: LatencyTrace,
    /// Whether it may still be shown: for whoever keeps frames.
    pub clearance: Clearance,
}

impl Frame {
    /// A frame that arrived at `received`, without media or capture time.
    pub fn new(stream: StreamId, sequence: u64, received: Instant, image: Picture) -> Self {
        Self {
            stream,
            sequence,
            pts: None,
            received,
            captured: None,
            image,
            annotations: Vec::new(),
            trace: LatencyTrace::new(received),
            clearance: Clearance::default(),
        }
    }

    /// Moves the frame out; what is left has its identity and no picture.
    pub(crate) fn take(&mut self) -> Self {
        let left = Self::new(self.stream.clone(), self.sequence, self.received, self.image.vacant());
        std::mem::replace(self, left)
    }

    /// Sets the media time.
    pub fn with_pts(mut self, pts: Option<MediaTime>) -> Self {
        self.pts = pts;
        self
    }

    /// Sets the sender's wall clock at capture.
    pub fn with_captured(mut self, captured: Option<SystemTime>) -> Self {
        self.captured = captured;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["default", "a", "Cam_1-b", &"x".repeat(64)] {
            assert_eq!(StreamId::new(good).expect(good).as_str(), good);
        }
        assert_eq!(StreamId::new(""), Err(StreamIdError::Length(0)));
        assert_eq!(StreamId::new(&"x".repeat(65)), Err(StreamIdError::Length(65)));
        assert!(matches!(StreamId::new("a/b"), Err(StreamIdError::Character { found: '/', .. })));
        assert!(matches!(StreamId::new("käse"), Err(StreamIdError::Character { found: 'ä', .. })));
        assert!(matches!(StreamId::new("snapshot"), Err(StreamIdError::Reserved(_))));
    }
}
