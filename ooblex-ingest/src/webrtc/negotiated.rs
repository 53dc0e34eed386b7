//! The signalling half of a session, the same in both directions: its connection, the offer and the answer that it
//! began with, and what `PATCH` makes of them.

use std::time::Duration;

use super::answer::Answer;
use super::offer::{Offer, usable_candidate};
use super::peer::Peer;
use super::{Fragment, Restarted, SessionError};

/// Candidates that a session takes by trickling.
const MAX_TRICKLED: usize = 128;

/// A connection that has been answered.
pub(super) struct Negotiated {
    pub(super) peer: Peer,
    pub(super) offer: Offer,
    pub(super) answer: Answer,
    gather_timeout: Duration,
    trickled: usize,
}

impl Negotiated {
    /// A restart waits for candidates of our own up to `gather_timeout`.
    pub(super) fn new(peer: Peer, offer: Offer, answer: Answer, gather_timeout: Duration) -> Self {
        Self { peer, offer, answer, gather_timeout, trickled: 0 }
    }

    /// Adds the peer's candidates if `if_match` names this ICE session.
    pub(super) async fn trickle(
        &mut self,
        fragment: &Fragment,
        if_match: Option<&str>,
    ) -> Result<(), SessionError> {
        match if_match {
            None => return Err(SessionError::TagRequired),
            Some(tag) if tag != "*" && tag != self.answer.etag => return Err(SessionError::TagMismatch),
            Some(_) => {}
        }
        if fragment.credentials.as_ref().is_some_and(|given| *given != self.offer.credentials) {
            let text =
                "the fragment's ICE credentials are not those of this ICE session; restart with If-Match: *";
            return Err(SessionError::Fragment(text.to_owned()));
        }
        self.add_candidates(fragment).await
    }

    /// Replaces the ICE session by one with the fragment's credentials.
    pub(super) async fn restart(&mut self, fragment: &Fragment) -> Result<Restarted, SessionError> {
        let refused = |text: String| SessionError::Fragment(text);
        let new = fragment.credentials.clone().filter(|new| {
            let old = &self.offer.credentials;
            new.is_valid() && new.ufrag != old.ufrag && new.pwd != old.pwd
        });
        let new =
            new.ok_or_else(|| refused("an ICE restart needs a new a=ice-ufrag and a new a=ice-pwd".into()))?;
        let offer = self.offer.restarted(new);
        let text = self.peer.answer(&offer, self.gather_timeout).await;
        let text = text.map_err(|error| refused(format!("the ICE restart failed: {error}")))?;
        let answer = Answer::new(&offer.text, text)
            .ok_or_else(|| refused("the ICE restart gave no credentials".into()))?;
        (self.offer, self.answer) = (offer, answer);
        self.trickled = 0;
        self.add_candidates(fragment).await?;
        Ok(self.answer.restarted())
    }

    async fn add_candidates(&mut self, fragment: &Fragment) -> Result<(), SessionError> {
        self.trickled += fragment.candidates.len();
        if self.trickled > MAX_TRICKLED {
            return Err(SessionError::Fragment(format!(
                "more than {MAX_TRICKLED} candidates came for one session"
            )));
        }
        let usable = fragment.candidates.iter().filter_map(|c| usable_candidate(&c.candidate));
        let usable: Vec<_> = usable.map(str::to_owned).collect();
        self.peer.add_candidates(&usable).await;
        self.offer.candidates.extend(usable);
        Ok(())
    }
}
