//! One server and its URLs.

use std::fmt;
use std::str::FromStr;

use super::url::{IceUrl, IceUrlError};

/// Longest user name or credential; real ones have less than 200 characters.
const MAX_SECRET: usize = 512;
/// Most URLs of one server.
pub(crate) const MAX_URLS: usize = 16;

/// One STUN or TURN server, as browsers take it in `iceServers`.
///
/// Parses from `URL[,user,credential]`; the credential is everything after the second comma. `Debug` shows neither
/// user name nor credential.
///
/// ```
/// use ooblex_ingest::ice::IceServer;
///
/// let server: IceServer = "turn:turn.example.org:3478?transport=tcp,me,secret".parse()?;
/// assert_eq!(server.username.as_deref(), Some("me"));
/// assert!(!format!("{server:?}").contains("secret"));
/// # Ok::<(), ooblex_ingest::ice::IceServerError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct IceServer {
    /// `stun:`, `stuns:`, `turn:` and `turns:` URLs (RFC 7064, RFC 7065) of the server.
    pub urls: Vec<String>,
    /// User name, if the server wants one.
    pub username: Option<String>,
    /// Password, if the server wants one.
    pub credential: Option<String>,
}

/// A server that is refused. Shows nothing of a user name or credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IceServerError {
    /// One of its URLs is none.
    #[error(transparent)]
    Url(#[from] IceUrlError),
    /// A TURN server without a user name or credential.
    #[error("{url} needs a user name and a credential, for example `{url},user,credential`")]
    NoCredential {
        /// The URL.
        url: String,
    },
    /// There is no URL, or there are too many.
    #[error("{0} URLs for one server; 1 to {MAX_URLS} are allowed")]
    UrlCount(usize),
    /// A user name or credential that is too long or has control characters.
    #[error(
        "the {what} of {url} has {length} characters, or control characters; at most {MAX_SECRET} are allowed"
    )]
    Secret {
        /// `user name` or `credential`.
        what: &'static str,
        /// The server's first URL.
        url: String,
        /// Its length.
        length: usize,
    },
}

impl IceServer {
    /// A server that needs no credentials.
    ///
    /// # Errors
    /// As for parsing.
    pub fn open(url: &str) -> Result<Self, IceServerError> {
        Self { urls: vec![url.to_owned()], username: None, credential: None }.checked()
    }

    /// The server itself, if its URLs, user name and credential are acceptable.
    ///
    /// # Errors
    /// [`IceServerError`] says what is wrong, without credentials.
    pub fn checked(self) -> Result<Self, IceServerError> {
        if self.urls.is_empty() || self.urls.len() > MAX_URLS {
            return Err(IceServerError::UrlCount(self.urls.len()));
        }
        for url in self.parsed()? {
            let has = |field: &Option<String>| field.as_ref().is_some_and(|v| !v.is_empty());
            if url.is_turn() && !(has(&self.username) && has(&self.credential)) {
                return Err(IceServerError::NoCredential { url: url.to_string() });
            }
        }
        for (what, field) in [("user name", &self.username), ("credential", &self.credential)] {
            let Some(value) = field else { continue };
            let length = value.chars().count();
            if length > MAX_SECRET || value.chars().any(char::is_control) {
                return Err(IceServerError::Secret { what, url: self.urls[0].clone(), length });
            }
        }
        Ok(self)
    }

    /// When its credentials end, in seconds since 1970, if the user name begins with that, as time-limited ones do.
    pub(crate) fn expiry(&self) -> Option<u64> {
        let digits = self.username.as_deref()?.split(':').next().unwrap_or_default();
        // Ten digits since 2001 and until 2286; fewer are somebody's name.
        (digits.len() == 10).then(|| digits.parse().ok()).flatten()
    }

    /// The URLs, taken apart.
    ///
    /// # Errors
    /// [`IceUrlError`] for the first that is none.
    pub fn parsed(&self) -> Result<Vec<IceUrl>, IceUrlError> {
        self.urls.iter().map(|url| url.parse()).collect()
    }
}

impl FromStr for IceServer {
    type Err = IceServerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.trim().splitn(3, ',');
        let url = parts.next().unwrap_or_default().trim();
        let username = parts.next().map(|user| user.trim().to_owned());
        let credential = parts.next().map(str::to_owned);
        Self { urls: vec![url.to_owned()], username, credential }.checked()
    }
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL may be malformed here and then hold anything, so only what parses is shown.
        let shown = |url: &String| match url.parse::<IceUrl>() {
            Ok(url) => url.to_string(),
            Err(_) => "(not a URL)".to_owned(),
        };
        let urls: Vec<String> = self.urls.iter().map(shown).collect();
        f.debug_struct("IceServer").field("urls", &urls).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_url_a_user_and_a_credential() {
        let server: IceServer = "turn:turn.example.org,1700000000:me,a,b==".parse().expect("server");
        assert_eq!(server.urls, ["turn:turn.example.org"]);
        assert_eq!(server.username.as_deref(), Some("1700000000:me"));
        assert_eq!(server.credential.as_deref(), Some("a,b=="), "a credential may hold commas");
        let stun: IceServer = " stun:stun.example.org:19302 ".parse().expect("server");
        assert_eq!((stun.username, stun.credential), (None, None));
    }

    #[test]
    fn a_turn_server_without_a_credential_is_refused_with_an_example() {
        for text in ["turn:t.example.org", "turn:t.example.org,me", "turns:t.example.org,,x"] {
            let error = text.parse::<IceServer>().expect_err(text).to_string();
            assert!(error.contains(",user,credential`"), "{error}");
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        let server: IceServer = "turn:t.example.org,topuser,topsecret".parse().expect("server");
        let printed = format!("{server:?}");
        assert!(printed.contains("t.example.org") && !printed.contains("top"), "{printed}");
        // The user wrote the parts in a wrong order, or with a wrong separator.
        for text in ["topsecret,turn:t.example.org,topuser", "turn:t.example.org topuser topsecret,a,b"] {
            let error = text.parse::<IceServer>().expect_err(text);
            assert!(!format!("{error} {error:?}").contains("topuser"), "{error:?}");
        }
        let long = "x".repeat(600);
        let error = format!("turn:t.example.org,me,{long}").parse::<IceServer>().expect_err("too long");
        assert!(!error.to_string().contains("xxxx") && error.to_string().contains("600"), "{error}");
        let unparsed = IceServer { urls: vec!["topsecret".into()], username: None, credential: None };
        assert!(!format!("{unparsed:?}").contains("topsecret"));
    }
}
