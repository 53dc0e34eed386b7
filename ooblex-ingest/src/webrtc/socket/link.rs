//! One socket's conversation with one server, as this side overhears it.
//!
//! The TURN client of the WebRTC implementation knows only success and silence: a server that refuses the first
//! request, a name that does not resolve and a TCP connection that fails all look dead to it, for half a minute. So
//! whatever goes wrong is turned into an answer here, which it understands at once, and into words for people.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::ice::relay::FrameKind;
use crate::ice::stun::{self, Class, Message, Method, TransactionId};
use crate::ice::{IceTransport, IceUrl, ServerReport, ServerState};

/// Requests that are remembered until they are answered.
const MAX_OPEN: usize = 32;
/// What an answer in a server's place says.
const NO_USE: u16 = 500;
/// A peer that may not be asked for (RFC 8656 section 18.6: forbidden).
const FORBIDDEN: u16 = 403;

/// What to do with a packet for the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outbound {
    Send {
        kind: FrameKind,
        media: bool,
    },
    /// Nothing goes out; this comes in.
    Reply(Vec<u8>),
    /// Nothing goes out, for it is of no use or may not be.
    Drop,
}

/// What to do with a packet from the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Inbound {
    Deliver,
    /// This comes in instead.
    Replace(Vec<u8>),
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    /// The server has proved useful.
    Works,
    /// It has refused.
    Failed,
}

#[derive(Debug)]
pub(crate) struct Link {
    url: IceUrl,
    /// When the credentials end, in seconds since 1970, if the user name says so.
    expires: Option<u64>,
    state: ServerState,
    detail: Option<String>,
    address: Option<SocketAddr>,
    round_trip: Option<Duration>,
    open: VecDeque<Open>,
    bytes_sent: u64,
    bytes_received: u64,
}

/// A request without an answer.
#[derive(Clone, Copy, Debug)]
struct Open {
    id: TransactionId,
    method: Method,
    with_username: bool,
    at: Instant,
}

impl Link {
    pub(crate) fn new(url: IceUrl, expires: Option<u64>) -> Self {
        Self {
            url,
            expires,
            state: ServerState::Waiting,
            detail: None,
            address: None,
            round_trip: None,
            open: VecDeque::new(),
            bytes_sent: 0,
            bytes_received: 0,
        }
    }

