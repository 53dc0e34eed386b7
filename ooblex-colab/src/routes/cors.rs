//! Which web pages may do what.
//!
//! Any page may show pictures of a server that listens on loopback and has no tokens. Everything else is for the server's own page and
//! for the origins of the setting `cors_origins`. What changes something is refused to other sites even where a
//! browser would not ask first: a `GET`, a form post, a WebSocket.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use ooblex_http::Problem;

use crate::access::Right;
use crate::config::{Config, WebOrigin};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "X-Ooblex-Stream, X-Ooblex-Sequence, Retry-After, Location, Link, ETag, Accept-Patch, Accept-Post, WWW-Authenticate",
);
/// Headers that a page may send. The last one asks a tunnel not to put a page of its own before the answer.
const SENT: HeaderValue = HeaderValue::from_static(
    "Content-Type, Authorization, If-Match, X-Transform-Type, Ngrok-Skip-Browser-Warning",
);

/// The rules of one server.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    /// Whether any page may show the pictures.
    shown_anywhere: bool,
    origins: Vec<WebOrigin>,
}

impl Policy {
    pub(super) fn new(config: &Config) -> Self {
        let tokens = [&config.publish_token, &config.view_token, &config.control_token];
        let guarded = tokens.iter().any(|token| token.is_some());
        let shown_anywhere = !config.reachable_from_outside() && !guarded;
        Self { shown_anywhere, origins: config.cors_origins.clone() }
    }

    /// What `Access-Control-Allow-Origin` says to a request for `path`, if anything.
    fn allowed(&self, path: &str, method: &Method, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN);
        if let Some(origin) = origin.filter(|o| self.lists(o)) {
            return Some(origin.clone());
        }
        let reads = matches!(*method, Method::GET | Method::HEAD);
        (self.shown_anywhere && reads && is_picture(path)).then(|| HeaderValue::from_static("*"))
    }

    fn lists(&self, origin: &HeaderValue) -> bool {
        self.origins.iter().any(|o| o.as_str().as_bytes() == origin.as_bytes())
    }

    /// Refuses what changes something, and sockets, to pages of other sites. `ambient` says that the browser added the
    /// token by itself, so that more is asked for.
    pub(super) fn check(
        &self,
        right: Right,
        method: &Method,
        headers: &HeaderMap,
        ambient: bool,
    ) -> Result<(), Problem> {
        // Reading is what CORS is about, but there is none for WebSockets.
        let socket = headers.contains_key(header::UPGRADE);
        if !(matches!(right, Right::Publish | Right::Control) || socket && right == Right::View) {
            return Ok(());
        }
        let origin = || headers.get(header::ORIGIN).and_then(|o| o.to_str().ok()).unwrap_or("another site");
        match self.sender(headers, ambient) {
            Sender::Allowed => Ok(()),
            // A browser names the page of whatever it sends by itself, except when a link is followed.
            Sender::Unnamed if !(ambient && method == Method::GET) => Ok(()),
            Sender::Unnamed => {
                let detail = "a link may not do this by a cookie alone; use the page, or another way to send the token";
                Err(Problem::new(403, "cross_site", detail).field("origin"))
            }
            Sender::Foreign => {
                let origin = origin();
                let detail =
                    format!("a page of {origin} may not do this; allow it by the setting cors_origins");
                Err(Problem::new(403, "cross_site", detail).field("origin").value(origin))
            }
        }
    }

    /// Whether a browser sent this for a page of this server, or of another site. Cookies do not tell ports of a host
    /// apart, so `exact` has the ports compared, too.
    fn sender(&self, headers: &HeaderMap, exact: bool) -> Sender {
        let origin = headers.get(header::ORIGIN);
        if origin.is_some_and(|o| self.lists(o)) {
            return Sender::Allowed;
        }
        match headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes) {
            Some(b"same-origin" | b"none") => return Sender::Allowed,
            Some(b"cross-site") => return Sender::Foreign,
            _ => {}
        }
        let of = if exact { authority_of } else { host_of };
        let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).map(of);
        let page = origin.or_else(|| headers.get(header::REFERER));
        match page.map(|p| p.to_str().ok().and_then(|p| p.split_once("://")).map(|(_, rest)| of(rest))) {
            // Programs that are not browsers send none of these headers.
            None => Sender::Unnamed,
            Some(page) if page.is_some() && page == host => Sender::Allowed,
            // Also `Origin: null`, or something unreadable.
            Some(_) => Sender::Foreign,
        }
    }

    /// Adds the headers that let a page read a response.
    pub(super) fn decorate(
        &self,
        path: &str,
        method: &Method,
        request: &HeaderMap,
        response: &mut HeaderMap,
    ) {
        if let Some(origin) = self.allowed(path, method, request) {
            response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            response.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
        if !self.origins.is_empty() {
            response.append(header::VARY, HeaderValue::from_static("Origin"));
        }
    }

    /// Answers the question that a browser asks before some requests; `allow` lists the methods of the path.
    pub(super) fn preflight(
        &self,
        path: &str,
        allow: &str,
        request: &HeaderMap,
        response: &mut HeaderMap,
    ) -> Result<(), Problem> {
        let Some(wanted) = request.get(header::ACCESS_CONTROL_REQUEST_METHOD) else { return Ok(()) };
        let method = Method::from_bytes(wanted.as_bytes()).unwrap_or_default();
        let Some(origin) = self.allowed(path, &method, request) else {
            let origin = request.get(header::ORIGIN).and_then(|o| o.to_str().ok()).unwrap_or("null");
            let detail = format!("pages of {origin} may not do this; allow it by the setting cors_origins");
            return Err(Problem::new(403, "origin_not_allowed", detail).field("origin").value(origin));
        };
        response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        // Invariant: `allow` is made of method names.
        if let Ok(allow) = HeaderValue::from_str(allow) {
            response.insert(header::ACCESS_CONTROL_ALLOW_METHODS, allow);
        }
        response.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, SENT);
        response.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        Ok(())
    }
}

