//! WHIP (RFC 9725) and the JSON offer: how publishers reach [`crate::webrtc`] over HTTP.

mod control;

pub use self::control::StreamControl;
