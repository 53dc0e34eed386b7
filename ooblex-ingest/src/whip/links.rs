//! `Link` header fields that tell a publisher about STUN and TURN servers (RFC 8288, RFC 9725 section 4.6).
//!
//! One field per URL, and nothing in it that clients which split fields at `,` and `;` would stumble over.

use http::{HeaderMap, HeaderValue, header};

use crate::ice::IceServer;

/// Most fields of one answer.
const MAX_LINKS: usize = 32;

/// Adds a field for every URL of `servers`. With `credentials` false, only servers that need none are named.
pub(super) fn append(servers: &[IceServer], credentials: bool, headers: &mut HeaderMap) {
    let mut left_out = 0usize;
    let wanted = servers.iter().filter(|s| credentials || (s.username.is_none() && s.credential.is_none()));
    let urls = wanted.flat_map(|server| server.urls.iter().map(move |url| (url, server)));
    for (url, server) in urls.take(MAX_LINKS) {
        match link(url, server) {
            Some(value) => {
                headers.append(header::LINK, value);
            }
            None => left_out += 1,
        }
    }
    if left_out > 0 {
        tracing::debug!(left_out, "ICE servers that do not fit into a Link header were left out");
    }
}

/// One field: `<turn:host:3478?transport=udp>; rel="ice-server"; username="u"; credential="c";
/// credential-type="password"`. `None` for what a simple parser would read wrongly.
fn link(url: &str, server: &IceServer) -> Option<HeaderValue> {
    let (scheme, rest) = url.split_once(':')?;
    let scheme = scheme.to_ascii_lowercase();
    if !matches!(scheme.as_str(), "stun" | "stuns" | "turn" | "turns") || !rest.bytes().all(is_plain) {
        return None;
    }
    let mut text = format!("<{scheme}:{rest}>; rel=\"ice-server\"");
    if let (Some(username), Some(credential)) = (&server.username, &server.credential) {
        if !username.bytes().chain(credential.bytes()).all(is_plain) {
            return None;
        }
        text +=
            &format!("; username=\"{username}\"; credential=\"{credential}\"; credential-type=\"password\"");
    }
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(server.credential.is_some());
    Some(value)
}

/// What needs no escaping and separates nothing: RFC 8288 would allow more inside quotes, but OBS does not look at
/// the quotes.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"\\,;<>".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(url: &str, username: &str, credential: &str) -> IceServer {
        IceServer {
            urls: vec![url.to_owned()],
            username: Some(username.to_owned()),
            credential: Some(credential.to_owned()),
        }
    }

    fn stun(url: &str) -> IceServer {
        IceServer { urls: vec![url.to_owned()], username: None, credential: None }
    }

    fn fields(servers: &[IceServer], credentials: bool) -> Vec<String> {
        let mut headers = HeaderMap::new();
        append(servers, credentials, &mut headers);
        headers.get_all("link").iter().map(|v| v.to_str().expect("ASCII").to_owned()).collect()
    }

    #[test]
    fn every_url_has_a_field_of_its_own() {
        let mut both = turn("turn:t.example:3478?transport=udp", "1735689600:me", "aB+/9=");
        both.urls.push("turns:t.example:5349?transport=tcp".to_owned());
        let secret = "; username=\"1735689600:me\"; credential=\"aB+/9=\"; credential-type=\"password\"";
        assert_eq!(
            fields(&[stun("STUN:s.example:3478"), both], true),
            [
                "<stun:s.example:3478>; rel=\"ice-server\"".to_owned(),
                format!("<turn:t.example:3478?transport=udp>; rel=\"ice-server\"{secret}"),
                format!("<turns:t.example:5349?transport=tcp>; rel=\"ice-server\"{secret}"),
            ]
        );
    }

    #[test]
    fn nothing_separates_inside_a_field() {
        let odd = ["a,b", "a;b", "a\"b", "a\\b", "a b", "a\u{e4}b", "a>b"];
        for bad in odd {
            assert_eq!(
                fields(&[turn("turn:t.example", bad, "c"), turn("turn:t.example", "u", bad)], true),
                [""; 0]
            );
            assert_eq!(fields(&[stun(&format!("stun:{bad}")), stun("http://x")], true), [""; 0], "{bad}");
        }
        assert_eq!(
            fields(&[turn("turn:t.example", "a,b", "c"), stun("stun:ok")], true).len(),
            1,
            "the rest goes on"
        );
    }

    #[test]
    fn credentials_are_not_for_everybody() {
        let servers = [turn("turn:t.example", "u", "c"), stun("stun:s.example")];
        assert_eq!(fields(&servers, false), ["<stun:s.example>; rel=\"ice-server\""]);
        let mut headers = HeaderMap::new();
        append(&servers, true, &mut headers);
        assert!(!format!("{headers:?}").contains("\"c\\\""), "{headers:?}");
        assert!(format!("{headers:?}").contains("Sensitive"));
    }

    #[test]
    fn fields_are_few() {
        assert_eq!(fields(&vec![stun("stun:s.example"); 100], true).len(), MAX_LINKS);
    }
}
