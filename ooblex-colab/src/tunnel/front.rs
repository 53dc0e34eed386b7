//! The port that a tunnel's client connects to: passes bytes on to the server, counts them, and lets those that go out
//! take their time.
//!
//! Slowing is done here and nowhere else. What is not taken stays with the server, where the newest picture replaces the
//! one before: viewers get fewer pictures of MJPEG, and sockets with video a lower quality, each by the means that it has
//! for slow viewers. So buffers on the way are kept small.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::state::TunnelHub;

/// Most connections at once; further ones wait to be accepted.
const CONNECTIONS: usize = 1024;
/// Of the sockets on both sides, in bytes. Either peer is on this machine, where little is enough.
const BUFFER: usize = 64 << 10;
/// The same where bytes have to wait, so that they do not wait for long.
const SLOW_BUFFER: usize = 8 << 10;
/// A client may send for so long after the server has said everything.
const LINGER: Duration = Duration::from_secs(2);
/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Passes connections on to `server` until it is dropped.
pub(super) async fn serve(listener: TcpListener, server: SocketAddr, hub: TunnelHub) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let client = tokio::select! {
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => client,
                Err(error) => {
                    tracing::debug!(%error, "a connection of the tunnel cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let hub = hub.clone();
        connections.spawn(async move {
            if let Err(error) = pass(client, server, &hub).await {
                tracing::debug!(%error, "a connection of the tunnel broke off");
            }
            drop(place);
        });
    }
}

async fn pass(mut client: TcpStream, server: SocketAddr, hub: &TunnelHub) -> io::Result<()> {
    let Some(governor) = hub.governor() else { return Ok(()) };
    let buffer = if governor.limits().bytes.is_some() { SLOW_BUFFER } else { BUFFER };
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(buffer as u32)?;
    let mut server = socket.connect(server).await?;
    SockRef::from(&client).set_send_buffer_size(buffer)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.split(), server.split());
    let up = async {
        let mut bytes = vec![0; BUFFER];
        loop {
            let read = from_client.read(&mut bytes).await?;
            if read == 0 {
                return to_server.shutdown().await;
            }
            governor.received(read);
            to_server.write_all(&bytes[..read]).await?;
        }
    };
    let down = async {
        let mut bytes = vec![0; BUFFER];
        loop {
            let piece = governor.piece().min(bytes.len());
            let read = from_server.read(&mut bytes[..piece]).await?;
            if read == 0 {
                return to_client.shutdown().await;
            }
            governor.send(read).await;
            to_client.write_all(&bytes[..read]).await?;
        }
    };
    let (mut up, mut down) = (pin!(up), pin!(down));
    tokio::select! {
        said = &mut down => {
            said?;
            // Closing at once would take from the client what it has not read yet.
            let _ = tokio::time::timeout(LINGER, up).await;
            Ok(())
        }
        asked = &mut up => {
            asked?;
            down.await
        }
    }
}
