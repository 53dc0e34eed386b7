//! As much of STUN (RFC 8489) and TURN (RFC 8656) as it takes to see what happens between the TURN client of the
//! WebRTC implementation and a server, and to answer it in a server's place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of a header (RFC 8489 section 5).
pub(crate) const HEADER: usize = 20;
/// RFC 8489 section 5.
const MAGIC: u32 = 0x2112_A442;

// Attributes: RFC 8489 section 14, RFC 8656 section 18.
const USERNAME: u16 = 0x0006;
const ERROR_CODE: u16 = 0x0009;
const XOR_PEER_ADDRESS: u16 = 0x0012;
const REALM: u16 = 0x0014;
const NONCE: u16 = 0x0015;
const XOR_RELAYED_ADDRESS: u16 = 0x0016;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;

/// Names a request and its response.
pub(crate) type TransactionId = [u8; 12];

/// What a message asks for or tells of (RFC 8489 section 18.1, RFC 8656 section 17).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Binding,
    Allocate,
    Refresh,
    Send,
    Data,
    CreatePermission,
    ChannelBind,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Request,
    Indication,
    Success,
    Error,
}

/// A message, as it lies in a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    bytes: &'a [u8],
    pub(crate) method: Method,
    pub(crate) class: Class,
    pub(crate) id: TransactionId,
}

impl<'a> Message<'a> {
    /// A message that fills a datagram; `None` for anything else.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let magic = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        if kind >> 14 != 0 || magic != MAGIC || length % 4 != 0 || bytes.len() != HEADER + length {
            return None;
        }
        // The class's two bits stand between the method's (RFC 8489 section 5, figure 3).
        let class = match (kind & 0x0100 != 0, kind & 0x0010 != 0) {
            (false, false) => Class::Request,
            (false, true) => Class::Indication,
            (true, false) => Class::Success,
            (true, true) => Class::Error,
        };
        let method = match kind & !0x0110 {
            0x001 => Method::Binding,
            0x003 => Method::Allocate,
            0x004 => Method::Refresh,
            0x006 => Method::Send,
            0x007 => Method::Data,
            0x008 => Method::CreatePermission,
            0x009 => Method::ChannelBind,
            _ => Method::Other,
        };
        let mut id = [0; 12];
        id.copy_from_slice(&header[8..]);
        Some(Self { bytes, method, class, id })
    }

    /// Whether the sender proves that it knows a password.
    pub(crate) fn has_username(&self) -> bool {
        self.attribute(USERNAME).is_some()
    }

    /// Whether the server tells what it takes to try again with credentials.
    pub(crate) fn is_challenge(&self) -> bool {
        self.attribute(NONCE).is_some() && self.attribute(REALM).is_some()
    }

    /// Code and reason of an error response (RFC 8489 section 14.8).
    pub(crate) fn error(&self) -> Option<(u16, String)> {
        let value = self.attribute(ERROR_CODE)?;
        let (&[_, _, class, number], reason) = value.split_first_chunk()?;
        let code = u16::from(class & 7) * 100 + u16::from(number);
        let reason = String::from_utf8_lossy(reason);
        // What a server says is shown to people: no control characters, and not without end.
        Some((code, reason.chars().filter(|c| !c.is_control()).take(128).collect()))
    }

    /// The address that the server sees.
    pub(crate) fn mapped(&self) -> Option<SocketAddr> {
        self.attribute(XOR_MAPPED_ADDRESS).and_then(|value| self.address(value))
    }

    /// The address that the server relays.
    pub(crate) fn relayed(&self) -> Option<SocketAddr> {
        self.attribute(XOR_RELAYED_ADDRESS).and_then(|value| self.address(value))
    }

    /// The peers that the message is about.
    pub(crate) fn peers(&self) -> impl Iterator<Item = SocketAddr> + use<'a> {
        let message = *self;
        self.attributes()
            .filter(|(kind, _)| *kind == XOR_PEER_ADDRESS)
            .filter_map(move |(_, v)| message.address(v))
    }

    fn attribute(&self, wanted: u16) -> Option<&'a [u8]> {
        self.attributes().find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
    }

    /// Type and value of each attribute, up to the first that does not fit.
    fn attributes(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let mut rest = &self.bytes[HEADER..];
        std::iter::from_fn(move || {
            let (head, body) = rest.split_first_chunk::<4>()?;
            let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let value = body.get(..length)?;
            rest = body.get(length.next_multiple_of(4)..).unwrap_or_default();
            Some((u16::from_be_bytes([head[0], head[1]]), value))
        })
    }

    /// An address, veiled by the magic number and the transaction (RFC 8489 section 14.2).
    fn address(&self, value: &[u8]) -> Option<SocketAddr> {
        let (&[_, family, p0, p1], rest) = value.split_first_chunk()?;
        let port = u16::from_be_bytes([p0, p1]) ^ (MAGIC >> 16) as u16;
        let ip = match family {
            1 => {
                let octets: [u8; 4] = rest.try_into().ok()?;
                IpAddr::V4(Ipv4Addr::from_bits(u32::from_be_bytes(octets) ^ MAGIC))
            }
            2 => {
                let octets: [u8; 16] = rest.try_into().ok()?;
                IpAddr::V6(Ipv6Addr::from_bits(u128::from_be_bytes(octets) ^ veil(&self.id)))
            }
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }
}

