//! Who may do what: tokens, the rights they give, and how requests carry them.

mod attempts;
mod book;
mod carrier;
mod hosts;
mod kind;
mod open;
mod rate;
mod rights;
mod sender;
mod tag;

use std::hash::RandomState;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

use http::HeaderValue;
use ooblex_http::{Caller, Line, Problem};

use self::attempts::Attempts;
use self::book::Book;
pub(crate) use self::book::Grant;
use self::carrier::Via;
pub(crate) use self::carrier::{Answer, COOKIE, Credentials};
pub(crate) use self::hosts::Hosts;
pub(crate) use self::kind::Kind;
pub(crate) use self::open::Ended;
use self::open::Open;
pub(crate) use self::rate::Rate;
pub(crate) use self::rights::{Right, Rights};
pub(crate) use self::sender::{address_of, is_local};
pub(crate) use self::tag::LIFE as TAG_LIFE;
use crate::config::{Config, Token};

/// The tokens of a server, and what each right needs. Shared by all requests.
pub(crate) struct Access {
    book: RwLock<Book>,
    /// What was let in by them. Locked after the book.
    let_in: Mutex<Open>,
    guarded: bool,
    /// What needs no token.
    open: Rights,
    attempts: Attempts,
    /// For [`Caller`].
    publishers: RandomState,
    started: Instant,
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
    /// Whether the cookie gives as much as the token in front of the path, so that it need not be replaced.
    pub(crate) cookie_suffices: bool,
    /// For handlers that tell publishers apart; `None` without an address.
    pub(crate) caller: Option<Caller>,
    /// By which tokens.
    pub(crate) grant: Grant,
    /// The strongest kind of the tokens that last and let their owner watch; `None` if there is none, or only one that ends soon.
    pub(crate) lasting: Option<Kind>,
}

/// Whether a request comes from somebody whose token was recognized, or from anybody where there are no tokens: for
/// handlers that say less to strangers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trusted(pub(crate) bool);

impl Access {
    pub(crate) fn new(config: &Config) -> Self {
        let (publish, view) = (config.publish_token.is_some(), config.view_token.is_some());
        let control = config.control_token.is_some();
        let open = Rights::of(&[Right::Public])
            .and(Right::View, !view)
            .and(Right::Publish, !publish)
            .and(Right::Control, !publish && !view && !control);
        // Where everybody may watch a link needs no token. Without random numbers there is none.
        let link = view.then(Token::random).and_then(Result::ok);
        Self {
            book: RwLock::new(Book::new(config, link)),
            let_in: Mutex::default(),
            guarded: publish || view || control,
            open,
            attempts: Attempts::default(),
            publishers: RandomState::new(),
            started: Instant::now(),
        }
    }

    /// Whether watching needs a token.
    pub(crate) fn guards_viewing(&self) -> bool {
        !self.open.allow(Right::View)
    }

    /// Whether there are tokens at all.
    pub(crate) fn is_guarded(&self) -> bool {
        self.guarded
    }

