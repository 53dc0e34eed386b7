//! WebRTC publishers: from an offer to frames in the hub.
//!
//! [`WebRtc`] is the endpoint of a [`Hub`](ooblex_core::hub::Hub): it answers offers, keeps the sessions and their
//! limits, and feeds each session's video into a stream. Everything of the WebRTC implementation beneath stays
//! private to this module.

mod config;
mod endpoint;
mod error;
#[allow(dead_code, reason = "its user, the peer, is not here yet")]
mod network;
mod session;
#[allow(dead_code, reason = "its user, the peer, is not here yet")]
mod socket;

pub use self::config::WebRtcConfig;
pub use self::endpoint::WebRtc;
pub use self::error::{OfferError, PublishError, SessionError};
pub use self::network::{NetworkConfig, PrivateAddresses};
pub use self::session::{
    CandidateKind, CandidatePath, FailedPath, Fragment, IceCredentials, PublishRequest, Published,
    PublisherId, Restarted, SessionCounters, SessionId, SessionIdError, SessionInfo, SessionState,
    TrickledCandidate,
};
