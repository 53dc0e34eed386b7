//! What callers hold of a session: its name, its answer, its state.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ooblex_core::StreamId;
use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use ring::rand::{SecureRandom, SystemRandom};

use super::{HeldBack, ReturnInfo};
use crate::decode::VideoCodec;
use crate::ice::ServerReport;

/// Bytes of a session's name: 192 bits, far beyond guessing.
const ID_BYTES: usize = 24;

/// The name of a session: whoever knows it may end the session, so it is unguessable and never logged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId([u8; ID_BYTES]);

/// A string that is no session name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a session name: 32 characters of A-Z a-z 0-9 - _ are expected")]
pub struct SessionIdError;

impl SessionId {
    /// A new name, or `None` if the system has no random numbers.
    pub(crate) fn random() -> Option<Self> {
        let mut bytes = [0; ID_BYTES];
        SystemRandom::new().fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(..)")
    }
}

impl FromStr for SessionId {
    type Err = SessionIdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; ID_BYTES];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(ID_BYTES) => Ok(Self(bytes)),
            _ => Err(SessionIdError),
        }
    }
}

/// Who publishes, as far as it matters: two requests with equal values come from the same publisher. Holds a hash
/// only.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublisherId([u8; SHA256_OUTPUT_LEN]);

impl PublisherId {
    /// The holder of a token.
    pub fn of_token(token: &str) -> Self {
        Self::hash(b"token", token.as_bytes())
    }

    /// Whoever is behind an address: what is left where there is no token.
    pub fn of_address(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::hash(b"v4", &v4.octets()),
            IpAddr::V6(v6) => Self::hash(b"v6", &v6.octets()),
        }
    }

    /// A key that the caller has made up.
    pub fn of_key(key: &[u8]) -> Self {
        Self::hash(b"key", key)
    }

    fn hash(kind: &[u8], value: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        // The kind's length keeps (kind, value) pairs apart.
        context.update(&[kind.len() as u8]);
        context.update(kind);
        context.update(value);
        let mut hash = [0; SHA256_OUTPUT_LEN];
        hash.copy_from_slice(context.finish().as_ref());
        Self(hash)
    }
}

impl fmt::Debug for PublisherId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublisherId(..)")
    }
}

/// Who wants to publish what.
#[derive(Clone, Debug)]
pub struct PublishRequest {
    /// The stream to feed.
    pub stream: StreamId,
    /// Who asks.
    pub publisher: PublisherId,
    /// From where, for limits; `None` exempts from the limit per address.
    pub address: Option<IpAddr>,
}

/// An accepted offer.
#[derive(Clone)]
#[non_exhaustive]
pub struct Published {
    /// Names the session in later requests.
    pub id: SessionId,
    /// The SDP answer.
    pub answer: String,
    /// The entity tag of the ICE session, with its quotes (RFC 9725 section 4.3.1).
    pub etag: String,
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Published").field("etag", &self.etag).finish_non_exhaustive()
    }
}

/// ICE user name fragment and password of one side (RFC 8445 section 5.3).
#[derive(Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// `a=ice-ufrag`.
    pub ufrag: String,
    /// `a=ice-pwd`.
    pub pwd: String,
}

impl fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IceCredentials(..)")
    }
}

/// One candidate of a [`Fragment`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrickledCandidate {
    /// The media section's `a=mid`, if the fragment says.
    pub mid: Option<String>,
    /// The attribute's text without `a=`: `candidate:1 1 UDP ...`.
    pub candidate: String,
}

/// What a trickle or restart request carries, read from its SDP fragment (RFC 8840 section 9).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// The publisher's ICE credentials; others than before ask for an ICE restart.
    pub credentials: Option<IceCredentials>,
    /// Its candidates.
    pub candidates: Vec<TrickledCandidate>,
    /// Whether no more will come.
    pub end_of_candidates: bool,
}

/// The server's side of an ICE restart.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Restarted {
    /// The server's new credentials.
    pub credentials: IceCredentials,
    /// The first media section's line without `m=`: `video 9 UDP/TLS/RTP/SAVPF 96`.
    pub media: String,
    /// Its `a=mid`.
    pub mid: String,
    /// The server's candidates, without `a=`.
    pub candidates: Vec<String>,
    /// The entity tag of the new ICE session, with its quotes.
    pub etag: String,
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionState {
    /// Answered; no path to the peer yet.
    Connecting,
    /// Connected; no picture yet, for a key frame is missing.
    Waiting,
    /// Pictures come.
    Live,
    /// Connected, but nothing has come for a while.
    Stalled,
    /// The path is lost; it may come back until consent expires.
    Disconnected,
    /// Over.
    Ended,
}

impl SessionState {
    /// `connecting`, `waiting`, `live`, `stalled`, `disconnected` or `ended`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Waiting => "waiting",
            Self::Live => "live",
            Self::Stalled => "stalled",
            Self::Disconnected => "disconnected",
            Self::Ended => "ended",
        }
    }
}

