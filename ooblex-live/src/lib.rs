//! Live video out of Ooblex: encoders that all viewers of a stream share.
//!
//! A [`LiveHub`] gives every stream a sink and every viewer a [`Watch`]. One encoder runs for all viewers of a stream
//! who want the same codec and quality, from the first of them to the last; where nobody watches nothing is encoded.
//! Whoever lags behind gets a gap and then a key frame, and nobody else notices.
//!
//! | Feature | Gives |
//! |---|---|
//! | `h264` (default) | H.264 by OpenH264 |
//! | `vpx` (default) | VP8 by the system's libvpx |
//! | `whep` (default) | WebRTC viewers |
//! | `turbojpeg` (default) | JPEG by libjpeg-turbo instead of a slower encoder |

mod codec;
pub mod encode;
mod output;
pub mod protocol;
pub mod socket;
#[cfg(feature = "whep")]
mod whep;

pub use self::codec::{Codec, UnknownCodec};
pub use self::output::{
    LADDER, LiveConfig, LiveCounters, LiveHub, LiveSink, Quality, Unit, Watch, WatchError,
};
#[cfg(feature = "whep")]
pub use self::whep::Whep;
