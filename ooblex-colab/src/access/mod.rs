//! Who may do what: tokens, the rights they give, and how requests carry them.

mod attempts;
mod carrier;
mod rights;

use std::hash::RandomState;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use http::HeaderValue;
use ooblex_http::{Caller, Problem};
use ring::hmac;

use self::attempts::Attempts;
use self::carrier::Via;
pub(crate) use self::carrier::{Answer, COOKIE, Credentials};
pub(crate) use self::rights::{Right, Rights};
use crate::config::{Config, Token};

/// The tokens of a server, and what each right needs. Shared by all requests.
pub(crate) struct Access {
    tokens: Vec<Known>,
    /// What needs no token.
    open: Rights,
    attempts: Attempts,
    /// For [`Caller`].
    publishers: RandomState,
    key: hmac::Key,
}

/// One token: what it gives, and a tag that it is recognized by.
struct Known {
    gives: Rights,
    tag: hmac::Tag,
}

/// What is known about the sender of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    /// Everything that the sender may do.
    pub(crate) rights: Rights,
    /// Whether a token was recognized.
    pub(crate) recognized: bool,
    /// Whether a token that was not recognized came in a cookie.
    pub(crate) stale_cookie: bool,
    /// For handlers that tell publishers apart; `None` without an address.
    pub(crate) caller: Option<Caller>,
}

/// Whether a request comes from somebody whose token was recognized, or from anybody where there are no tokens: for
/// handlers that say less to strangers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trusted(pub(crate) bool);

impl Access {
    pub(crate) fn new(config: &Config) -> Self {
        // The comparison takes the same time wherever two tags differ, so the key need not be secret.
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"ooblex token");
        let known = |token: &Option<Token>, gives: Rights| {
            let tag = |t: &Token| hmac::sign(&key, t.expose().as_bytes());
            token.as_ref().map(|t| Known { gives, tag: tag(t) })
        };
        let (publish, view) = (config.publish_token.is_some(), config.view_token.is_some());
        let control = config.control_token.is_some();
        // Changing effects is for whoever shows the strongest token that there is.
        let of_publish = Rights::of(&[Right::Publish]).and(Right::Control, !control);
        let of_view = Rights::of(&[Right::View]).and(Right::Control, !control && !publish);
        let tokens = [
            known(&config.control_token, Rights::ALL),
            known(&config.publish_token, of_publish),
            known(&config.view_token, of_view),
        ];
        let open = Rights::of(&[Right::Public])
            .and(Right::View, !view)
            .and(Right::Publish, !publish)
            .and(Right::Control, !publish && !view && !control);
        Self {
            tokens: tokens.into_iter().flatten().collect(),
            open,
            attempts: Attempts::default(),
            publishers: RandomState::new(),
            key,
        }
    }

    /// Whether there are tokens at all.
    pub(crate) fn is_guarded(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// What everybody may do who reaches a server that listens on `bind`, in words; `None` if that is nobody but this
    /// machine, or nothing.
    pub(crate) fn exposure(&self, bind: IpAddr) -> Option<String> {
        let verbs = [(Right::View, "watch"), (Right::Publish, "publish"), (Right::Control, "change effects")];
        let open: Vec<_> =
            verbs.iter().filter(|(right, _)| self.open.allow(*right)).map(|(_, v)| *v).collect();
        let (last, before) = open.split_last().filter(|_| !bind.to_canonical().is_loopback())?;
        let list =
            if before.is_empty() { (*last).to_owned() } else { format!("{} and {last}", before.join(", ")) };
        Some(format!("everybody who reaches {bind} can {list}"))
    }

    /// Finds out who sent a request, by the tokens it carries. Each counts; a wrong one beside a right one is
    /// forgiven, since browsers keep sending a cookie from before.
    ///
    /// # Errors
    /// 429 if its address has shown too many wrong tokens lately.
    pub(crate) fn identify(
        &self,
        credentials: &Credentials,
        address: Option<IpAddr>,
        now: Instant,
    ) -> Result<Identity, Problem> {
        let mut identity = Identity {
            rights: self.open,
            recognized: false,
            stale_cookie: false,
            caller: address.map(|a| Caller::of_address(a, &self.publishers)),
        };
        if credentials.is_empty() || !self.is_guarded() {
            return Ok(identity);
        }
        // A request without a socket, as in tests, counts for an address that nobody has.
        let counted = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        self.attempts.may_try(counted, now)?;
        for (via, token) in credentials.tokens() {
            let Some(known) = self.recognize(token) else {
                identity.stale_cookie |= via == Via::Cookie;
                continue;
            };
            identity.recognized = true;
            let gives = if via == Via::Query { known.gives.only(Right::View) } else { known.gives };
            identity.rights = identity.rights.union(gives);
            if gives.allow(Right::Publish) {
                let of_token = |a| Caller::of_token(token.as_bytes(), a, &self.publishers);
                identity.caller = address.map(of_token);
            }
        }
        match identity.recognized {
            true => self.attempts.succeeded(counted, now),
            false => self.attempts.failed(counted, now)?,
        }
        Ok(identity)
    }

    /// Looks at every token, so that the time taken does not tell which one it is.
    fn recognize(&self, token: &str) -> Option<&Known> {
        let fits = |known: &&Known| hmac::verify(&self.key, token.as_bytes(), known.tag.as_ref()).is_ok();
        self.tokens.iter().filter(fits).last()
    }
}

/// What to do against an [exposure](Access::exposure).
pub(crate) const EXPOSURE_FIX: &str = "set OOBLEX_CONTROL_TOKEN, OOBLEX_PUBLISH_TOKEN and OOBLEX_VIEW_TOKEN (docs/CONFIG.md says what each guards), or bind 127.0.0.1";

/// The refusal of a request that lacks a right.
pub(crate) fn refusal(
    right: Right,
    identity: &Identity,
    credentials: &Credentials,
) -> (Problem, HeaderValue) {
    let verb = right.as_str();
    if identity.recognized {
        let detail = match credentials.tokens().all(|(via, _)| via == Via::Query) {
            true => format!(
                "a token in the query gives the right to view alone, this needs the right to {verb}; send it as Authorization: Bearer"
            ),
            false => format!("this token does not give the right to {verb}"),
        };
        let problem = Problem::new(403, "right_missing", detail).field("token").limit(verb);
        return (problem, challenge(", error=\"insufficient_scope\""));
    }
    let how = "as Authorization: Bearer TOKEN, or in front of the path as /t/TOKEN/";
    if credentials.is_empty() {
        let detail = format!("the right to {verb} needs a token; send it {how}");
        return (Problem::new(401, "token_required", detail).field("token"), challenge(""));
    }
    let detail = format!("the token is wrong; the right to {verb} needs one, {how}");
    (Problem::new(401, "token_wrong", detail).field("token"), challenge(", error=\"invalid_token\""))
}

/// `WWW-Authenticate` of RFC 6750 section 3.
fn challenge(more: &str) -> HeaderValue {
    let text = format!("Bearer realm=\"ooblex\"{more}");
    // Invariant: it is made of the letters above.
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Bearer"))
}

#[cfg(test)]
mod tests;
