//! TURN over TCP and TLS (RFC 8656 section 3.1).

mod frame;
mod queue;
mod stream;

pub use self::frame::{FrameError, FrameKind, FrameReader, frame};
pub(crate) use self::stream::{Sender, open};
