//! A TCP proxy that behaves as a tunnel over a slow line does: a delay, a rate, and moments in which nothing passes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use socket2::{Domain, Socket, Type};

/// What fits into a packet.
const PACKET: usize = 1448;
/// Packets that the line holds; more wait at whoever sends them.
const HELD: usize = 64;

/// A line, the same in both directions.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// From one end to the other.
    pub delay: Duration,
    /// What it takes, for each connection and direction.
    pub bytes_per_second: u32,
}

/// A way to a server over a line; it ends with the process.
#[derive(Debug)]
pub struct Link {
    /// Where it is reached.
    pub addr: SocketAddr,
    stalled: Arc<Mutex<Instant>>,
}

impl Link {
    /// Starts it.
    pub fn start(server: SocketAddr, line: Line) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let link =
            Self { addr: listener.local_addr().unwrap(), stalled: Arc::new(Mutex::new(Instant::now())) };
        let stalled = link.stalled.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Without memory of its own, or the line's would be nothing beside it.
                let upstream = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                upstream.set_recv_buffer_size(HELD * PACKET).unwrap();
                if upstream.connect(&server.into()).is_err() {
                    continue;
                }
                let upstream = TcpStream::from(upstream);
                for socket in [&client, &upstream] {
                    socket.set_nodelay(true).unwrap();
                }
                let (Ok(from), Ok(to)) = (client.try_clone(), upstream.try_clone()) else { continue };
                carry(from, to, line, stalled.clone());
                carry(upstream, client, line, stalled.clone());
            }
        });
        link
    }

    /// Nothing sets out for this long, from now on; gives when that ends.
    pub fn stall(&self, time: Duration) -> SystemTime {
        *self.stalled.lock().unwrap() = Instant::now() + time;
        SystemTime::now() + time
    }
}

/// Carries one direction of a connection, until it ends.
fn carry(mut from: TcpStream, to: TcpStream, line: Line, stalled: Arc<Mutex<Instant>>) {
    let (packets, waiting): (SyncSender<(Instant, Vec<u8>)>, _) = sync_channel(HELD);
    thread::spawn(move || {
        let mut buffer = [0; PACKET];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            if packets.send((Instant::now(), buffer[..read].to_vec())).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Read);
    });
    thread::spawn(move || deliver(&waiting, to, line, &stalled));
}

fn deliver(packets: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream, line: Line, stalled: &Mutex<Instant>) {
    let mut free = Instant::now();
    for (came, packet) in packets {
        let begins = came.max(free).max(*stalled.lock().unwrap());
        free = begins + Duration::from_secs(1) * packet.len() as u32 / line.bytes_per_second;
        thread::sleep((free + line.delay).saturating_duration_since(Instant::now()));
        if to.write_all(&packet).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_line_carries_comes_late_in_order_and_not_during_a_stall() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let line = Line { delay: Duration::from_millis(40), bytes_per_second: 1_000_000 };
        let link = Link::start(listener.local_addr().unwrap(), line);
        let mut near = TcpStream::connect(link.addr).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let sent: Vec<u8> = (0..200_000u32).map(|at| (at % 251) as u8).collect();
        let start = Instant::now();
        let ends = start + Duration::from_millis(300);
        link.stall(Duration::from_millis(300));
        let mut got = vec![0; sent.len()];
        thread::scope(|both| {
            both.spawn(|| near.write_all(&sent).unwrap());
            far.read_exact(&mut got[..1]).unwrap();
            assert!(Instant::now() >= ends + line.delay, "during the stall");
            far.read_exact(&mut got[1..]).unwrap();
        });
        assert!(got == sent, "in order");
        assert!(start.elapsed() >= Duration::from_millis(300 + 40 + 200), "faster than the line");
    }
}
