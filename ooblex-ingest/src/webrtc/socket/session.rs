//! What the sockets of one session share: servers, limits, reports.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::task::JoinSet;
use webrtc::runtime::{AsyncUdpSocket, Transmit};

use super::address::Reach;
use super::guard::{Guard, HeldBack};
use super::inbox::Inbox;
use super::link::{Change, Inbound, Link, Outbound};
use super::servers::{Kind, Servers};
use crate::ice::relay::{self, Sender, frame};
use crate::ice::stun::{self, Message};
use crate::ice::{IceTransport, ServerReport, ServerState};
use crate::webrtc::network::{Leases, Shared};

/// A server that has not answered by then does not hold up the answer to an offer any longer: over UDP, over a
/// connection that has to be made first, and if it was silent a moment ago in another session.
const GIVE_UP_UDP: Duration = Duration::from_millis(1200);
const GIVE_UP_STREAM: Duration = Duration::from_millis(1900);
const GIVE_UP_SILENT: Duration = Duration::from_millis(50);
/// What the others get once one has answered: a second STUN server tells the same, a second TURN server is a spare.
const AFTER_STUN: Duration = Duration::from_millis(100);
const AFTER_TURN: Duration = Duration::from_millis(300);
/// Packets that wait for a server's address to be looked up.
const MAX_WAITING: usize = 8;

/// One of the session's sockets.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) index: usize,
    pub(super) local: SocketAddr,
    pub(super) inner: Arc<dyn AsyncUdpSocket>,
    pub(super) inbox: Inbox,
}

/// What the sockets of one session share.
#[derive(Debug)]
pub(crate) struct Session {
    network: Arc<Shared>,
    servers: Servers,
    state: Mutex<State>,
    /// Whether packets may come from a server over UDP; spares the others a look.
    has_udp_servers: AtomicBool,
    /// Whether a TURN server relays.
    relaying: AtomicBool,
    /// Timers and lookups; they end with the session.
    tasks: Mutex<JoinSet<()>>,
    /// Whether the only socket is there to carry TURN connections and reaches nobody by itself.
    pub(crate) isolated: bool,
    _leases: Leases,
}

#[derive(Debug, Default)]
struct State {
    guard: Guard,
    sockets: Vec<Option<Arc<Socket>>>,
    /// By socket and server.
    links: HashMap<(usize, usize), Link>,
    /// Where a server is reached over UDP.
    real: HashMap<(usize, usize), SocketAddr>,
    /// Who is there: the other way round.
    at: HashMap<(usize, SocketAddr), Vec<usize>>,
    waiting: HashMap<(usize, usize), Vec<Bytes>>,
    /// By server, with the socket whose conversation it carries.
    streams: HashMap<usize, (usize, Sender)>,
}

impl Session {
    pub(crate) fn new(
        network: Arc<Shared>,
        servers: Servers,
        reach: Reach,
        leases: Leases,
        isolated: bool,
    ) -> Arc<Self> {
        let state = State { guard: Guard::new(reach), ..State::default() };
        Arc::new(Self {
            network,
            servers,
            state: Mutex::new(state),
            has_udp_servers: AtomicBool::new(false),
            relaying: AtomicBool::new(false),
            tasks: Mutex::new(JoinSet::new()),
            isolated,
            _leases: leases,
        })
    }

    /// What was tried with each server.
    pub(crate) fn report(&self) -> Vec<ServerReport> {
        let state = self.lock();
        let usefulness = |report: &ServerReport| match report.state {
            ServerState::Working => 0,
            ServerState::Failed => 1,
            ServerState::Waiting => 2,
            _ => 3,
        };
        let mut reports = Vec::new();
        for (index, server) in self.servers.remote() {
            let links = state.links.iter().filter(|((_, of), _)| *of == index);
            let tried = links.map(|((socket, _), link)| {
                // What a server said tells more than that it has no address of one family.
                let rank = (link.address().is_none(), *socket);
                let mut report = link.report();
                if let Some((owner, stream)) = state.streams.get(&index)
                    && owner == socket
                {
                    let socket = state.sockets.get(*socket).and_then(Option::as_ref);
                    report.dropped = stream.dropped() + socket.map_or(0, |socket| socket.inbox.dropped());
                }
                (report, rank)
            });
            let untried = || Link::new(server.url.clone(), None).report();
            let best = tried.min_by_key(|(report, rank)| (usefulness(report), *rank));
            reports.push(best.map_or_else(untried, |(report, _)| report));
        }
        reports.extend(self.servers.skipped());
        reports
    }

    /// Packets that were held back, and why.
    pub(crate) fn held_back(&self) -> HeldBack {
        self.lock().guard.held_back()
    }