fn veil(id: &TransactionId) -> u128 {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&MAGIC.to_be_bytes());
    bytes[4..].copy_from_slice(id);
    u128::from_be_bytes(bytes)
}

/// A message being written.
struct Writer(Vec<u8>);

impl Writer {
    fn new(method: Method, class: Class, id: &TransactionId) -> Self {
        let method: u16 = match method {
            Method::Binding | Method::Other => 0x001,
            Method::Allocate => 0x003,
            Method::Refresh => 0x004,
            Method::Send => 0x006,
            Method::Data => 0x007,
            Method::CreatePermission => 0x008,
            Method::ChannelBind => 0x009,
        };
        let class: u16 = match class {
            Class::Request => 0,
            Class::Indication => 0x0010,
            Class::Success => 0x0100,
            Class::Error => 0x0110,
        };
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&(method | class).to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&MAGIC.to_be_bytes());
        bytes.extend_from_slice(id);
        Self(bytes)
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend_from_slice(&kind.to_be_bytes());
        self.0.extend_from_slice(&(value.len() as u16).to_be_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn finish(mut self) -> Vec<u8> {
        let length = (self.0.len() - HEADER) as u16;
        self.0[2..4].copy_from_slice(&length.to_be_bytes());
        self.0
    }
}

/// An error response. `code` is 300 to 699.
pub(crate) fn error_response(method: Method, id: &TransactionId, code: u16, reason: &str) -> Vec<u8> {
    error_writer(method, id, code, reason).finish()
}

/// The response that makes a client try again with its credentials.
pub(crate) fn challenge(method: Method, id: &TransactionId) -> Vec<u8> {
    error_writer(method, id, 401, "Unauthorized")
        .attribute(REALM, b"ooblex")
        .attribute(NONCE, b"ooblex")
        .finish()
}

fn error_writer(method: Method, id: &TransactionId, code: u16, reason: &str) -> Writer {
    let mut value = vec![0, 0, (code / 100) as u8, (code % 100) as u8];
    // RFC 8489 section 14.8: fewer than 128 characters.
    value.extend(reason.chars().take(127).collect::<String>().bytes());
    Writer::new(method, Class::Error, id).attribute(ERROR_CODE, &value)
}

/// A binding response that says "you are seen as `address`".
pub(crate) fn mapped_response(id: &TransactionId, address: SocketAddr) -> Vec<u8> {
    let port = address.port() ^ (MAGIC >> 16) as u16;
    let mut value = vec![0, if address.is_ipv4() { 1 } else { 2 }];
    value.extend_from_slice(&port.to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => value.extend_from_slice(&(ip.to_bits() ^ MAGIC).to_be_bytes()),
        IpAddr::V6(ip) => value.extend_from_slice(&(ip.to_bits() ^ veil(id)).to_be_bytes()),
    }
    Writer::new(Method::Binding, Class::Success, id).attribute(XOR_MAPPED_ADDRESS, &value).finish()
}

#[cfg(test)]
pub(crate) fn request(method: Method, id: &TransactionId, username: Option<&str>) -> Vec<u8> {
    let writer = Writer::new(method, Class::Request, id);
    match username {
        Some(name) => writer.attribute(USERNAME, name.as_bytes()).finish(),
        None => writer.finish(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: TransactionId = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];

    /// The response of RFC 5769 section 2.2, without its integrity and fingerprint.
    const SAMPLE_V4: &[u8] = &[
        0x01, 0x01, 0x00, 0x1c, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa,
        0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x0b, 0x74, 0x65, 0x73, 0x74, 0x20, 0x76, 0x65, 0x63, 0x74, 0x6f,
        0x72, 0x20, 0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43,
    ];

    /// The address of RFC 5769 section 2.3.
    const SAMPLE_V6: &[u8] = &[
        0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25, 0xf4, 0xb5, 0xbe,
        0xd2, 0xb9, 0xd9,
    ];

    #[test]
    fn the_published_test_vectors_are_read() {
        let message = Message::parse(SAMPLE_V4).expect("a message");
        assert_eq!((message.method, message.class, message.id), (Method::Binding, Class::Success, ID));
        assert_eq!(message.mapped(), Some("192.0.2.1:32853".parse().expect("address")));
        let v6 = message.address(SAMPLE_V6);
        assert_eq!(v6, Some("[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().expect("address")));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for address in ["192.0.2.1:32853", "[2001:db8::9]:1"] {
            let address: SocketAddr = address.parse().expect("address");
            let bytes = mapped_response(&ID, address);
            assert_eq!(Message::parse(&bytes).and_then(|m| m.mapped()), Some(address));
        }
        let bytes = error_response(Method::Allocate, &ID, 486, "Allocation Quota Reached");
        let message = Message::parse(&bytes).expect("a message");
        assert_eq!((message.method, message.class), (Method::Allocate, Class::Error));
        assert_eq!(message.error(), Some((486, "Allocation Quota Reached".into())));
        assert!(!message.is_challenge() && !message.has_username());
        let bytes = challenge(Method::Allocate, &ID);
        let message = Message::parse(&bytes).expect("a message");
        assert!(message.is_challenge() && message.error() == Some((401, "Unauthorized".into())));
        let bytes = request(Method::Refresh, &ID, Some("me"));
        assert!(Message::parse(&bytes).is_some_and(|m| m.has_username() && m.class == Class::Request));
    }

    #[test]
    fn a_servers_reason_is_fit_to_show() {
        let bytes = error_response(Method::Allocate, &ID, 500, "a\u{1b}[31mb\n");
        assert_eq!(Message::parse(&bytes).and_then(|m| m.error()), Some((500, "a[31mb".into())));
    }

    proptest! {
        #[test]
        fn no_datagram_is_too_strange(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), fix: bool) {
            if fix && bytes.len() >= HEADER {
                let length = ((bytes.len() - HEADER) / 4 * 4) as u16;
                bytes.truncate(HEADER + usize::from(length));
                bytes[0] &= 0x3f;
                bytes[2..4].copy_from_slice(&length.to_be_bytes());
                bytes[4..8].copy_from_slice(&MAGIC.to_be_bytes());
            }
            if let Some(message) = Message::parse(&bytes) {
                let _ = (message.error(), message.mapped(), message.relayed(), message.has_username());
                prop_assert!(message.peers().count() <= bytes.len() / 4);
            }
        }
    }
}