/// What kind of address a candidate is (RFC 8445 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CandidateKind {
    /// An address of the machine itself.
    Host,
    /// The address that a STUN server sees.
    ServerReflexive,
    /// The address that the peer sees.
    PeerReflexive,
    /// An address on a TURN server.
    Relay,
}

impl CandidateKind {
    /// As in SDP: `host`, `srflx`, `prflx`, `relay`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::ServerReflexive => "srflx",
            Self::PeerReflexive => "prflx",
            Self::Relay => "relay",
        }
    }
}

/// The pair of candidates that carries a session.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CandidatePath {
    /// Our side.
    pub local: CandidateKind,
    /// The publisher's side.
    pub remote: CandidateKind,
    /// `udp` or `tcp`; between us and the relay if our side is one, then also `tls`.
    pub protocol: &'static str,
    /// `udp`, `tcp` or `tls` between a relay and whoever uses it, as far as that is known: a peer tells it of its own relay
    /// by the priority of the candidate, if it is a browser. Of two relays, the peer's. `None` also where no relay is used.
    pub relay: Option<&'static str>,
    /// Time of a check there and back, if measured.
    pub round_trip: Option<Duration>,
}

impl CandidatePath {
    /// Whether a TURN server is on the way, as far as known.
    pub fn is_relayed(&self) -> bool {
        self.local == CandidateKind::Relay || self.remote == CandidateKind::Relay
    }

    /// The rung of the ladder of transports: `webrtc` (direct), `turn-udp`, `turn-tcp` (TCP or TLS), or `turn` if it is not
    /// known how the relay is reached.
    pub fn rung(&self) -> &'static str {
        match (self.is_relayed(), self.relay) {
            (false, _) => "webrtc",
            (true, Some("udp")) => "turn-udp",
            (true, Some(_)) => "turn-tcp",
            (true, None) => "turn",
        }
    }
}

/// Pairs of one kind that do not carry the session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedPath {
    /// Our side.
    pub local: CandidateKind,
    /// The publisher's side.
    pub remote: CandidateKind,
    /// How many pairs.
    pub pairs: usize,
    /// Why, for people.
    pub reason: String,
}

/// What a session has received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionCounters {
    /// Bytes of RTP payload.
    pub bytes: u64,
    /// RTP packets of the layer that is shown.
    pub packets: u64,
    /// Packets that never came.
    pub packets_lost: u64,
    /// Packets that the network task could not hand over in time.
    pub packets_dropped: u64,
    /// Whole access units.
    pub frames: u64,
    /// Pictures decoded.
    pub frames_decoded: u64,
    /// Access units dropped because the decoder was behind.
    pub frames_skipped: u64,
    /// Access units that the decoder could not decode.
    pub decode_errors: u64,
    /// Key frame requests sent.
    pub keyframe_requests: u64,
}

/// The state of one session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The stream that it feeds.
    pub stream: StreamId,
    /// How far it is.
    pub state: SessionState,
    /// The codec, once known.
    pub codec: Option<VideoCodec>,
    /// Since it was answered.
    pub age: Duration,
    /// Since the last packet of its video; `None` before the first.
    pub silent: Option<Duration>,
    /// What carries it, once connected.
    pub path: Option<CandidatePath>,
    /// What else was tried, and why it does not carry the session.
    pub failed: Vec<FailedPath>,
    /// What was tried with each STUN and TURN server, in the server's words where it refused.
    pub servers: Vec<ServerReport>,
    /// Packets to addresses that the publisher named which were not sent, and why.
    pub held_back: HeldBack,
    /// What keeps its video from being shown, for people.
    pub problem: Option<String>,
    /// Counters.
    pub counters: SessionCounters,
    /// What its publisher gets back, if it asked for that.
    pub returned: Option<ReturnInfo>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_name_survives_a_url_and_stays_out_of_logs() {
        let (a, b) = (SessionId::random().expect("random"), SessionId::random().expect("random"));
        assert_ne!(a, b);
        let text = a.to_string();
        assert_eq!(text.len(), 32);
        assert_eq!(text.parse(), Ok(a));
        assert!(!format!("{a:?}").contains(&text));
        for bad in ["", "abc", &text[1..], &format!("{text}A"), &text.replace(&text[..1], "/")] {
            assert_eq!(bad.parse::<SessionId>(), Err(SessionIdError), "{bad}");
        }
    }

    #[test]
    fn publishers_are_told_apart_by_token_or_address() {
        let v4: IpAddr = "192.0.2.1".parse().expect("address");
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().expect("address");
        assert_eq!(PublisherId::of_address(v4), PublisherId::of_address(mapped));
        assert_ne!(PublisherId::of_token("a"), PublisherId::of_token("b"));
        assert_ne!(PublisherId::of_token("a"), PublisherId::of_key(b"a"));
    }
}
