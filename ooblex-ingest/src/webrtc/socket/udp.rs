//! A socket that is a UDP socket and all of a session's servers.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use super::link::Inbound;
use super::session::{Session, Socket};

#[derive(Debug)]
pub(super) struct SessionSocket {
    session: Arc<Session>,
    socket: Arc<Socket>,
}

impl SessionSocket {
    pub(super) fn new(session: Arc<Session>, local: SocketAddr, inner: Arc<dyn AsyncUdpSocket>) -> Self {
        let socket = session.add_socket(local, inner);
        Self { session, socket }
    }

    /// Looks at what came in one buffer, which may hold several datagrams of one sender.
    fn look(&self, buffer: &mut [u8], meta: &mut RecvMeta) {
        let stride = meta.stride.max(1);
        let (from, length) = (meta.addr, meta.len.min(buffer.len()));
        let mut start = 0;
        while start < length {
            let end = (start + stride).min(length);
            let Some((address, inbound)) = self.session.inbound(&self.socket, from, &buffer[start..end])
            else {
                start = end;
                continue;
            };
            meta.addr = address;
            match inbound {
                Inbound::Deliver => {}
                Inbound::Replace(other) if length <= stride && other.len() <= buffer.len() => {
                    buffer[..other.len()].copy_from_slice(&other);
                    (meta.len, meta.stride) = (other.len(), other.len());
                    return;
                }
                Inbound::Replace(other) => self.socket.inbox.push(address, other.into()),
            }
            start = end;
        }
    }
}

impl Drop for SessionSocket {
    fn drop(&mut self) {
        self.session.remove_socket(self.socket.index);
    }
}

impl AsyncUdpSocket for SessionSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.socket.local)
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let (to, packet) = (transmit.destination, transmit.contents);
        // To the caller everything was sent: what was held back is counted, and an error would only fill its log.
        let sent = Poll::Ready(Ok(packet.len()));
        if let Some(server) = self.session.server_at(to) {
            return match self.session.poll_send(&self.socket, server, packet, cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) => sent,
            };
        }
        if self.session.isolated || !self.session.may_send(&self.socket, to, packet) {
            return sent;
        }
        match self.socket.inner.poll_send(cx, transmit) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => {
                tracing::trace!(%error, "not sent");
                sent
            }
            done => done,
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let (Some(first), Some(first_meta)) = (bufs.first_mut(), meta.first_mut()) else {
            return Poll::Ready(Ok(0));
        };
        if let Some((from, packet)) = self.socket.inbox.poll(cx) {
            let length = packet.len().min(first.len());
            first[..length].copy_from_slice(&packet[..length]);
            *first_meta = RecvMeta::default();
            (first_meta.addr, first_meta.len, first_meta.stride) = (from, length, length.max(1));
            return Poll::Ready(Ok(1));
        }
        loop {
            let received = match self.socket.inner.poll_recv(cx, bufs, meta) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Ready(Ok(received)) => received,
            };
            if self.session.isolated {
                continue;
            }
            for (buffer, meta) in bufs.iter_mut().zip(meta.iter_mut()).take(received) {
                if self.session.server_at(meta.addr).is_some() {
                    // Nobody but a forger sends from there.
                    (meta.len, meta.stride) = (0, 1);
                } else {
                    self.look(buffer, meta);
                }
            }
            return Poll::Ready(Ok(received));
        }
    }

    fn max_gso_segments(&self) -> usize {
        self.socket.inner.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.socket.inner.max_gro_segments()
    }
}
