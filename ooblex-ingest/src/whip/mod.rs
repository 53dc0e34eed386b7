//! WHIP (RFC 9725) and the JSON offer: how publishers reach [`crate::webrtc`] over HTTP.

mod control;
mod etag;
mod fragment;

pub use self::control::{NoControl, StreamControl};
pub use self::etag::{BadIfMatch, IfMatch};
#[doc(hidden)]
pub use self::fragment::fuzz_fragment;
pub use self::fragment::{FragmentError, parse_fragment, print_fragment};
