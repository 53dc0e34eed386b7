//! What leaves a session's sockets for addresses that a publisher named.
//!
//! Until an address has answered a connectivity check, anybody may stand there: a publisher can name a stranger. So
//! an address that has not answered gets connectivity checks alone, few and not for long; what it sends itself earns
//! it one more each. From its first answer on nothing is held back.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::address::Reach;
use crate::ice::stun::{Class, Message, Method, TransactionId};

/// Checks that an address gets at once before it has answered: ICE sends one every 20 ms while it connects.
const BURST: u32 = 10;
/// Pause between further ones, as in ordinary ICE pacing.
const PAUSE: Duration = Duration::from_millis(200);
/// Most checks that a silent address gets.
const MAX_SILENT: u32 = 60;
/// Most silent addresses of a session; a browser with VPN and both families brings about ten.
const MAX_ADDRESSES: usize = 128;
/// Most checks to silent addresses of a session.
const MAX_TOTAL: u32 = 1500;
/// What an address may earn beforehand by sending.
const MAX_EARNED: u32 = 20;

/// Packets that were held back, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldBack {
    /// To addresses that are never sent to: metadata, multicast, reserved, and what is configured.
    pub refused: u64,
    /// Connectivity checks beyond the rate of an address that has not answered.
    pub rate: u64,
    /// Connectivity checks beyond what silent addresses get altogether.
    pub cap: u64,
    /// Anything else to an address that has not answered.
    pub unanswered: u64,
}

impl HeldBack {
    /// Everything together.
    pub const fn total(&self) -> u64 {
        self.refused + self.rate + self.cap + self.unanswered
    }
}

impl std::ops::AddAssign for HeldBack {
    fn add_assign(&mut self, other: Self) {
        self.refused += other.refused;
        self.rate += other.rate;
        self.cap += other.cap;
        self.unanswered += other.unanswered;
    }
}

/// The rules for one session. Addresses are kept apart by socket, for each socket's path is another.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    reach: Reach,
    peers: HashMap<(usize, SocketAddr), Peer>,
    silent_checks: u32,
    held_back: HeldBack,
}

#[derive(Debug)]
enum Peer {
    /// It has answered.
    Answered,
    Silent(Silent),
}

#[derive(Debug)]
struct Silent {
    /// Checks that wait for an answer.
    asked: Vec<TransactionId>,
    sent: u32,
    /// When the next check would be due at an even pace; checks may run ahead of it by a burst.
    due: Instant,
    earned: u32,
}

impl Silent {
    fn new(now: Instant) -> Self {
        Self { asked: Vec::new(), sent: 0, due: now, earned: 0 }
    }

    /// Whether the rate allows a check now; counts it if so.
    fn within_rate(&mut self, now: Instant) -> bool {
        if self.due.saturating_duration_since(now) > PAUSE * (BURST - 1) {
            return false;
        }
        self.due = self.due.max(now) + PAUSE;
        true
    }
}

impl Guard {
    pub(crate) fn new(reach: Reach) -> Self {
        Self { reach, ..Self::default() }
    }

    /// Whether a packet may leave.
    pub(crate) fn outbound(&mut self, socket: usize, to: SocketAddr, packet: &[u8], now: Instant) -> bool {
        if let Some(Peer::Answered) = self.peers.get(&(socket, to)) {
            return true;
        }
        if self.reach.check(to.ip()).is_err() || to.port() == 0 {
            self.held_back.refused += 1;
            return false;
        }
        match Message::parse(packet) {
            Some(message) if message.method == Method::Binding => match message.class {
                Class::Request => self.check(socket, to, message.id, now),
                // Answers to its own checks: as many as it sent.
                Class::Success | Class::Error => true,
                Class::Indication => self.hold_back_unanswered(),
            },
            _ => self.hold_back_unanswered(),
        }
    }

    /// Notes a packet that came.
    pub(crate) fn inbound(&mut self, socket: usize, from: SocketAddr, packet: &[u8], now: Instant) {
        let Some(message) = Message::parse(packet) else { return };
        if message.method != Method::Binding {
            return;
        }
        let known = self.peers.len();
        match (self.peers.get_mut(&(socket, from)), message.class) {
            (Some(peer), Class::Success | Class::Error) => {
                if matches!(peer, Peer::Silent(silent) if silent.asked.contains(&message.id)) {
                    *peer = Peer::Answered;
                }
            }
            (Some(Peer::Silent(silent)), Class::Request) => {
                silent.earned = (silent.earned + 1).min(MAX_EARNED)
            }
            (None, Class::Request) if known < MAX_ADDRESSES => {
                let silent = Silent { earned: 1, ..Silent::new(now) };
                self.peers.insert((socket, from), Peer::Silent(silent));
            }
            _ => {}
        }
    }

    /// Whether a TURN server may be asked to send there; counts if not.
    pub(crate) fn permits(&mut self, to: SocketAddr) -> bool {
        let allowed = self.reach.check(to.ip()).is_ok();
        self.held_back.refused += u64::from(!allowed);
        allowed
    }

    pub(crate) fn held_back(&self) -> HeldBack {
        self.held_back
    }

    fn hold_back_unanswered(&mut self) -> bool {
        self.held_back.unanswered += 1;
        false
    }