    /// How the TURN server is reached that relays this address.
    pub(crate) fn relay_transport(&self, relayed: SocketAddr) -> Option<IceTransport> {
        let state = self.lock();
        let mut links = state.links.iter();
        let ((_, server), _) = links.find(|(_, l)| l.is_turn() && l.address() == Some(relayed))?;
        self.servers.get(*server).map(|server| server.url.transport())
    }

    /// Whether packets go through a TURN server, or may.
    pub(super) fn is_relaying(&self) -> bool {
        self.relaying.load(Ordering::Relaxed)
    }

    /// The addresses that stand for a server, for the WebRTC implementation's resolver.
    pub(super) fn resolve(&self, host_and_port: &str) -> Option<Vec<SocketAddr>> {
        self.servers.resolve(host_and_port)
    }

    pub(super) fn add_socket(&self, local: SocketAddr, inner: Arc<dyn AsyncUdpSocket>) -> Arc<Socket> {
        let mut state = self.lock();
        let socket = Arc::new(Socket { index: state.sockets.len(), local, inner, inbox: Inbox::default() });
        state.sockets.push(Some(Arc::clone(&socket)));
        socket
    }

    pub(super) fn remove_socket(&self, index: usize) {
        let mut state = self.lock();
        if let Some(socket) = state.sockets.get_mut(index) {
            *socket = None;
        }
        state.links.retain(|(socket, _), _| *socket != index);
        state.real.retain(|(socket, _), _| *socket != index);
        state.at.retain(|(socket, _), _| *socket != index);
        state.waiting.retain(|(socket, _), _| *socket != index);
        state.streams.retain(|_, (socket, _)| *socket != index);
    }

    /// The server that an address stands for.
    pub(super) fn server_at(&self, address: SocketAddr) -> Option<usize> {
        self.servers.at(address)
    }

    /// Whether a packet may go to a peer.
    pub(super) fn may_send(&self, socket: &Socket, to: SocketAddr, packet: &[u8]) -> bool {
        self.lock().guard.outbound(socket.index, to, packet, Instant::now())
    }

    /// A packet for a server.
    pub(super) fn poll_send(
        self: &Arc<Self>,
        socket: &Arc<Socket>,
        server: usize,
        packet: &[u8],
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(entry) = self.servers.get(server) else { return Poll::Ready(()) };
        if let Kind::External = entry.kind {
            if let Some(message) = Message::parse(packet) {
                let reply = match self.network.external_for(socket.local.ip()) {
                    Some(ip) => stun::mapped_response(&message.id, SocketAddr::new(ip, socket.local.port())),
                    None => stun::error_response(message.method, &message.id, 500, "no such family"),
                };
                socket.inbox.push(entry.address_for(socket.local), reply.into());
            }
            return Poll::Ready(());
        }
        let key = (socket.index, server);
        let mut state = self.lock();
        let mut first = false;
        state.links.entry(key).or_insert_with(|| {
            first = true;
            Link::new(entry.url.clone(), entry.expires)
        });
        if first {
            self.begin(&mut state, socket, server);
        }
        let State { guard, links, .. } = &mut *state;
        // Invariant: inserted above, and removed only with its socket, which the caller holds.
        let Some(link) = links.get_mut(&key) else { return Poll::Ready(()) };
        let permitted = |peer| guard.permits(peer);
        let outbound = link.outbound(packet, permitted, Instant::now());
        match outbound {
            Outbound::Reply(reply) => {
                socket.inbox.push(entry.address_for(socket.local), reply.into());
                Poll::Ready(())
            }
            Outbound::Drop => Poll::Ready(()),
            Outbound::Send { media, .. } if entry.url.transport() != IceTransport::Udp => {
                if let (Some((_, stream)), Some((_, bytes))) = (state.streams.get(&server), frame(packet)) {
                    stream.push(bytes, media);
                }
                Poll::Ready(())
            }
            Outbound::Send { .. } => match state.real.get(&key).copied() {
                Some(real) => {
                    drop(state);
                    let sent = socket.inner.poll_send(cx, &datagram(real, packet));
                    if let Poll::Ready(Err(e)) = &sent {
                        self.fail(&mut self.lock(), socket, server, format!("cannot be sent to: {e}"));
                    }
                    sent.map(|_| ())
                }
                None => {
                    let waiting = state.waiting.entry(key).or_default();
                    if waiting.len() < MAX_WAITING {
                        waiting.push(Bytes::copy_from_slice(packet));
                    }
                    Poll::Ready(())
                }
            },
        }
    }

