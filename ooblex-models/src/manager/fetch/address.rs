//! Addresses that files may be fetched from.

use std::fmt;

use ureq::http::Uri;

use super::FetchError;

/// An address that files may be fetched from: HTTPS, or plain HTTP on this machine; without user and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(Uri);

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// [`FetchError::Address`] with what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, FetchError> {
        let wrong = |reason: &str| FetchError::Address { address: shown(text), reason: reason.to_owned() };
        let uri: Uri = text.parse().map_err(|_| wrong("it is no URL"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong("it is no URL; write it like https://example.org/models/"));
        };
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(wrong("it must have a host, and neither user nor password"));
        }
        match scheme {
            "https" => Ok(Self(uri)),
            "http" if is_loopback(authority.host()) => Ok(Self(uri)),
            "http" => Err(wrong("plain HTTP is for this machine alone; use https://")),
            _ => Err(wrong("it must begin with https://")),
        }
    }

    /// The address that `reference` means on a page of this address (RFC 3986 section 5, without dot segments).
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn join(&self, reference: &str) -> Result<Self, FetchError> {
        let (scheme, authority) =
            (self.0.scheme_str().unwrap_or_default(), self.0.authority().map_or("", |a| a.as_str()));
        let path = self.0.path();
        let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
        match reference {
            _ if has_scheme(reference) => Self::parse(reference),
            _ if reference.starts_with("//") => Self::parse(&format!("{scheme}:{reference}")),
            _ if reference.starts_with('/') => Self::parse(&format!("{scheme}://{authority}{reference}")),
            _ => Self::parse(&format!("{scheme}://{authority}{folder}{reference}")),
        }
    }

    /// Where a redirect leads. It must not lead from the net to this machine, nor away from HTTPS.
    ///
    /// # Errors
    /// [`FetchError::Address`].
    pub(super) fn follow(&self, location: &str) -> Result<Self, FetchError> {
        let next = self.join(location)?;
        if !self.is_loopback() && next.is_loopback() {
            let reason = "a redirect must not lead to this machine".into();
            return Err(FetchError::Address { address: next.to_string(), reason });
        }
        Ok(next)
    }

    pub(super) fn is_loopback(&self) -> bool {
        self.0.host().is_some_and(is_loopback)
    }

    /// Whether it names a manifest rather than a folder.
    pub(super) fn is_manifest(&self) -> bool {
        self.0.path().ends_with(".json")
    }

    /// The same as a folder: with a slash at the end.
    ///
    /// # Errors
    /// [`FetchError::Address`].
    pub(super) fn into_folder(self) -> Result<Self, FetchError> {
        if self.0.path().ends_with('/') { Ok(self) } else { Self::parse(&format!("{}/", self.0)) }
    }

    /// The same, if it has no query: names cannot be added to one, and it may hold what is secret.
    ///
    /// # Errors
    /// [`FetchError::Address`].
    pub(super) fn without_query(self) -> Result<Self, FetchError> {
        let reason = || "it must have no `?`".to_owned();
        match self.0.query() {
            None => Ok(self),
            Some(_) => Err(FetchError::Address { address: self.to_string(), reason: reason() }),
        }
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.0
    }
}

impl fmt::Display for Address {
    /// Without the query, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0.to_string()))
    }
}

/// An address without what may be secret in it.
fn shown(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let host = rest.find('/').unwrap_or(rest.len());
    let rest = rest[..host].rfind('@').map_or(rest, |at| &rest[at + 1..]);
    let shown = if scheme.is_empty() { rest.to_owned() } else { format!("{scheme}://{rest}") };
    shown.chars().take(300).collect()
}

fn has_scheme(reference: &str) -> bool {
    reference.split_once("://").is_some_and(|(scheme, _)| scheme.chars().all(|c| c.is_ascii_alphanumeric()))
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Address {
        Address::parse(text).expect(text)
    }

    #[test]
    fn https_or_this_machine() {
        for good in
            ["https://example.org/models/", "http://127.0.0.1:8000/x", "http://[::1]/", "http://localhost/"]
        {
            assert!(Address::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "http://example.org/",
            "http://127.0.0.1.example.org/",
            "ftp://example.org/",
            "file:///etc/passwd",
            "/etc/passwd",
            "example.org",
            "https://user:secret@example.org/",
            "https:///models",
            "",
            "https://exa mple.org/",
        ] {
            let error = Address::parse(bad).expect_err(bad);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        assert_eq!(of("https://example.org/a?key=secret").to_string(), "https://example.org/a");
    }

    #[test]
    fn references_are_joined() {
        let base = of("https://example.org/models/v1/list.json?key=1");
        for (reference, whole) in [
            ("a.onnx", "https://example.org/models/v1/a.onnx"),
            ("sub/a.onnx?x=://y", "https://example.org/models/v1/sub/a.onnx?x=://y"),
            ("/a.onnx", "https://example.org/a.onnx"),
            ("//cdn.example.org/a", "https://cdn.example.org/a"),
            ("https://cdn.example.org/a", "https://cdn.example.org/a"),
        ] {
            assert_eq!(base.join(reference).expect(reference), of(whole), "{reference}");
        }
        for bad in ["http://example.org/a", "ftp://x/y", "//user@x/y"] {
            assert!(base.join(bad).is_err(), "{bad}");
        }
        assert_eq!(of("https://example.org").join("a").expect("joins"), of("https://example.org/a"));
    }

    #[test]
    fn redirects_stay_outside_or_inside() {
        assert!(of("https://example.org/").follow("http://127.0.0.1/").is_err());
        assert!(of("https://example.org/").follow("https://localhost/").is_err());
        assert!(of("https://example.org/").follow("https://cdn.example.org/").is_ok());
        assert!(of("http://127.0.0.1/").follow("/there").is_ok());
    }

    #[test]
    fn folders_end_with_a_slash() {
        assert_eq!(of("https://example.org/m").into_folder(), Ok(of("https://example.org/m/")));
        assert_eq!(of("https://example.org").into_folder(), Ok(of("https://example.org/")));
        assert!(of("https://example.org/m?x=1").without_query().is_err());
    }
}
