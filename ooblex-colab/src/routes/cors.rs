//! Which web pages may do what.
//!
//! Any page may show pictures of a server that listens on loopback. Everything else is for the server's own page and
//! for the origins of the setting `cors_origins`. What changes something is refused to other sites even where a
//! browser would not ask first: a `GET`, a form post, a WebSocket.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use ooblex_http::Problem;

use super::table::Right;
use crate::config::{Config, WebOrigin};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const EXPOSED: HeaderValue = HeaderValue::from_static("X-Ooblex-Stream, X-Ooblex-Sequence, Retry-After");

/// The rules of one server.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    loopback: bool,
    origins: Vec<WebOrigin>,
}

impl Policy {
    pub(super) fn new(config: &Config) -> Self {
        Self { loopback: is_loopback(config.bind), origins: config.cors_origins.clone() }
    }

    /// What `Access-Control-Allow-Origin` says to a request for `path`, if anything.
    fn allowed(&self, path: &str, method: &Method, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN);
        if let Some(origin) = origin.filter(|o| self.lists(o)) {
            return Some(origin.clone());
        }
        let reads = matches!(*method, Method::GET | Method::HEAD);
        (self.loopback && reads && is_picture(path)).then(|| HeaderValue::from_static("*"))
    }

    fn lists(&self, origin: &HeaderValue) -> bool {
        self.origins.iter().any(|o| o.as_str().as_bytes() == origin.as_bytes())
    }

    /// Refuses what changes something to pages of other sites.
    pub(super) fn check(&self, right: Right, headers: &HeaderMap) -> Result<(), Problem> {
        if !matches!(right, Right::Publish | Right::Control) || !self.is_cross_site(headers) {
            return Ok(());
        }
        let origin = headers.get(header::ORIGIN).and_then(|o| o.to_str().ok()).unwrap_or("another site");
        let detail = format!("a page of {origin} may not do this; allow it by the setting cors_origins");
        Err(Problem::new(403, "cross_site", detail).field("origin").value(origin))
    }

    /// Whether a browser sent this for a page of another site. Programs that are not browsers send none of these
    /// headers.
    fn is_cross_site(&self, headers: &HeaderMap) -> bool {
        let origin = headers.get(header::ORIGIN);
        if origin.is_some_and(|o| self.lists(o)) {
            return false;
        }
        match headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes) {
            Some(b"same-origin" | b"none") => return false,
            Some(b"cross-site") => return true,
            _ => {}
        }
        let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).map(host_of);
        let page = origin.or_else(|| headers.get(header::REFERER));
        match page.map(|p| p.to_str().ok().and_then(|p| p.split_once("://")).map(|(_, rest)| host_of(rest))) {
            None => false,
            // `Origin: null`, or something unreadable.
            Some(None) => true,
            Some(page) => page != host,
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
        response.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
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
        response.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("Content-Type, Authorization"),
        );
        response.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        Ok(())
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Streams and snapshots.
fn is_picture(path: &str) -> bool {
    [".mjpg", ".jpg", ".png"].iter().any(|suffix| path.ends_with(suffix))
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
        let check = |pairs: &[_]| policy.check(Right::Control, &headers(pairs)).is_ok();
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
        assert!(policy.check(Right::View, &headers(&[("sec-fetch-site", "cross-site")])).is_ok());
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