    /// The first packet of a socket for a server: finds the way there.
    fn begin(self: &Arc<Self>, state: &mut State, socket: &Arc<Socket>, server: usize) {
        let Some(entry) = self.servers.get(server) else { return };
        let url = &entry.url;
        if url.transport() == IceTransport::Udp {
            match self.network.resolver.known(url.host()) {
                Some(answer) => self.resolved(state, socket, server, answer),
                None => self.spawn({
                    let (session, socket) = (Arc::downgrade(self), Arc::clone(socket));
                    let (resolver, host) = (self.network.resolver.clone(), url.host().to_owned());
                    async move {
                        let answer = resolver.lookup(&host).await;
                        if let Some(session) = session.upgrade() {
                            session.resolved(&mut session.lock(), &socket, server, answer);
                        }
                    }
                }),
            }
        } else if let Entry::Vacant(place) = state.streams.entry(server) {
            place.insert((socket.index, self.connect(socket, server)));
        } else {
            // One connection is enough for all sockets.
            self.leave(state, socket, server);
            return;
        }
        let patience = match url.transport() {
            _ if self.network.health.is_silent(url, Instant::now()) => GIVE_UP_SILENT,
            IceTransport::Udp => GIVE_UP_UDP,
            _ => GIVE_UP_STREAM,
        };
        self.give_up_after(socket, server, patience);
    }

    fn connect(self: &Arc<Self>, socket: &Arc<Socket>, server: usize) -> Sender {
        let entry = &self.servers.all()[server];
        let (weak, to) = (Arc::downgrade(self), Arc::clone(socket));
        let receive = move |packet: Bytes| {
            if let Some(session) = weak.upgrade() {
                session.from_stream(&to, server, packet);
            }
        };
        let (resolver, trust) = (self.network.resolver.clone(), self.network.config.trust.clone());
        let (sender, task) = relay::open(entry.url.clone(), resolver, trust, receive);
        let (weak, socket) = (Arc::downgrade(self), Arc::clone(socket));
        // Not among the session's tasks: its last messages leave when the session has ended.
        tokio::spawn(async move {
            let ended = task.await;
            if let (Err(reason), Some(session)) = (ended, weak.upgrade()) {
                let mut state = session.lock();
                state.streams.remove(&server);
                session.fail(&mut state, &socket, server, reason);
            }
        });
        sender
    }

    fn from_stream(self: &Arc<Self>, socket: &Arc<Socket>, server: usize, packet: Bytes) {
        let Some(entry) = self.servers.get(server) else { return };
        let mut state = self.lock();
        let packet = match self.overhear(&mut state, socket, server, &packet) {
            Inbound::Deliver => packet,
            Inbound::Replace(other) => other.into(),
        };
        drop(state);
        socket.inbox.push(entry.address_for(socket.local), packet);
    }

    /// A packet that came from a UDP socket. If it is from a server: the address that stands for it, and what to
    /// deliver instead if not the packet itself.
    pub(super) fn inbound(
        self: &Arc<Self>,
        socket: &Arc<Socket>,
        from: SocketAddr,
        packet: &[u8],
    ) -> Option<(SocketAddr, Inbound)> {
        // Media, as most packets are.
        let is_stun = packet.first().is_some_and(|b| b >> 6 == 0);
        let has_udp_servers = self.has_udp_servers.load(Ordering::Relaxed);
        if !is_stun && !has_udp_servers {
            return None;
        }
        let mut state = self.lock();
        let Some(there) = state.at.get(&(socket.index, from)) else {
            if is_stun {
                state.guard.inbound(socket.index, from, packet, Instant::now());
            }
            return None;
        };
        // Several URLs may lead to one address: the one that asked gets the answer, anything else is TURN's.
        let asked = |server: &&usize| {
            let link = state.links.get(&(socket.index, **server));
            link.is_some_and(|link| link.asked(packet))
        };
        let turn = |server: &&usize| state.links.get(&(socket.index, **server)).is_some_and(Link::is_turn);
        let server = *there.iter().find(asked).or_else(|| there.iter().find(turn)).or(there.first())?;
        let address = self.servers.get(server)?.address_for(socket.local);
        Some((address, self.overhear(&mut state, socket, server, packet)))
    }

    fn overhear(
        self: &Arc<Self>,
        state: &mut State,
        socket: &Arc<Socket>,
        server: usize,
        packet: &[u8],
    ) -> Inbound {
        let Some(link) = state.links.get_mut(&(socket.index, server)) else { return Inbound::Deliver };
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let (inbound, change) = link.inbound(packet, Instant::now(), unix);
        let is_turn = link.is_turn();
        match change {
            Change::None => {}
            Change::Works => {
                self.network.health.answered(&self.servers.all()[server].url);
                let patience = if is_turn { AFTER_TURN } else { AFTER_STUN };
                if is_turn {
                    self.relaying.store(true, Ordering::Relaxed);
                }
                let others = state.links.iter().filter(|((of, other), link)| {
                    (*of, *other) != (socket.index, server)
                        && *of == socket.index
                        && link.is_turn() == is_turn
                        && link.state() == ServerState::Waiting
                });
                for ((_, other), _) in others {
                    self.give_up_after(socket, *other, patience);
                }
            }
            Change::Failed => {
                // It lives, whatever it says.
                self.network.health.answered(&self.servers.all()[server].url);
                self.log_failure(state, socket, server);
            }
        }
        inbound
    }

