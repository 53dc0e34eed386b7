//! The tokens that count now: replaced and taken back while the server runs.

use ring::hmac;

use super::kind::{Kind, gives};
use super::rights::Rights;
use super::tag;
use crate::config::{Config, Token};

/// Every token, and since when.
pub(super) struct Book {
    pages: [Page; 4],
    gives: [Rights; 4],
    /// Counts changes: a [`Grant`] knows by it whether it is older than one.
    changes: u64,
    key: hmac::Key,
    tags: Option<hmac::Key>,
    link: Option<Token>,
}

/// What is known of one kind.
#[derive(Default)]
struct Page {
    tag: Option<hmac::Tag>,
    /// Whether there was one at the start, so that its right stays guarded also without a token.
    guarded: bool,
    changed: u64,
}

/// By which tokens somebody was let in, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grant {
    kinds: u8,
    at: u64,
}

impl Grant {
    pub(super) fn is_by(self, kind: Kind) -> bool {
        self.kinds & kind.bit() != 0
    }

    /// Whether it comes from a token at all.
    pub(super) fn is_some(self) -> bool {
        self.kinds != 0
    }
}

/// A token that counts.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) gives: Rights,
    pub(super) kind: Kind,
    /// Whether it is one of those that end soon.
    pub(super) is_tag: bool,
}

impl Book {
    pub(super) fn new(config: &Config, link: Option<Token>) -> Self {
        // The comparison takes the same time wherever two tags differ, so this key need not be secret.
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"ooblex token");
        let configured = [&config.control_token, &config.publish_token, &config.view_token, &link];
        let page = |token: &Option<Token>| {
            let tag = token.as_ref().map(|token| hmac::sign(&key, token.expose().as_bytes()));
            Page { guarded: tag.is_some(), tag, changed: 0 }
        };
        let pages = configured.map(page);
        let gives = gives(config.publish_token.is_some(), config.control_token.is_some());
        Self { pages, gives, changes: 0, key, tags: tag::key(), link }
    }

    /// Looks at every token, so that the time taken does not tell which one it is.
    pub(super) fn recognize(&self, token: &str, now: u64) -> Option<Known> {
        let mut found =
            self.tags.as_ref().and_then(|key| tag::read(key, token, now)).and_then(|(kind, changes)| {
                let page = &self.pages[kind.index()];
                // A tag ends together with the token that it was made for.
                let lives = page.tag.is_some() && page.changed <= changes;
                lives.then_some(Known { gives: self.gives[Kind::Link.index()], kind, is_tag: true })
            });
        for kind in Kind::ALL {
            let tag = self.pages[kind.index()].tag.as_ref();
            let fits = tag.is_some_and(|tag| hmac::verify(&self.key, token.as_bytes(), tag.as_ref()).is_ok());
            if fits && found.is_none() {
                found = Some(Known { gives: self.gives[kind.index()], kind, is_tag: false });
            }
        }
        found
    }

    pub(super) fn grant(&self, before: Grant, kind: Kind) -> Grant {
        Grant { kinds: before.kinds | kind.bit(), at: self.changes }
    }

    /// Whether nothing was taken back since.
    pub(super) fn stands(&self, grant: Grant) -> bool {
        Kind::ALL.into_iter().all(|k| !grant.is_by(k) || self.pages[k.index()].changed <= grant.at)
    }

    /// A tag for whoever has a token of this kind.
    pub(super) fn tag(&self, kind: Kind, now: u64) -> Option<Token> {
        self.tags.as_ref().map(|key| tag::make(key, kind, self.changes, now))
    }

    /// The one in links.
    pub(super) fn link(&self) -> Option<&Token> {
        self.link.as_ref()
    }

    /// Whether there is a token of this kind, or was one.
    pub(super) fn is_guarded(&self, kind: Kind) -> bool {
        self.pages[kind.index()].guarded
    }

    /// From now on `token` counts, or none.
    pub(super) fn replace(&mut self, kind: Kind, token: Option<Token>) {
        self.changes += 1;
        let page = &mut self.pages[kind.index()];
        page.changed = self.changes;
        page.tag = token.as_ref().map(|token| hmac::sign(&self.key, token.expose().as_bytes()));
        if kind == Kind::Link {
            self.link = token;
        }
    }
}
