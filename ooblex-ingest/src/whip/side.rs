//! The two directions: publishers and WHIP (RFC 9725), viewers and WHEP (draft-ietf-wish-whep).

use crate::webrtc::{SessionId, WebRtc};

/// Which way the video goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Publisher,
    Viewer,
}

impl Side {
    /// Where its endpoint is, below the place where the router is mounted.
    pub(super) const fn root(self) -> &'static str {
        match self {
            Self::Publisher => "/whip",
            Self::Viewer => "/whep",
        }
    }

    /// Whether a session is there and of this side: who may watch may not end what others publish.
    pub(super) fn knows(self, webrtc: &WebRtc, id: &SessionId) -> bool {
        match self {
            Self::Publisher => webrtc.session(id).is_some(),
            Self::Viewer => webrtc.viewer(id).is_some(),
        }
    }
}
