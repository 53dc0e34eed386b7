//! The runtime of one session: tokio's, with sockets of our own.

mod address;
mod guard;
mod inbox;
mod link;
mod passes;
mod servers;
mod session;
mod udp;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime, TokioRuntime,
};

pub(crate) use self::address::Reach;
pub use self::guard::HeldBack;
use self::passes::{LONGEST, Passes};
pub(crate) use self::servers::Servers;
pub(crate) use self::session::Session;
use self::udp::SessionSocket;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

tokio::task_local! {
    /// Set within the tasks that the WebRTC implementation spawns.
    static DRIVER: ();
}

/// RFC 6762 section 1.
const MDNS_PORT: u16 = 5353;

/// What a session's driver runs on.
#[derive(Debug)]
pub(crate) struct SessionRuntime {
    tokio: TokioRuntime,
    session: Arc<Session>,
    passes: Arc<Passes>,
}

impl SessionRuntime {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self { tokio: TokioRuntime, session, passes: Arc::default() }
    }
}

impl Runtime for SessionRuntime {
    fn spawn(&self, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        self.tokio.spawn(Box::pin(DRIVER.scope((), future)))
    }

    fn spawn_reactor(&self, threads: usize, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        self.tokio.spawn_reactor(threads, Box::pin(DRIVER.scope((), future)))
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let local = socket.local_addr()?;
        let inner = self.tokio.wrap_udp_socket(socket)?;
        if local.port() == MDNS_PORT {
            return Ok(inner);
        }
        Ok(Arc::new(SessionSocket::new(Arc::clone(&self.session), local, inner)))
    }

    fn wrap_tcp_listener(&self, listener: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        self.tokio.wrap_tcp_listener(listener)
    }

    /// Nothing connects to where a candidate says: publishers' TCP candidates are passive only to themselves.
    fn connect_tcp<'a>(&'a self, _address: SocketAddr) -> Boxed<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        Box::pin(async { Err(io::Error::new(io::ErrorKind::Unsupported, "no TCP to candidates")) })
    }

    /// Names of servers only, at once; nothing is ever looked up for a candidate.
    fn resolve_host<'a>(&'a self, host: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        let found = self.session.resolve(host);
        Box::pin(async {
            found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "not a server's name"))
        })
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        // Not for `PeerConnection::close`, which waits for the driver with this.
        if !self.session.is_relaying() || DRIVER.try_with(|()| ()).is_err() {
            return self.tokio.sleep(duration);
        }
        if !self.passes.begin() {
            return self.tokio.sleep(duration.min(LONGEST));
        }
        let passes = Arc::clone(&self.passes);
        Box::pin(async move { passes.end() })
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.tokio.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.tokio.block_on(future);
    }

    fn yield_now(&self) -> Boxed<'static, ()> {
        self.tokio.yield_now()
    }

    fn name(&self) -> &'static str {
        "ooblex"
    }
}