    /// A server's addresses are known, or are not to be had.
    fn resolved(
        self: &Arc<Self>,
        state: &mut State,
        socket: &Arc<Socket>,
        server: usize,
        answer: Result<Vec<IpAddr>, String>,
    ) {
        let Some(entry) = self.servers.get(server) else { return };
        let key = (socket.index, server);
        if !state.links.contains_key(&key) {
            return;
        }
        let family = if socket.local.is_ipv4() { "IPv4" } else { "IPv6" };
        let of_family = |all: Vec<IpAddr>| all.into_iter().find(|ip| ip.is_ipv4() == socket.local.is_ipv4());
        let way = answer.and_then(|all| of_family(all).ok_or_else(|| format!("it has no {family} address")));
        let way = way.and_then(|ip| match Reach::of_servers().check(ip) {
            Ok(()) => Ok(SocketAddr::new(ip, entry.url.port())),
            Err(_) => Err(format!("{ip} is no address of a server")),
        });
        match way
            .and_then(|real| Ok((real, route_to(real).map_err(|e| format!("there is no way to it: {e}"))?)))
        {
            Err(reason) => self.fail(state, socket, server, reason),
            // Another socket is nearer: the answer would not come to this one, or be the same.
            Ok((_, source)) if source != socket.local.ip() && state.has_socket_at(source) => {
                self.leave(state, socket, server);
            }
            Ok((real, _)) => {
                state.real.insert(key, real);
                state.at.entry((socket.index, real)).or_default().push(server);
                self.has_udp_servers.store(true, Ordering::Relaxed);
                for packet in state.waiting.remove(&key).unwrap_or_default() {
                    let mut cx = Context::from_waker(Waker::noop());
                    // What the socket does not take now is sent again by the client.
                    if let Poll::Ready(Err(e)) = socket.inner.poll_send(&mut cx, &datagram(real, &packet)) {
                        self.fail(state, socket, server, format!("cannot be sent to: {e}"));
                        break;
                    }
                }
            }
        }
    }

    fn give_up_after(self: &Arc<Self>, socket: &Arc<Socket>, server: usize, patience: Duration) {
        let (session, socket): (Weak<Self>, _) = (Arc::downgrade(self), Arc::clone(socket));
        self.spawn(async move {
            tokio::time::sleep(patience).await;
            let Some(session) = session.upgrade() else { return };
            let mut state = session.lock();
            let link = state.links.get(&(socket.index, server));
            if link.is_some_and(|link| link.state() == ServerState::Waiting) {
                let ms = patience.as_millis();
                session.fail(&mut state, &socket, server, format!("it did not answer within {ms} ms"));
                session.network.health.silent(&session.servers.all()[server].url, Instant::now());
            }
        });
    }

    fn fail(&self, state: &mut State, socket: &Arc<Socket>, server: usize, reason: String) {
        let Some(link) = state.links.get_mut(&(socket.index, server)) else { return };
        if matches!(link.state(), ServerState::Failed | ServerState::Unused) {
            return;
        }
        let replies = link.fail(reason);
        self.answer(socket, server, replies);
        self.log_failure(state, socket, server);
    }

    fn leave(&self, state: &mut State, socket: &Arc<Socket>, server: usize) {
        if let Some(link) = state.links.get_mut(&(socket.index, server)) {
            let replies = link.leave();
            self.answer(socket, server, replies);
        }
    }

    fn answer(&self, socket: &Arc<Socket>, server: usize, replies: Vec<Vec<u8>>) {
        if let Some(entry) = self.servers.get(server) {
            for reply in replies {
                socket.inbox.push(entry.address_for(socket.local), reply.into());
            }
        }
    }

    fn log_failure(&self, state: &State, socket: &Socket, server: usize) {
        if let Some(link) = state.links.get(&(socket.index, server)) {
            let report = link.report();
            let reason = report.detail.unwrap_or_default();
            tracing::info!(server = %report.url, local = %socket.local.ip(), %reason, "an ICE server is of no use");
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_socket_at(&self, ip: IpAddr) -> bool {
        self.sockets.iter().flatten().any(|socket| socket.local.ip() == ip)
    }
}

fn datagram(destination: SocketAddr, contents: &[u8]) -> Transmit<'_> {
    Transmit { destination, ecn: None, contents, segment_size: None, src_ip: None }
}

/// The local address from which the system would send there. Nothing is sent.
fn route_to(to: SocketAddr) -> io::Result<IpAddr> {
    let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    Ok(socket.local_addr()?.ip())
}
