//! Which pair of candidates carries a session, and what became of the others.
//!
//! The implementation beneath keeps statistics of the pair that was chosen alone, so of the others only their kinds
//! are known, not how many checks each got.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rtc::peer_connection::transport::RTCIceCandidateType;
use rtc::statistics::report::{RTCStatsReport, RTCStatsReportEntry};
use rtc::statistics::stats::ice_candidate::RTCIceCandidateStats;
use rtc::statistics::stats::ice_candidate_pair::RTCIceCandidatePairStats;

use super::socket::Session as NetworkSession;
use super::{CandidateKind, CandidatePath, FailedPath, HeldBack};
use crate::ice::{IceTransport, ServerReport};

/// What is reported about a session's way to its peer.
#[derive(Clone, Default)]
pub(super) struct Route {
    pub(super) path: Option<CandidatePath>,
    pub(super) failed: Vec<FailedPath>,
    pub(super) servers: Vec<ServerReport>,
    pub(super) held_back: HeldBack,
}

impl Route {
    /// Replaces it by what is known now; a path that was known once stays.
    ///
    /// `theirs` are the candidates of the peer, as texts.
    pub(super) fn renew(&mut self, stats: &RTCStatsReport, network: &NetworkSession, theirs: &[String]) {
        let (path, failed) =
            paths(stats, |relayed| network.relay_transport(relayed), |relayed| transport_of(theirs, relayed));
        self.path = path.or(self.path.take());
        self.failed = failed;
        (self.servers, self.held_back) = (network.report(), network.held_back());
    }
}

/// The pair that carries the session, and the others by kind. `our_relay` and `their_relay` tell how a relay is reached by
/// its address.
fn paths(
    report: &RTCStatsReport,
    our_relay: impl Fn(SocketAddr) -> Option<IceTransport>,
    their_relay: impl Fn(SocketAddr) -> Option<&'static str>,
) -> (Option<CandidatePath>, Vec<FailedPath>) {
    // A pair that was replaced stays listed; the present one got the newest packet.
    let newest = report.candidate_pairs().max_by_key(|pair| pair.last_packet_received_timestamp);
    let path = newest.and_then(|pair| path(report, pair, our_relay, their_relay));
    let (mut local, mut remote) = (BTreeMap::new(), BTreeMap::new());
    for entry in report.iter() {
        let (side, candidate) = match entry {
            RTCStatsReportEntry::LocalCandidate(candidate) => (&mut local, candidate),
            RTCStatsReportEntry::RemoteCandidate(candidate) => (&mut remote, candidate),
            _ => continue,
        };
        if let Some(kind) = kind(candidate.candidate_type) {
            side.entry(kind.as_str()).or_insert((kind, 0)).1 += 1;
        }
    }
    let local = local.into_values();
    let pairs = local.flat_map(|local| remote.values().map(move |remote| (local, *remote)));
    (path.clone(), others(pairs, path.as_ref()))
}

fn path(
    report: &RTCStatsReport,
    pair: &RTCIceCandidatePairStats,
    our_relay: impl Fn(SocketAddr) -> Option<IceTransport>,
    their_relay: impl Fn(SocketAddr) -> Option<&'static str>,
) -> Option<CandidatePath> {
    let mut protocol = IceTransport::Udp;
    let (mut ours, mut theirs) = (None, None);
    let local = match report.get(&format!("RTCLocalIceCandidate_{}", pair.local_candidate_id)) {
        Some(RTCStatsReportEntry::LocalCandidate(candidate)) => {
            let relayed = address(candidate).and_then(our_relay);
            protocol = relayed.unwrap_or(protocol);
            ours = relayed.map(IceTransport::as_str);
            kind(candidate.candidate_type)?
        }
        // Ours, but found by a check rather than gathered.
        _ => CandidateKind::PeerReflexive,
    };
    let remote = match report.get(&format!("RTCRemoteIceCandidate_{}", pair.remote_candidate_id)) {
        Some(RTCStatsReportEntry::RemoteCandidate(candidate)) => {
            let kind = kind(candidate.candidate_type)?;
            if kind == CandidateKind::Relay {
                theirs = address(candidate).and_then(their_relay);
            }
            kind
        }
        // The publisher named it nowhere; its check came from there.
        _ => CandidateKind::PeerReflexive,
    };
    let round_trip = Some(pair.current_round_trip_time).filter(|seconds| *seconds > 0.0);
    let round_trip = round_trip.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Some(CandidatePath {
        local,
        remote,
        protocol: protocol.as_str(),
        relay: relay(ours, remote, theirs),
        round_trip,
    })
}

/// Which of the ways to two relays is reported. The ladder is the peer's, so its own counts, as in the page.
fn relay(
    ours: Option<&'static str>,
    remote: CandidateKind,
    theirs: Option<&'static str>,
) -> Option<&'static str> {
    if remote == CandidateKind::Relay { theirs } else { ours }
}

fn address(candidate: &RTCIceCandidateStats) -> Option<SocketAddr> {
    let ip = candidate.address.as_deref().and_then(|ip| ip.parse().ok())?;
    Some(SocketAddr::new(ip, candidate.port))
}