    fn check(&mut self, socket: usize, to: SocketAddr, id: TransactionId, now: Instant) -> bool {
        let known = self.peers.len();
        if known >= MAX_ADDRESSES && !self.peers.contains_key(&(socket, to)) {
            self.held_back.cap += 1;
            return false;
        }
        let peer = self.peers.entry((socket, to)).or_insert_with(|| Peer::Silent(Silent::new(now)));
        let Peer::Silent(silent) = peer else { return true };
        if silent.earned > 0 {
            silent.earned -= 1;
        } else if silent.sent >= MAX_SILENT || self.silent_checks >= MAX_TOTAL {
            self.held_back.cap += 1;
            return false;
        } else if !silent.within_rate(now) {
            self.held_back.rate += 1;
            return false;
        } else {
            silent.sent += 1;
            self.silent_checks += 1;
        }
        // What was asked long ago is not answered any more.
        if silent.asked.len() == MAX_SILENT as usize {
            silent.asked.remove(0);
        }
        silent.asked.push(id);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ice::stun::{mapped_response, request};
    use crate::webrtc::network::PrivateAddresses;

    const DTLS: &[u8] = &[22, 254, 255, 0];

    fn id(n: u32) -> TransactionId {
        let mut id = [0; 12];
        id[..4].copy_from_slice(&n.to_be_bytes());
        id
    }

    fn check(n: u32) -> Vec<u8> {
        request(Method::Binding, &id(n), Some("them:us"))
    }

    fn at(ip: &str) -> SocketAddr {
        format!("{ip}:5000").parse().expect("address")
    }

    #[test]
    fn a_silent_address_gets_few_checks_and_nothing_else() {
        let (mut guard, start) = (Guard::default(), Instant::now());
        let victim = at("203.0.113.5");
        // A check every 20 ms for a minute.
        let mut passed = Vec::new();
        for n in 0..3000 {
            let now = start + Duration::from_millis(20) * n;
            if guard.outbound(0, victim, &check(n), now) {
                passed.push(now - start);
            }
        }
        assert_eq!(passed.len(), 60, "no more ever");
        let in_first = |d| passed.iter().filter(|t| **t < Duration::from_millis(d)).count();
        assert_eq!(in_first(200), 10, "the burst");
        assert!((13..=15).contains(&in_first(1000)), "{} in the first second", in_first(1000));
        assert!(!guard.outbound(0, victim, DTLS, start));
        let held = guard.held_back();
        assert!(held.rate > 0 && held.cap > 0 && held.unanswered == 1 && held.refused == 0, "{held:?}");
        assert_eq!(held.total(), 3000 - 60 + 1);
    }

    #[test]
    fn the_answer_to_a_check_lifts_every_limit_and_nothing_else_does() {
        let (mut guard, now) = (Guard::default(), Instant::now());
        let peer = at("203.0.113.5");
        assert!(guard.outbound(0, peer, &check(1), now));
        guard.inbound(0, peer, &mapped_response(&id(2), peer), now);
        assert!(!guard.outbound(0, peer, DTLS, now), "an answer to something that was not asked");
        guard.inbound(0, at("203.0.113.6"), &mapped_response(&id(1), peer), now);
        assert!(!guard.outbound(0, peer, DTLS, now), "an answer from somewhere else");
        guard.inbound(1, peer, &mapped_response(&id(1), peer), now);
        assert!(!guard.outbound(0, peer, DTLS, now), "an answer on another socket");
        guard.inbound(0, peer, &mapped_response(&id(1), peer), now);
        assert!(
            (0..1000).all(|n| guard.outbound(0, peer, &check(n), now) && guard.outbound(0, peer, DTLS, now))
        );
    }

    #[test]
    fn each_check_that_an_address_sends_earns_it_one() {
        let (mut guard, now) = (Guard::default(), Instant::now());
        let peer = at("203.0.113.5");
        let sent = (0..500).filter(|n| guard.outbound(0, peer, &check(*n), now)).count();
        assert_eq!(sent, 10);
        for n in 0..100 {
            guard.inbound(0, peer, &check(1000 + n), now);
            assert!(guard.outbound(0, peer, &mapped_response(&id(1000 + n), peer), now), "its answer");
            assert!(guard.outbound(0, peer, &check(2000 + n), now), "and one back");
            assert!(!guard.outbound(0, peer, &check(3000 + n), now), "but not two");
        }
    }

    #[test]
    fn a_session_has_an_end_to_its_addresses_and_checks() {
        let (mut guard, start) = (Guard::default(), Instant::now());
        let addresses: Vec<SocketAddr> =
            (0..200u8).map(|n| SocketAddr::from(([203, 0, 113, n], 9))).collect();
        let mut passed = 0;
        for second in 0..60 {
            let now = start + Duration::from_secs(second);
            for to in &addresses {
                passed += (0..5).filter(|n| guard.outbound(0, *to, &check(*n), now)).count();
            }
        }
        assert_eq!(passed, 1500);
        assert_eq!(guard.peers.len(), 128);
    }

    #[test]
    fn refused_addresses_get_nothing_even_if_they_ask() {
        let reach = Reach { private: PrivateAddresses::Refuse, ..Reach::default() };
        let (mut guard, now) = (Guard::new(reach), Instant::now());
        for to in [
            at("169.254.169.254"),
            at("10.0.0.1"),
            at("127.0.0.1"),
            "203.0.113.1:0".parse().expect("address"),
        ] {
            guard.inbound(0, to, &check(7), now);
            assert!(!guard.outbound(0, to, &check(1), now), "{to}");
            assert!(!guard.outbound(0, to, &mapped_response(&id(7), to), now), "{to}");
        }
        assert_eq!(guard.held_back().refused, 8);
    }
}