    /// What everybody may do who reaches a server with these settings, in words; `None` if that is nobody but this machine,
    /// or nothing.
    pub(crate) fn exposure(&self, config: &Config) -> Option<String> {
        let verbs = [(Right::View, "watch"), (Right::Publish, "publish"), (Right::Control, "change effects")];
        let open: Vec<_> =
            verbs.iter().filter(|(right, _)| self.open.allow(*right)).map(|(_, v)| *v).collect();
        let (last, before) = open.split_last().filter(|_| config.reachable_from_outside())?;
        let list =
            if before.is_empty() { (*last).to_owned() } else { format!("{} and {last}", before.join(", ")) };
        let place = match config.bind.to_canonical().is_loopback() {
            true => "the tunnel".to_owned(),
            false => config.bind.to_string(),
        };
        Some(format!("everybody who reaches {place} can {list}"))
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
        line: Option<&Line>,
        now: Instant,
    ) -> Result<Identity, Problem> {
        let mut identity = Identity {
            rights: self.open,
            recognized: false,
            stale_cookie: false,
            cookie_suffices: false,
            caller: address.map(|a| Caller::of_address(a, &self.publishers)),
            grant: Grant::default(),
            lasting: None,
        };
        if credentials.is_empty() || !self.is_guarded() {
            return Ok(identity);
        }
        // A request without a socket, as in tests, counts for an address that nobody has.
        let counted = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        self.attempts.may_try(counted, now)?;
        let (mut of_cookie, mut of_path) = (Rights::of(&[]), Rights::of(&[]));
        let book = self.book();
        for (via, token) in credentials.tokens() {
            let Some(known) = book.recognize(token, self.seconds(now)) else {
                identity.stale_cookie |= via == Via::Cookie;
                continue;
            };
            identity.recognized = true;
            identity.grant = book.grant(identity.grant, known.kind);
            let lasts = !known.is_tag && known.gives.allow(Right::View);
            if lasts && identity.lasting.is_none_or(|kind| kind as u8 > known.kind as u8) {
                identity.lasting = Some(known.kind);
            }
            let gives = if via == Via::Query { known.gives.only(Right::View) } else { known.gives };
            identity.rights = identity.rights.union(gives);
            match via {
                Via::Cookie => of_cookie = of_cookie.union(gives),
                Via::Path => of_path = of_path.union(gives),
                _ => {}
            }
            if gives.allow(Right::Publish) {
                let of_token = |a| Caller::of_token(token.as_bytes(), a, &self.publishers);
                identity.caller = address.map(of_token);
            }
        }
        identity.cookie_suffices = of_cookie.include(of_path);
        // While the book is held: whoever takes a token back finds this connection.
        if let Some(line) = line.filter(|_| identity.recognized) {
            self.let_in().line(identity.grant, line);
        }
        drop(book);
        match identity.recognized {
            true => self.attempts.succeeded(counted, now),
            false => self.attempts.failed(counted, now)?,
        }
        Ok(identity)
    }

    /// Notes a WebRTC session, which has no connection; `lives` tells whether one is still there. False if its token was
    /// taken back meanwhile, and it has to end.
    pub(crate) fn note_session(&self, grant: Grant, id: &str, lives: impl Fn(&str) -> bool) -> bool {
        let book = self.book();
        let stands = book.stands(grant);
        if stands && grant.is_some() {
            self.let_in().session(grant, id, lives);
        }
        stands
    }

    /// A token for addresses that are shown, which ends soon, for whoever was let in by that kind.
    pub(crate) fn tag(&self, kind: Kind, now: Instant) -> Option<Token> {
        self.book().tag(kind, self.seconds(now))
    }

    /// The token in links for viewers; `None` where everybody may watch, or after it was taken back.
    pub(crate) fn link(&self) -> Option<Token> {
        self.book().link().cloned()
    }

    /// Replaces the token of a kind by a new one, or by none; gives it, and what was let in by the one before.
    ///
    /// # Errors
    /// 409 if there was none at the start: then its right may depend on others. 503 without random numbers.
    pub(crate) fn replace(&self, kind: Kind, renew: bool) -> Result<(Option<Token>, Ended), Problem> {
        let token = if renew { Some(Token::random().map_err(no_random)?) } else { None };
        let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
        if !book.is_guarded(kind) {
            let kind = kind.as_str();
            let detail =
                format!("no {kind} token was set or made when the server started; set it and start again");
            return Err(Problem::new(409, "no_such_token", detail).field("kind").value(kind));
        }
        book.replace(kind, token.clone());
        Ok((token, self.let_in().take(kind)))
    }

    fn book(&self) -> RwLockReadGuard<'_, Book> {
        self.book.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn let_in(&self) -> std::sync::MutexGuard<'_, Open> {
        self.let_in.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seconds(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_secs()
    }
}

fn no_random(error: std::io::Error) -> Problem {
    Problem::new(503, "no_random_numbers", error.to_string())
}

/// What to do against an [exposure](Access::exposure).
pub(crate) const EXPOSURE_FIX: &str =
    "leave out open_access and tokens are made, or bind 127.0.0.1 and open no tunnel (docs/SECURITY.md)";

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
