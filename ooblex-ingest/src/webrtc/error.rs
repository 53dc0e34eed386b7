//! Why the endpoint refuses, and how that reads over HTTP.

use std::time::Duration;

use ooblex_core::StreamId;
use ooblex_core::hub::HubError;
use ooblex_http::Problem;

/// What is wrong with an offer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OfferError {
    /// Longer than allowed.
    #[error("offer is {bytes} bytes, limit {limit}")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Not SDP, or lacking what every WebRTC offer has.
    #[error("{0}")]
    Malformed(String),
    /// A valid offer of what this build cannot receive.
    #[error("{0}")]
    Unsupported(String),
}

/// Why an offer got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The offer itself.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// Another publisher, or this one's own connection that still sends, has the name.
    #[error("stream {stream} has a publisher; choose another name, or try again when it has stopped")]
    NameTaken {
        /// The name.
        stream: StreamId,
        /// When the same publisher may try again; `None` if it is another's stream.
        retry_after: Option<Duration>,
    },
    /// The hub refuses the stream.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// As many sessions as allowed.
    #[error("{limit} WebRTC sessions are open, the limit; try again later")]
    TooManySessions {
        /// The limit.
        limit: usize,
    },
    /// As many sessions that wait for their peer as allowed from one address.
    #[error("{limit} sessions from this address wait to be connected, the limit; try again later")]
    TooManyFromAddress {
        /// The limit.
        limit: usize,
    },
    /// Whoever encodes has nothing for this viewer.
    #[error("{}", .0.detail())]
    Refused(Problem),
    /// No socket could be opened.
    #[error("no network for the session: {0}")]
    Network(String),
    /// The endpoint is shutting down.
    #[error("shutting down")]
    ShuttingDown,
}

/// How long a client should wait where sessions must end before there is room.
const RETRY_ROOM: Duration = Duration::from_secs(10);

impl From<OfferError> for Problem {
    fn from(error: OfferError) -> Self {
        let detail = error.to_string();
        match error {
            OfferError::TooLarge { bytes, limit } => {
                Self::new(413, "offer_too_large", detail).field("sdp").value(bytes as u64).limit(limit as u64)
            }
            OfferError::Malformed(_) => Self::new(400, "bad_offer", detail).field("sdp"),
            OfferError::Unsupported(_) => Self::new(422, "offer_unsupported", detail).field("sdp"),
        }
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        let detail = error.to_string();
        match error {
            PublishError::Offer(error) => error.into(),
            PublishError::NameTaken { stream, retry_after } => {
                let problem = Self::new(409, "name_taken", detail).field("stream").value(stream.as_str());
                match retry_after {
                    Some(after) => problem.retry_after(after),
                    None => problem,
                }
            }
            PublishError::Hub(HubError::TooManyStreams { limit }) => {
                let problem = Self::new(429, "too_many_streams", detail);
                problem.field("stream").limit(limit as u64).retry_after(RETRY_ROOM)
            }
            PublishError::Hub(HubError::NameTaken { id, .. }) => {
                Self::new(409, "name_taken", detail).field("stream").value(id.as_str())
            }
            PublishError::Hub(HubError::ShuttingDown) | PublishError::ShuttingDown => {
                Self::new(503, "shutting_down", detail)
            }
            PublishError::Hub(_) => Self::new(500, "stream_failed", detail),
            PublishError::TooManySessions { limit } => {
                Self::new(503, "too_many_sessions", detail).limit(limit as u64).retry_after(RETRY_ROOM)
            }
            PublishError::TooManyFromAddress { limit } => {
                Self::new(429, "too_many_half_open", detail).limit(limit as u64).retry_after(RETRY_ROOM)
            }
            PublishError::Refused(problem) => problem,
            PublishError::Network(_) => Self::new(503, "no_network", detail).retry_after(RETRY_ROOM),
        }
    }
}

/// Why a request about a session is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// No such session, or it has ended.
    #[error("no such session; it may have ended")]
    Unknown,
    /// The request must say which ICE session it is about (RFC 9725 section 4.3.1).
    #[error("send If-Match with the ETag of the ICE session")]
    TagRequired,
    /// The request is about an ICE session that has been replaced.
    #[error("the ICE session has another ETag by now")]
    TagMismatch,
    /// The fragment cannot be applied.
    #[error("{0}")]
    Fragment(String),
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        let detail = error.to_string();
        match error {
            SessionError::Unknown => Self::new(404, "unknown_session", detail),
            SessionError::TagRequired => Self::new(428, "if_match_required", detail).field("If-Match"),
            SessionError::TagMismatch => Self::new(412, "etag_mismatch", detail).field("If-Match"),
            SessionError::Fragment(_) => Self::new(422, "bad_fragment", detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_status() {
        let stream = StreamId::default();
        let hub = |limit| HubError::TooManyStreams { limit };
        let cases: [(PublishError, u16, bool); 8] = [
            (OfferError::TooLarge { bytes: 70_000, limit: 65_536 }.into(), 413, false),
            (OfferError::Malformed("no".into()).into(), 400, false),
            (OfferError::Unsupported("no".into()).into(), 422, false),
            (PublishError::NameTaken { stream: stream.clone(), retry_after: None }, 409, false),
            (PublishError::NameTaken { stream, retry_after: Some(Duration::from_secs(2)) }, 409, true),
            (hub(3).into(), 429, true),
            (PublishError::TooManySessions { limit: 1 }, 503, true),
            (PublishError::TooManyFromAddress { limit: 1 }, 429, true),
        ];
        for (error, status, retry) in cases {
            let text = error.to_string();
            let problem = Problem::from(error);
            assert_eq!(problem.status(), status, "{text}");
            assert_eq!(problem.retry_after_secs().is_some(), retry, "{text}");
            assert_eq!(problem.detail(), text);
        }
        assert_eq!(Problem::from(SessionError::TagRequired).status(), 428);
        assert_eq!(Problem::from(SessionError::TagMismatch).status(), 412);
        assert_eq!(Problem::from(SessionError::Unknown).status(), 404);
    }
}
