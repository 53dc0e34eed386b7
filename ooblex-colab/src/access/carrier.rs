//! How tokens travel: taken out of a request before anybody else sees it, and put into the answer where it needs one.

use axum::extract::Request;
use axum::response::Response;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};

use crate::config::Token;

/// The cookie.
pub(crate) const COOKIE: &str = "ooblex_token";
/// Paths that begin like this hold a token: `/t/TOKEN/stream.mjpg`.
const PREFIX: &str = "/t/";
/// The query parameter.
const PARAMETER: &str = "token";
/// A WebSocket subprotocol that holds a token.
const SUBPROTOCOL: &str = "ooblex.token.";
/// The subprotocol that says nothing, for answering.
const PLAIN_SUBPROTOCOL: &str = "ooblex";
/// Tokens of one request that are looked at: one of each kind, and a second cookie that another path left.
const MOST_TOKENS: usize = 6;

/// What a token came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// `Authorization: Bearer`.
    Header,
    /// In front of the path.
    Path,
    /// A WebSocket subprotocol.
    Subprotocol,
    /// A cookie.
    Cookie,
    /// `?token=`.
    Query,
}

/// The tokens of one request.
#[derive(Default)]
pub(crate) struct Credentials {
    tokens: Vec<(Via, String)>,
}

/// What the answer to a request needs to say because of how its token came.
#[derive(Default)]
pub(crate) struct Answer {
    /// The part of the path that was taken away, to be put in front of a `Location` again.
    prefix: Option<String>,
    /// The subprotocol to agree to.
    subprotocol: Option<HeaderValue>,
    /// Whether the cookie must not leave an encrypted connection.
    secure: bool,
}

impl Credentials {
    /// Takes every token out of a request: path, query and headers are then as if there had been none.
    pub(crate) fn take(request: &mut Request) -> (Self, Answer) {
        let mut taken = Self::default();
        let mut answer = Answer { secure: is_secure(request.headers()), ..Answer::default() };
        taken.take_header(request.headers_mut());
        taken.take_from_uri(request, &mut answer);
        taken.take_subprotocol(request.headers_mut(), &mut answer);
        taken.take_cookies(request.headers_mut());
        taken.tokens.truncate(MOST_TOKENS);
        (taken, answer)
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Every token, with what it came by.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = (Via, &str)> {
        self.tokens.iter().map(|(via, token)| (*via, token.as_str()))
    }

    /// Whether a browser added all of them by itself, perhaps for a page that its user did not mean.
    pub(crate) fn are_ambient(&self) -> bool {
        !self.is_empty() && self.tokens.iter().all(|(via, _)| *via == Via::Cookie)
    }

    /// The token in front of the path.
    pub(crate) fn of_path(&self) -> Option<&str> {
        self.tokens().find_map(|(via, token)| (via == Via::Path).then_some(token))
    }

    fn take_header(&mut self, headers: &mut HeaderMap) {
        let Some(value) = headers.remove(header::AUTHORIZATION) else { return };
        let token = value.to_str().ok().and_then(|v| v.split_once(' '));
        if let Some((_, token)) = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) {
            self.tokens.push((Via::Header, token.trim().to_owned()));
        }
    }