    pub(crate) fn state(&self) -> ServerState {
        self.state
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    pub(crate) fn is_turn(&self) -> bool {
        self.url.is_turn()
    }

    /// Whether a packet answers what was asked here.
    pub(crate) fn asked(&self, packet: &[u8]) -> bool {
        Message::parse(packet).is_some_and(|message| self.open.iter().any(|open| open.id == message.id))
    }

    /// A packet for the server. `permitted` says whether a TURN server may be asked to send to an address.
    pub(crate) fn outbound(
        &mut self,
        packet: &[u8],
        permitted: impl FnMut(SocketAddr) -> bool,
        now: Instant,
    ) -> Outbound {
        let ended = matches!(self.state, ServerState::Failed | ServerState::Unused);
        let Some(message) = Message::parse(packet) else {
            let channel = self.url.is_turn() && packet.first().is_some_and(|b| b >> 6 == 0b01);
            return match channel && !ended {
                true => self.send(packet, FrameKind::Channel, true),
                false => Outbound::Drop,
            };
        };
        // A publisher may have guessed the server's address and named it as its own.
        let expected = match (self.url.is_turn(), message.method, message.class) {
            (false, Method::Binding, Class::Request) => !message.has_username(),
            (true, Method::Send, Class::Indication) => true,
            (true, method, Class::Request) => matches!(
                method,
                Method::Allocate | Method::Refresh | Method::CreatePermission | Method::ChannelBind
            ),
            _ => false,
        };
        if !expected {
            return Outbound::Drop;
        }
        if message.class == Class::Indication {
            return match !ended && message.peers().all(permitted) {
                true => self.send(packet, FrameKind::Stun, true),
                false => Outbound::Drop,
            };
        }
        if ended {
            return Outbound::Reply(refusal(message.method, message.has_username(), &message.id));
        }
        if !message.peers().all(permitted) {
            let why = "this server does not send there";
            return Outbound::Reply(stun::error_response(message.method, &message.id, FORBIDDEN, why));
        }
        let again = self.open.iter().any(|open| open.id == message.id);
        if again && self.url.transport() != IceTransport::Udp {
            // A stream loses nothing, so nothing is sent twice (RFC 8489 section 6.2.2).
            return Outbound::Drop;
        }
        if !again {
            if self.open.len() == MAX_OPEN {
                self.open.pop_front();
            }
            let with_username = message.has_username();
            self.open.push_back(Open { id: message.id, method: message.method, with_username, at: now });
        }
        self.send(packet, FrameKind::Stun, false)
    }

    fn send(&mut self, packet: &[u8], kind: FrameKind, media: bool) -> Outbound {
        self.bytes_sent += packet.len() as u64;
        Outbound::Send { kind, media }
    }

    /// A packet from the server. `unix` is the time in seconds since 1970.
    pub(crate) fn inbound(&mut self, packet: &[u8], now: Instant, unix: u64) -> (Inbound, Change) {
        self.bytes_received += packet.len() as u64;
        let Some(message) = Message::parse(packet) else { return (Inbound::Deliver, Change::None) };
        let Some(place) = self.open.iter().position(|open| open.id == message.id) else {
            return (Inbound::Deliver, Change::None);
        };
        let Some(open) = self.open.remove(place) else { return (Inbound::Deliver, Change::None) };
        self.round_trip = Some(now.saturating_duration_since(open.at));
        match (message.class, open.method) {
            (Class::Success, Method::Binding | Method::Allocate) => {
                self.address = message.relayed().or_else(|| message.mapped());
                // It answered after it was given up: too late for this session, good to know for the next.
                if self.state == ServerState::Waiting {
                    self.state = ServerState::Working;
                }
                (Inbound::Deliver, Change::Works)
            }
            (Class::Error, method) => {
                let challenge = message.is_challenge() && !open.with_username;
                let stale = matches!(message.error(), Some((438, _)));
                if challenge || (stale && method != Method::Allocate) {
                    return (Inbound::Deliver, Change::None);
                }
                let reason = self.refused(message.error(), open.with_username, unix);
                if self.state == ServerState::Waiting {
                    self.fail(reason);
                    // The client understands an error only once it has shown its credentials.
                    let replace = method == Method::Allocate && !open.with_username;
                    let reply = replace.then(|| stun::challenge(method, &message.id));
                    return (reply.map_or(Inbound::Deliver, Inbound::Replace), Change::Failed);
                }
                self.detail = Some(reason);
                (Inbound::Deliver, Change::None)
            }
            _ => (Inbound::Deliver, Change::None),
        }
    }

    /// What an error response means, with the server's own words.
    fn refused(&self, error: Option<(u16, String)>, with_username: bool, unix: u64) -> String {
        let Some((code, words)) = error else { return "it refused without a reason".into() };
        let said = format!("it said {code} {words}");
        match (code, self.expires) {
            (401 | 438 | 441, Some(end)) if with_username && end <= unix => {
                format!("the credentials expired {} s ago: {said}", unix - end)
            }
            (401 | 441, _) if with_username => {
                format!("it does not accept the user name or credential: {said}")
            }
            (403, _) => format!("it forbids that: {said}"),
            (486 | 508, _) => format!("it is full: {said}"),
            _ => said.replacen("it said", "it refused:", 1),
        }
    }

    /// The server is of no use in this session. What answers the open requests in its place.
    pub(crate) fn fail(&mut self, reason: String) -> Vec<Vec<u8>> {
        self.end(ServerState::Failed, Some(reason))
    }

    /// The server is not asked by this socket after all.
    pub(crate) fn leave(&mut self) -> Vec<Vec<u8>> {
        self.end(ServerState::Unused, None)
    }

    fn end(&mut self, state: ServerState, detail: Option<String>) -> Vec<Vec<u8>> {
        self.state = state;
        self.detail = detail;
        // They stay open: a late answer still tells that the server lives.
        self.open.iter().map(|open| refusal(open.method, open.with_username, &open.id)).collect()
    }

    pub(crate) fn report(&self) -> ServerReport {
        ServerReport {
            url: self.url.to_string(),
            transport: self.url.transport(),
            state: self.state,
            detail: self.detail.clone(),
            address: self.address,
            round_trip: self.round_trip,
            bytes_sent: self.bytes_sent,
            bytes_received: self.bytes_received,
            dropped: 0,
        }
    }
}

/// The answer that ends a request: an error, but first the question for credentials, without which the client takes
/// no error for an answer.
fn refusal(method: Method, with_username: bool, id: &TransactionId) -> Vec<u8> {
    if method == Method::Allocate && !with_username {
        stun::challenge(method, id)
    } else {
        stun::error_response(method, id, NO_USE, "no use")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ice::stun::{challenge, error_response, mapped_response, request};

    const A: TransactionId = [1; 12];
    const B: TransactionId = [2; 12];

    fn link(url: &str) -> Link {
        Link::new(url.parse().expect("url"), Some(1_000))
    }

    fn ask(link: &mut Link, method: Method, id: &TransactionId, username: Option<&str>) -> Outbound {
        link.outbound(&request(method, id, username), |_| true, Instant::now())
    }

    fn answer(link: &mut Link, packet: &[u8]) -> (Inbound, Change) {
        link.inbound(packet, Instant::now(), 1_060)
    }

    #[test]
    fn refused_credentials_are_told_in_the_servers_words() {
        for (expires, wanted) in [
            (Some(1_000), "the credentials expired 60 s ago: it said 401 Unauthorized"),
            (Some(2_000), "it does not accept the user name or credential: it said 401 Unauthorized"),
            (None, "it does not accept the user name or credential: it said 401 Unauthorized"),
        ] {
            let mut link = Link::new("turn:t.example".parse().expect("url"), expires);
            assert!(matches!(
                ask(&mut link, Method::Allocate, &A, None),
                Outbound::Send { media: false, .. }
            ));
            let asked_for_credentials = answer(&mut link, &challenge(Method::Allocate, &A));
            assert_eq!(asked_for_credentials, (Inbound::Deliver, Change::None));
            assert_eq!(link.state(), ServerState::Waiting);
            ask(&mut link, Method::Allocate, &B, Some("1000:me"));
            let refused = answer(&mut link, &challenge(Method::Allocate, &B));
            assert_eq!(refused, (Inbound::Deliver, Change::Failed));
            assert_eq!(link.report().detail.as_deref(), Some(wanted));
        }
    }

    #[test]
    fn an_error_that_the_client_would_not_take_for_an_answer_comes_after_a_challenge() {
        let mut link = link("turn:t.example");
        ask(&mut link, Method::Allocate, &A, None);
        let full = error_response(Method::Allocate, &A, 508, "Insufficient Capacity");
        let (inbound, change) = answer(&mut link, &full);
        assert_eq!((inbound, change), (Inbound::Replace(challenge(Method::Allocate, &A)), Change::Failed));
        assert_eq!(link.report().detail.as_deref(), Some("it is full: it said 508 Insufficient Capacity"));
        let Outbound::Reply(reply) = ask(&mut link, Method::Allocate, &B, Some("me")) else {
            panic!("no reply")
        };
        assert_eq!(Message::parse(&reply).and_then(|m| m.error()).map(|e| e.0), Some(NO_USE));
    }

    #[test]
    fn giving_up_answers_what_is_open() {
        let mut link = link("stun:s.example");
        ask(&mut link, Method::Binding, &A, None);
        let replies = link.fail("it did not answer".into());
        assert_eq!(replies.len(), 1);
        let message = Message::parse(&replies[0]).expect("a message");
        assert_eq!((message.id, message.class, message.method), (A, Class::Error, Method::Binding));
        // A late answer does not bring it back, but is told.
        let late = mapped_response(&A, "192.0.2.1:7".parse().expect("address"));
        assert_eq!(answer(&mut link, &late).1, Change::Works);
        assert_eq!(link.state(), ServerState::Failed);
    }

    #[test]
    fn only_what_the_client_sends_reaches_a_server() {
        let mut stun = link("stun:s.example");
        assert_eq!(
            ask(&mut stun, Method::Binding, &A, Some("them:us")),
            Outbound::Drop,
            "a connectivity check"
        );
        assert_eq!(ask(&mut stun, Method::Allocate, &A, None), Outbound::Drop);
        assert_eq!(stun.outbound(&[0x40, 0, 0, 0], |_| true, Instant::now()), Outbound::Drop);
        let mut turn = link("turn:t.example");
        assert_eq!(ask(&mut turn, Method::Binding, &A, None), Outbound::Drop);
        assert_eq!(turn.outbound(&[0x80, 0, 0, 0], |_| true, Instant::now()), Outbound::Drop);
        let media = turn.outbound(&[0x40, 0, 0, 0], |_| true, Instant::now());
        assert_eq!(media, Outbound::Send { kind: FrameKind::Channel, media: true });
    }

    #[test]
    fn a_stream_carries_each_request_once() {
        for (url, again) in [("turn:t.example", true), ("turn:t.example?transport=tcp", false)] {
            let mut link = link(url);
            ask(&mut link, Method::Refresh, &A, Some("me"));
            let second = ask(&mut link, Method::Refresh, &A, Some("me"));
            assert_eq!(matches!(second, Outbound::Send { .. }), again, "{url}");
        }
    }

    #[test]
    fn a_turn_server_is_not_asked_for_forbidden_peers() {
        let mut link = link("turn:t.example");
        // XOR-PEER-ADDRESS of the response's place in a CreatePermission request.
        let mut permission = request(Method::CreatePermission, &A, Some("me"));
        let mapped = mapped_response(&A, "169.254.169.254:80".parse().expect("address"));
        permission.extend_from_slice(&mapped[stun::HEADER..]);
        let at = permission.len() - 12;
        permission[at..at + 2].copy_from_slice(&[0x00, 0x12]);
        let length = (permission.len() - stun::HEADER) as u16;
        permission[2..4].copy_from_slice(&length.to_be_bytes());
        let metadata = |peer: SocketAddr| peer.ip().to_string() != "169.254.169.254";
        let Outbound::Reply(reply) = link.outbound(&permission, metadata, Instant::now()) else {
            panic!("sent")
        };
        assert_eq!(Message::parse(&reply).and_then(|m| m.error()).map(|e| e.0), Some(FORBIDDEN));
        assert!(matches!(link.outbound(&permission, |_| true, Instant::now()), Outbound::Send { .. }));
    }
}