/// How a peer reaches its relay, which browsers tell by the priority of the candidate at `relayed`: its highest byte, the
/// preference of the type (RFC 8445 section 5.1.2.1), is 2 or, in newer ones, 3 for UDP, 1 for TCP and 0 for TLS.
fn transport_of(candidates: &[String], relayed: SocketAddr) -> Option<&'static str> {
    /// Zero by the recommendation, with the preference of a host that has one address: the peer makes no difference.
    const NO_DIFFERENCE: u32 = 0xFF_FFFF;
    let priority = candidates.iter().find_map(|candidate| {
        let mut words = candidate.split_ascii_whitespace().skip(3);
        let priority: u32 = words.next()?.parse().ok()?;
        let at = SocketAddr::new(words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        (at == relayed).then_some(priority)
    })?;
    match priority >> 24 {
        2 | 3 => Some("udp"),
        1 => Some("tcp"),
        0 if priority != NO_DIFFERENCE => Some("tls"),
        _ => None,
    }
}

/// What became of pairs of kinds (with how many candidates there are of each) other than `path`.
fn others(
    pairs: impl Iterator<Item = ((CandidateKind, usize), (CandidateKind, usize))>,
    path: Option<&CandidatePath>,
) -> Vec<FailedPath> {
    let mut failed = Vec::new();
    for ((local, n), (remote, m)) in pairs {
        let carries = path.is_some_and(|path| (path.local, path.remote) == (local, remote));
        let pairs = n * m - usize::from(carries);
        if pairs == 0 {
            continue;
        }
        let reason = match path {
            Some(path) => {
                let (local, remote) = (path.local.as_str(), path.remote.as_str());
                format!("not needed, or unanswered: {local} to {remote} was answered first")
            }
            None => "no check has been answered yet".to_owned(),
        };
        failed.push(FailedPath { local, remote, pairs, reason });
    }
    failed
}

fn kind(candidate: RTCIceCandidateType) -> Option<CandidateKind> {
    Some(match candidate {
        RTCIceCandidateType::Host => CandidateKind::Host,
        RTCIceCandidateType::Srflx => CandidateKind::ServerReflexive,
        RTCIceCandidateType::Prflx => CandidateKind::PeerReflexive,
        RTCIceCandidateType::Relay => CandidateKind::Relay,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_but_the_chosen_one_is_accounted_for() {
        let kinds = [
            ((CandidateKind::Host, 2), (CandidateKind::Host, 3)),
            ((CandidateKind::Relay, 1), (CandidateKind::Host, 3)),
        ];
        let waiting = others(kinds.into_iter(), None);
        assert_eq!(waiting.iter().map(|f| f.pairs).collect::<Vec<_>>(), [6, 3]);
        assert!(waiting.iter().all(|f| f.reason.contains("no check has been answered")));
        let path = CandidatePath {
            local: CandidateKind::Host,
            remote: CandidateKind::Host,
            protocol: "udp",
            relay: None,
            round_trip: None,
        };
        assert_eq!(path.rung(), "webrtc");
        let rest = others(kinds.into_iter(), Some(&path));
        assert_eq!(rest.iter().map(|f| f.pairs).collect::<Vec<_>>(), [5, 3]);
        assert!(rest[1].reason.contains("host to host was answered first"));
        assert!(
            others([((CandidateKind::Host, 1), (CandidateKind::Host, 1))].into_iter(), Some(&path))
                .is_empty()
        );
    }

    #[test]
    fn a_browser_tells_how_it_reaches_its_relay() {
        let candidate =
            |priority: u32, port: u16| format!("candidate:1 1 udp {priority} 192.0.2.1 {port} typ relay");
        let candidates = [
            candidate((2 << 24) | 0x1E_FF, 1),
            candidate((3 << 24) | 0x1F_FF, 7),
            candidate((1 << 24) | 0x1E_FF, 2),
            candidate(0x1E_1E_FF, 3),
            candidate(0xFF_FFFF, 4),
            candidate(126 << 24, 5),
            "candidate:1 1 udp".to_owned(),
        ];
        let of = |port| transport_of(&candidates, SocketAddr::from(([192, 0, 2, 1], port)));
        let known = [Some("udp"), Some("udp"), Some("tcp"), Some("tls")];
        assert_eq!(([1, 7, 2, 3].map(of), [4, 5, 6].map(of)), (known, [None; 3]));
        let path = |relay| CandidatePath {
            local: CandidateKind::Host,
            remote: CandidateKind::Relay,
            protocol: "udp",
            relay,
            round_trip: None,
        };
        let rungs = [Some("udp"), Some("tcp"), Some("tls"), None].map(|relay| path(relay).rung());
        assert_eq!(rungs, ["turn-udp", "turn-tcp", "turn-tcp", "turn"]);
    }

    #[test]
    fn of_two_relays_the_peers_makes_the_rung() {
        let (host, relayed) = (CandidateKind::Host, CandidateKind::Relay);
        assert_eq!(relay(Some("udp"), relayed, Some("tcp")), Some("tcp"));
        assert_eq!(relay(Some("tcp"), relayed, Some("udp")), Some("udp"));
        assert_eq!(relay(Some("udp"), relayed, None), None);
        assert_eq!(relay(Some("tls"), host, None), Some("tls"));
    }
}