    fn take_from_uri(&mut self, request: &mut Request, answer: &mut Answer) {
        let (path, query) = (request.uri().path(), request.uri().query());
        let of_path = path.strip_prefix(PREFIX).and_then(|rest| {
            let (token, _) = rest.split_once('/')?;
            (!token.is_empty()).then(|| (token.to_owned(), path[PREFIX.len() + token.len()..].to_owned()))
        });
        let of_query = query.filter(|q| pairs(q).any(|p| is_token(&p))).map(|query| {
            let kept: Vec<&str> = pairs(query).filter(|p| !is_token(p)).collect();
            let tokens: Vec<String> = pairs(query).filter(is_token).map(value_of).collect();
            (kept.join("&"), tokens)
        });
        if of_path.is_none() && of_query.is_none() {
            return;
        }
        let new_path = of_path.as_ref().map_or(path, |(_, rest)| rest);
        let new_query =
            of_query.as_ref().map_or(query, |(kept, _)| Some(kept.as_str()).filter(|k| !k.is_empty()));
        let whole = new_query.map_or_else(|| new_path.to_owned(), |q| format!("{new_path}?{q}"));
        // Invariant: parts of a path and a query make a path and a query again.
        if let Ok(whole) = PathAndQuery::try_from(whole) {
            let mut parts = request.uri().clone().into_parts();
            parts.path_and_query = Some(whole);
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
        if let Some((token, _)) = of_path {
            answer.prefix = Some(format!("{PREFIX}{token}"));
            self.tokens.push((Via::Path, token));
        }
        self.tokens.extend(of_query.into_iter().flat_map(|(_, tokens)| tokens).map(|t| (Via::Query, t)));
    }

    fn take_subprotocol(&mut self, headers: &mut HeaderMap, answer: &mut Answer) {
        let offered: Vec<String> = headers
            .get_all(header::SEC_WEBSOCKET_PROTOCOL)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .flat_map(|v| v.split(',').map(|p| p.trim().to_owned()))
            .filter(|p| !p.is_empty())
            .collect();
        let ours = |p: &String| p.starts_with(SUBPROTOCOL) || p == PLAIN_SUBPROTOCOL;
        if !offered.iter().any(ours) {
            return;
        }
        // A browser gives up if none of its subprotocols is agreed to.
        let plain = offered.iter().find(|p| *p == PLAIN_SUBPROTOCOL);
        let agreed = plain.or_else(|| offered.iter().find(|p| ours(p)));
        answer.subprotocol = agreed.and_then(|p| HeaderValue::from_str(p).ok());
        let tokens = offered.iter().filter_map(|p| p.strip_prefix(SUBPROTOCOL));
        self.tokens.extend(tokens.map(|t| (Via::Subprotocol, t.to_owned())));
        headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
        let others: Vec<String> = offered.into_iter().filter(|p| !ours(p)).collect();
        if let (false, Ok(value)) = (others.is_empty(), HeaderValue::from_str(&others.join(", "))) {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
        }
    }

    fn take_cookies(&mut self, headers: &mut HeaderMap) {
        let cookies: Vec<HeaderValue> = headers.get_all(header::COOKIE).iter().cloned().collect();
        let all = cookies.iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(';'));
        let named = all.filter_map(|pair| pair.trim().split_once('='));
        let tokens = named.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value.trim_matches('"'));
        self.tokens.extend(tokens.map(|t| (Via::Cookie, t.to_owned())));
        // No handler reads cookies.
        headers.remove(header::COOKIE);
    }
}

impl Answer {
    /// Whether the browser's connection is encrypted, as far as is known.
    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    /// Makes the answer to a request fit the way its token came.
    pub(crate) fn complete(&self, response: &mut Response) {
        if let Some(prefix) = &self.prefix {
            let place = response.headers().get(header::LOCATION).and_then(|l| l.to_str().ok());
            let place = place.filter(|l| l.starts_with('/') && !l.starts_with("//"));
            let place = place.and_then(|l| HeaderValue::from_str(&format!("{prefix}{l}")).ok());
            place.map(|place| response.headers_mut().insert(header::LOCATION, place));
        }
        let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if let (true, Some(agreed)) = (switched, &self.subprotocol) {
            response.headers_mut().entry(header::SEC_WEBSOCKET_PROTOCOL).or_insert_with(|| agreed.clone());
        }
    }

    /// Has a browser keep `token`, or forget the one it has.
    pub(crate) fn set_cookie(&self, token: Option<&str>, headers: &mut HeaderMap) {
        let (value, age) = match token {
            Some(token) if token.chars().all(Token::allows) => (token, ""),
            Some(_) => return,
            None => ("", "; Max-Age=0"),
        };
        let secure = if self.secure { "; Secure" } else { "" };
        let cookie = format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}");
        // Invariant: the characters of a token are fit for a header.
        if let Ok(mut cookie) = HeaderValue::from_str(&cookie) {
            cookie.set_sensitive(true);
            headers.append(header::SET_COOKIE, cookie);
        }
    }
}

/// Whether the browser's connection is encrypted, by what a proxy in front says. A client that lies about it only
/// keeps itself from getting the cookie back.
fn is_secure(headers: &HeaderMap) -> bool {
    const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
    let proto = headers.get(FORWARDED_PROTO).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let forwarded = headers.get(header::FORWARDED).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let first = |list: &str| list.split(',').next().unwrap_or_default().trim().to_ascii_lowercase();
    first(proto) == "https" || first(forwarded).split(';').any(|part| part.trim() == "proto=https")
}

fn pairs(query: &str) -> impl Iterator<Item = &str> {
    query.split('&')
}

fn is_token(pair: &&str) -> bool {
    pair.split('=').next() == Some(PARAMETER)
}

