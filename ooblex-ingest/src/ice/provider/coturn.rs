//! Time-limited credentials that a TURN server checks by a shared secret: coturn's `use-auth-secret`, the scheme of
//! draft-uberti-behave-turn-rest-00 section 2.2.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::ice::{IceServer, IceUrl, Secret};

/// Who asks, in the user name: seen in the server's log alone.
const NAME: &str = "ooblex";

/// TURN servers that share a secret with this one.
#[derive(Clone, PartialEq, Eq)]
pub struct Coturn {
    urls: Vec<IceUrl>,
    secret: Secret,
}

impl Coturn {
    /// Servers at `urls`, all with the same secret.
    pub fn new(urls: Vec<IceUrl>, secret: Secret) -> Self {
        Self { urls, secret }
    }

    /// The servers' URLs.
    pub fn urls(&self) -> &[IceUrl] {
        &self.urls
    }

    /// Credentials that end after `life`. `unix` is the time in seconds since 1970.
    pub fn mint(&self, unix: u64, life: Duration) -> IceServer {
        let username = format!("{}:{NAME}", unix.saturating_add(life.as_secs()));
        let credential = credential(self.secret.expose(), &username);
        let urls = self.urls.iter().map(IceUrl::to_string).collect();
        IceServer { urls, username: Some(username), credential: Some(credential) }
    }
}

/// base64(HMAC-SHA1(secret, user name)). SHA-1 is what the servers expect; an HMAC does not suffer from its
/// collisions.
fn credential(secret: &str, username: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    STANDARD.encode(hmac::sign(&key, username.as_bytes()))
}

impl fmt::Debug for Coturn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coturn").field("urls", &self.urls).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_the_published_hmac() {
        // RFC 2202 section 3, test case 2.
        assert_eq!(credential("Jefe", "what do ya want for nothing?"), "7/zfauXrL6LSdBbV8YTfnCWafHk=");
        // echo -n 1700000600:ooblex | openssl dgst -binary -sha1 -hmac north | base64
        let coturn = Coturn::new(vec!["turn:t.example".parse().expect("url")], Secret::new("north"));
        let server = coturn.mint(1_700_000_000, Duration::from_secs(600));
        assert_eq!(server.username.as_deref(), Some("1700000600:ooblex"));
        assert_eq!(server.credential.as_deref(), Some("ksIzrJt6FSx7C3Ujc6NLXajTyxk="));
        assert_eq!(server.urls, ["turn:t.example:3478"]);
    }

    #[test]
    fn the_secret_is_not_printed() {
        let coturn = Coturn::new(vec!["turn:t.example".parse().expect("url")], Secret::new("north"));
        assert!(!format!("{coturn:?}").contains("north"));
    }
}
