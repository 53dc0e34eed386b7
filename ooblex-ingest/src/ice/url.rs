//! STUN and TURN URLs (RFC 7064, RFC 7065).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Longest host name (RFC 1035 section 2.3.4).
const MAX_HOST: usize = 255;
/// Ports of STUN and TURN (RFC 8489 section 18.6, RFC 8656 section 18): plain and over TLS.
const PLAIN_PORT: u16 = 3478;
const TLS_PORT: u16 = 5349;

/// How the way to a server begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IceTransport {
    /// Datagrams.
    Udp,
    /// A TCP connection (RFC 8656 section 3.1).
    Tcp,
    /// TLS over TCP.
    Tls,
}

impl IceTransport {
    /// `udp`, `tcp` or `tls`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}

/// A `stun:`, `stuns:`, `turn:` or `turns:` URL, taken apart.
///
/// ```
/// use ooblex_ingest::ice::{IceTransport, IceUrl};
///
/// let url: IceUrl = "turns:turn.example.org".parse()?;
/// assert_eq!((url.port(), url.transport()), (5349, IceTransport::Tls));
/// # Ok::<(), ooblex_ingest::ice::IceUrlError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IceUrl {
    turn: bool,
    transport: IceTransport,
    host: String,
    port: u16,
}

/// A string that is no STUN or TURN URL. Shows at most the scheme, for the rest may hold credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IceUrlError {
    /// The scheme is none of the four.
    #[error(
        "not an ICE server URL; write for example `stun:stun.example.org:3478` or `turn:turn.example.org:3478`"
    )]
    Scheme,
    /// The host is missing or not a host name or address.
    #[error(
        "{scheme}: needs a host name or address and perhaps a port, for example `{scheme}:turn.example.org:3478`"
    )]
    Host {
        /// The scheme.
        scheme: &'static str,
    },
    /// The port is not 1 to 65535.
    #[error(
        "the port of the {scheme}: URL is not a number from 1 to 65535, for example `{scheme}:turn.example.org:3478`"
    )]
    Port {
        /// The scheme.
        scheme: &'static str,
    },
    /// TURN over DTLS, which is not supported.
    #[error("turns: over UDP (DTLS) is not supported; leave out `?transport=udp` for TLS over TCP")]
    Dtls,
    /// A query that has no meaning here.
    #[error("{scheme}: URLs take no query but `?transport=udp` or `?transport=tcp`{extra}")]
    Query {
        /// The scheme.
        scheme: &'static str,
        /// What holds for this scheme besides.
        extra: &'static str,
    },
}

impl IceUrl {
    /// Whether it is a TURN server, not one for STUN only.
    pub const fn is_turn(&self) -> bool {
        self.turn
    }

    /// How to reach it.
    pub const fn transport(&self) -> IceTransport {
        self.transport
    }

    /// Host name or address, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port; 3478 and over TLS 5349 if the URL has none.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for IceUrl {
    type Err = IceUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once(':').ok_or(IceUrlError::Scheme)?;
        let (scheme, turn, tls) = match scheme.to_ascii_lowercase().as_str() {
            "stun" => ("stun", false, false),
            "stuns" => ("stuns", false, true),
            "turn" => ("turn", true, false),
            "turns" => ("turns", true, true),
            _ => return Err(IceUrlError::Scheme),
        };
        let (address, query) = match rest.split_once('?') {
            Some((address, query)) => (address, Some(query)),
            None => (rest, None),
        };
        let transport = match (query.map(str::to_ascii_lowercase).as_deref(), tls) {
            (None, false) | (Some("transport=udp"), false) => IceTransport::Udp,
            (None | Some("transport=tcp"), true) => IceTransport::Tls,
            (Some("transport=tcp"), false) if turn => IceTransport::Tcp,
            (Some("transport=udp"), true) if turn => return Err(IceUrlError::Dtls),
            (_, _) if !turn => {
                return Err(IceUrlError::Query { scheme, extra: ", and STUN only the former" });
            }
            (_, _) => return Err(IceUrlError::Query { scheme, extra: "" }),
        };
        let (host, port) = split_port(address).ok_or(IceUrlError::Host { scheme })?;
        let port = match port {
            None if tls => TLS_PORT,
            None => PLAIN_PORT,
            Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => {
                text.parse().ok().filter(|port| *port != 0).ok_or(IceUrlError::Port { scheme })?
            }
            Some(_) => return Err(IceUrlError::Port { scheme }),
        };
        Ok(Self { turn, transport, host: host.to_ascii_lowercase(), port })
    }
}