fn value_of(pair: &str) -> String {
    pair.split_once('=').map_or("", |(_, value)| value).to_owned()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::response::IntoResponse;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn request(uri: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = http::Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).expect("a request")
    }

    fn taken(request: &mut Request) -> Vec<(Via, String)> {
        Credentials::take(request).0.tokens
    }

    #[test]
    fn every_way_is_found_and_leaves_nothing_behind() {
        let bearer = format!("bearer {TOKEN}");
        let cookie = format!("a=b; {COOKIE}={TOKEN}; c=d");
        let protocols = format!("ooblex, ooblex.token.{TOKEN}, soap");
        let path = format!("/t/{TOKEN}/streams/cam/stream.mjpg?fps=5");
        let query = format!("/streams/cam/stream.mjpg?token={TOKEN}&fps=5");
        let plain = "/streams/cam/stream.mjpg?fps=5";
        for (uri, name, value, via) in [
            (plain, "authorization", bearer.as_str(), Via::Header),
            (plain, "cookie", &cookie, Via::Cookie),
            (plain, "sec-websocket-protocol", &protocols, Via::Subprotocol),
            (&path, "x-other", "1", Via::Path),
            (&query, "x-other", "1", Via::Query),
        ] {
            let mut request = request(uri, &[(name, value)]);
            assert_eq!(taken(&mut request), [(via, TOKEN.to_owned())], "{via:?}");
            assert_eq!(request.uri(), plain, "{via:?}");
            assert!(!format!("{:?}", request.headers()).contains(TOKEN), "{:?}", request.headers());
        }
        let mut other = request(plain, &[("sec-websocket-protocol", &protocols)]);
        taken(&mut other);
        assert_eq!(other.headers()["sec-websocket-protocol"], "soap");
    }

    #[test]
    fn other_requests_stay_as_they_are() {
        for uri in
            ["/", "/t/", "/t//x", "/t", "/t/abc", "/stream.mjpg?tokens=1&atoken=2", "/tt/x/y", "/a?b=/t/x/"]
        {
            let mut request = request(uri, &[("cookie", "token=x"), ("authorization", "Basic eDp5")]);
            assert_eq!(taken(&mut request), [], "{uri}");
            assert_eq!(request.uri(), uri);
        }
        let mut empty = request("/stream.mjpg?token=", &[]);
        assert_eq!(taken(&mut empty), [(Via::Query, String::new())]);
        assert_eq!(empty.uri(), "/stream.mjpg");
        let many: String = (0..50).map(|n| format!("{COOKIE}={n};")).collect();
        assert_eq!(taken(&mut request("/", &[("cookie", &many)])).len(), MOST_TOKENS);
    }

    #[test]
    fn the_place_of_a_session_keeps_the_token_that_came_in_front_of_the_path() {
        let place = |uri: &str, location: &'static str| {
            let (_, answer) = Credentials::take(&mut request(uri, &[]));
            let mut response = [("location", location)].into_response();
            answer.complete(&mut response);
            response.headers()["location"].to_str().expect("text").to_owned()
        };
        assert_eq!(place("/t/abc/whip", "/whip/session/1"), "/t/abc/whip/session/1");
        assert_eq!(place("/t/abc/whip", "session/1"), "session/1");
        assert_eq!(place("/t/abc/whip", "//elsewhere/1"), "//elsewhere/1");
        assert_eq!(place("/whip?token=abc", "/whip/session/1"), "/whip/session/1");
    }

    #[test]
    fn a_browser_gets_the_subprotocol_that_says_nothing() {
        let agreed = |protocols: &str, status: u16| {
            let (_, answer) = Credentials::take(&mut request("/", &[("sec-websocket-protocol", protocols)]));
            let mut response = StatusCode::from_u16(status).expect("a status").into_response();
            answer.complete(&mut response);
            let agreed = response.headers().get("sec-websocket-protocol").cloned();
            agreed.map(|p| p.to_str().expect("text").to_owned())
        };
        assert_eq!(agreed("ooblex.token.abc, ooblex", 101).as_deref(), Some("ooblex"));
        assert_eq!(agreed("ooblex.token.abc", 101).as_deref(), Some("ooblex.token.abc"));
        assert_eq!(agreed("ooblex.token.abc", 401), None);
        assert_eq!(agreed("soap", 101), None);
    }

    #[test]
    fn cookies_are_kept_from_scripts_and_from_plain_connections() {
        let cookie = |headers: &[(&str, &str)], token: Option<&str>| {
            let (_, answer) = Credentials::take(&mut request("/", headers));
            let mut response = HeaderMap::new();
            answer.set_cookie(token, &mut response);
            response.get("set-cookie").map(|c| c.to_str().expect("text").to_owned())
        };
        let plain = format!("{COOKIE}={TOKEN}; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(cookie(&[], Some(TOKEN)).expect("set"), plain);
        for proxy in [("x-forwarded-proto", "https"), ("forwarded", "for=1.2.3.4;proto=https, for=5.6.7.8")] {
            assert_eq!(cookie(&[proxy], Some(TOKEN)).expect("set"), format!("{plain}; Secure"));
        }
        assert!(cookie(&[], None).expect("set").ends_with("; Max-Age=0"));
        assert_eq!(cookie(&[], Some("a;b")), None);
    }
}
