//! WebRTC publishers, from an offer to frames in the hub, and viewers, from encoded pictures to packets.
//!
//! [`WebRtc`] is the endpoint of a [`Hub`](ooblex_core::hub::Hub): it answers offers, keeps the sessions and their
//! limits, and feeds each session's video into a stream. Everything of the WebRTC implementation beneath stays
//! private to this module.

mod answer;
mod channel;
mod codec;
mod config;
mod decoder;
mod deliver;
mod endpoint;
mod error;
mod fuzz;
mod handle;
mod negotiated;
mod network;
mod offer;
mod peer;
mod report;
mod reports;
mod session;
mod socket;
mod source;
mod table;
mod task;
mod video;
mod viewer;

pub use self::config::WebRtcConfig;
pub use self::endpoint::WebRtc;
pub use self::error::{OfferError, PublishError, SessionError};
#[doc(hidden)]
pub use self::fuzz::fuzz_offer;
pub use self::network::{NetworkConfig, PrivateAddresses};
pub(crate) use self::offer::only_receives;
pub use self::session::{
    CandidateKind, CandidatePath, FailedPath, Fragment, IceCredentials, PublishRequest, Published,
    PublisherId, Restarted, SessionCounters, SessionId, SessionIdError, SessionInfo, SessionState,
    TrickledCandidate,
};
pub use self::socket::HeldBack;

pub use self::source::WebRtcSource;
pub use self::viewer::{
    Broadcast, Feed, FeedPicture, Feedback, ReturnInfo, ViewRequest, ViewerCounters, ViewerInfo,
};

/// What feeds the streams of WebRTC publishers, as [`Stream::kind`](ooblex_core::hub::Stream::kind) tells.
pub const KIND: &str = "webrtc";