/// Host and port of `host`, `host:port`, `[v6]` or `[v6]:port`; `None` if the host is none.
fn split_port(address: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = address.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
        return matches!(host.parse(), Ok(IpAddr::V6(_))).then_some((host, port));
    }
    let (host, port) = match address.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (address, None),
    };
    is_host_name(host).then_some((host, port))
}

/// Letters, digits, `-`, `_` and `.`, with nothing empty between the dots.
pub(crate) fn is_host_name(host: &str) -> bool {
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    host.len() <= MAX_HOST && host.strip_suffix('.').unwrap_or(host).split('.').all(label)
}

impl fmt::Display for IceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.turn { "turn" } else { "stun" };
        let (tls, query) = match self.transport {
            IceTransport::Udp => ("", ""),
            IceTransport::Tcp => ("", "?transport=tcp"),
            IceTransport::Tls => ("s", ""),
        };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{kind}{tls}:{open}{}{close}:{}{query}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn urls_of_all_kinds_are_taken_apart() {
        use IceTransport::{Tcp, Tls, Udp};
        for (text, turn, host, port, transport) in [
            ("stun:stun.l.google.com:19302", false, "stun.l.google.com", 19302, Udp),
            ("stun:10.0.0.1", false, "10.0.0.1", 3478, Udp),
            ("stun:s.example?transport=udp", false, "s.example", 3478, Udp),
            ("stuns:s.example", false, "s.example", 5349, Tls),
            ("turn:t.example?transport=udp", true, "t.example", 3478, Udp),
            ("TURN:T.Example:80?transport=TCP", true, "t.example", 80, Tcp),
            ("turns:t.example:443?transport=tcp", true, "t.example", 443, Tls),
            ("turn:[2001:db8::1]:3479", true, "2001:db8::1", 3479, Udp),
            ("turns:[2001:db8::1]", true, "2001:db8::1", 5349, Tls),
        ] {
            let url: IceUrl = text.parse().expect(text);
            let got = (url.is_turn(), url.host(), url.port(), url.transport());
            assert_eq!(got, (turn, host, port, transport), "{text}");
            assert_eq!(url.to_string().parse(), Ok(url), "{text}: what it prints means the same");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_showing_it() {
        for (text, wanted) in [
            ("http://secret.example", IceUrlError::Scheme),
            ("secret", IceUrlError::Scheme),
            ("", IceUrlError::Scheme),
            ("turn:", IceUrlError::Host { scheme: "turn" }),
            ("turn://secret.example", IceUrlError::Host { scheme: "turn" }),
            ("turn:user@secret.example", IceUrlError::Host { scheme: "turn" }),
            ("turn:secret example", IceUrlError::Host { scheme: "turn" }),
            ("turn:a..secret", IceUrlError::Host { scheme: "turn" }),
            ("turn:[secret]:3478", IceUrlError::Host { scheme: "turn" }),
            ("turn:2001:db8::1", IceUrlError::Port { scheme: "turn" }),
            ("turn:t.example:0", IceUrlError::Port { scheme: "turn" }),
            ("turn:t.example:65536", IceUrlError::Port { scheme: "turn" }),
            ("turn:t.example:+80", IceUrlError::Port { scheme: "turn" }),
        ] {
            let error = text.parse::<IceUrl>().expect_err(text);
            assert_eq!(error, wanted, "{text}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        assert_eq!("turns:t?transport=udp".parse::<IceUrl>(), Err(IceUrlError::Dtls));
        for text in
            ["turn:t?transport=sctp", "stun:s?transport=tcp", "stuns:t?transport=udp", "turn:t?x=secret"]
        {
            let error = text.parse::<IceUrl>().expect_err(text);
            assert!(matches!(error, IceUrlError::Query { .. }), "{text}: {error:?}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "(stuns?|turns?|x)?:?[\\PC]{0,40}") {
            if let Ok(url) = text.parse::<IceUrl>() {
                prop_assert_eq!(url.to_string().parse::<IceUrl>(), Ok(url));
            }
        }
    }
}
