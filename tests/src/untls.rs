//! A plain port in front of one with TLS, so that byte-exact clients can speak to what asks for TLS.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

/// Bytes that sockets may hold: little, so that what is said about buffers on the way is not about these.
const BUFFER: u32 = 32 << 10;

/// Opens such a port, whose connections go on to `server` from the address `from`. The server must show a certificate for
/// `name` that is `trusted` or signed by it. The port ends with the process.
pub fn start(server: SocketAddr, name: &str, trusted: CertificateDer<'static>, from: IpAddr) -> SocketAddr {
    let mut roots = RootCertStore::empty();
    roots.add(trusted).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        runtime.block_on(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (connector, name) = (connector.clone(), name.clone());
                // What goes wrong with one connection its client sees.
                tokio::spawn(async move { drop(pass(client, server, from, connector, name).await) });
            }
        });
    });
    addr
}

async fn pass(
    mut client: TcpStream,
    server: SocketAddr,
    from: IpAddr,
    connector: TlsConnector,
    name: ServerName<'static>,
) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(BUFFER)?;
    socket.bind((from, 0).into())?;
    let stream = socket.connect(server).await?;
    socket2::SockRef::from(&client).set_send_buffer_size(BUFFER as usize)?;
    stream.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let mut stream = connector.connect(name, stream).await?;
    copy_bidirectional(&mut client, &mut stream).await.map(drop)
}