/// Streams and snapshots.
fn is_picture(path: &str) -> bool {
    [".mjpg", ".jpg", ".png"].iter().any(|suffix| path.ends_with(suffix))
}

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    /// The server's own page, or one that may.
    Allowed,
    /// No page, or one that is not named.
    Unnamed,
    /// A page of another site.
    Foreign,
}

/// The host and port of `host:port/path`, lowercase.
fn authority_of(rest: &str) -> String {
    rest.split(['/', '?', '#']).next().unwrap_or_default().to_ascii_lowercase()
}

/// The host of `host:port/path`, lowercase, without the port.
fn host_of(rest: &str) -> String {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.rfind(']') {
        // An IPv6 address in brackets.
        Some(end) => &authority[..=end],
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(bind: &str, origins: &[&str]) -> Policy {
        Policy::new(&Config {
            bind: bind.parse().expect("address"),
            cors_origins: origins.iter().map(|o| o.parse().expect("origin")).collect(),
            ..Config::default()
        })
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn any_page_shows_pictures_of_a_loopback_server_and_nothing_else() {
        let local = policy("127.0.0.1", &["https://ok.example"]);
        let open = policy("0.0.0.0", &[]);
        let none = HeaderMap::new();
        for path in ["/stream.mjpg", "/cam.jpg", "/streams/a/snapshot.png"] {
            assert_eq!(local.allowed(path, &Method::GET, &none).expect(path), "*");
            assert_eq!(open.allowed(path, &Method::GET, &none), None);
            assert_eq!(local.allowed(path, &Method::POST, &none), None);
        }
        assert_eq!(local.allowed("/health", &Method::GET, &none), None);
        let listed = headers(&[("origin", "https://ok.example")]);
        assert_eq!(local.allowed("/effect", &Method::POST, &listed).expect("listed"), "https://ok.example");
    }

    #[test]
    fn other_sites_change_nothing() {
        let policy = policy("127.0.0.1", &["https://ok.example"]);
        let check = |pairs: &[_]| policy.check(Right::Control, &Method::GET, &headers(pairs), false).is_ok();
        assert!(check(&[]), "a program that is no browser");
        assert!(check(&[("sec-fetch-site", "same-origin"), ("host", "a:1"), ("origin", "http://proxy")]));
        assert!(check(&[("sec-fetch-site", "none")]), "typed into the address bar");
        assert!(!check(&[("sec-fetch-site", "cross-site")]));
        assert!(!check(&[("sec-fetch-site", "same-site"), ("host", "a.x"), ("origin", "http://b.x")]));
        assert!(check(&[("sec-fetch-site", "same-site"), ("host", "a.x:81"), ("origin", "http://a.x:82")]));
        assert!(check(&[("host", "LocalHost:8081"), ("origin", "http://localhost:8081")]));
        assert!(check(&[("host", "[::1]:8081"), ("referer", "http://[::1]:9/page?q")]));
        assert!(!check(&[("host", "localhost:8081"), ("origin", "http://evil.example")]));
        assert!(!check(&[("host", "localhost:8081"), ("referer", "http://evil.example/localhost:8081")]));
        assert!(!check(&[("host", "localhost:8081"), ("origin", "null")]));
        assert!(check(&[("sec-fetch-site", "cross-site"), ("origin", "https://ok.example")]));
        let foreign = headers(&[("sec-fetch-site", "cross-site")]);
        assert!(policy.check(Right::View, &Method::GET, &foreign, false).is_ok());
        let socket = headers(&[("sec-fetch-site", "cross-site"), ("upgrade", "websocket")]);
        assert!(policy.check(Right::View, &Method::GET, &socket, false).is_err());
    }

    #[test]
    fn a_cookie_alone_must_come_from_the_page_itself() {
        let policy = policy("127.0.0.1", &["https://ok.example"]);
        let check = |method: Method, pairs: &[_]| {
            policy.check(Right::Control, &method, &headers(pairs), true).is_ok()
        };
        let neighbour = [("host", "a.x:81"), ("origin", "http://a.x:82")];
        assert!(!check(Method::POST, &neighbour), "another port of this host");
        assert!(!check(Method::POST, &[&neighbour[..], &[("sec-fetch-site", "same-site")]].concat()));
        assert!(check(Method::POST, &[("host", "a.x:81"), ("origin", "http://a.x:81")]));
        assert!(check(Method::POST, &[("host", "a.x:81")]), "a browser would have named the page");
        assert!(!check(Method::GET, &[("host", "a.x:81")]), "a link on an unencrypted page");
        assert!(check(Method::GET, &[("host", "a.x:81"), ("referer", "http://a.x:81/")]));
        assert!(check(Method::GET, &[("sec-fetch-site", "none")]));
        assert!(check(Method::GET, &[("origin", "https://ok.example")]));
    }

    #[test]
    fn pictures_of_a_guarded_server_are_not_for_every_page() {
        let mut config = Config::default();
        let shown = |config: &Config| Policy::new(config).allowed("/a.jpg", &Method::GET, &HeaderMap::new());
        assert!(shown(&config).is_some());
        config.publish_token = crate::config::Token::new("0123456789abcdef").ok();
        assert_eq!(shown(&config), None);
    }

    #[test]
    fn preflights_are_answered_for_allowed_origins() {
        let policy = policy("127.0.0.1", &["https://ok.example"]);
        let ask = |origin, method| {
            let request = headers(&[("origin", origin), ("access-control-request-method", method)]);
            let mut response = HeaderMap::new();
            policy.preflight("/effect", "POST, OPTIONS", &request, &mut response).map(|()| response)
        };
        let yes = ask("https://ok.example", "POST").expect("allowed");
        assert_eq!(yes["access-control-allow-origin"], "https://ok.example");
        assert_eq!(yes["access-control-allow-methods"], "POST, OPTIONS");
        assert_eq!(ask("https://evil.example", "POST").expect_err("refused").code(), "origin_not_allowed");
    }
}
