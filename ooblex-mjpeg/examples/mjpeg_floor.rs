//! What the kernel alone takes to send pictures to many viewers: the floor that `mjpeg_load` figures are compared with.
//!
//! ```text
//! mjpeg_floor PORT [BYTES]
//! ```
//!
//! One thread, one blocking write a picture and viewer, 30 pictures a second of `BYTES` (152,000) each, to everyone who has
//! asked for anything on that port of the loopback address. There are no uploads, and the pictures are no pictures.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use ooblex_core::BoxError;

/// Enough for a picture that is being sent and the next one, so that a write never waits for its reader.
const SEND_BUFFER: usize = 1 << 20;

/// Reads the request and answers with the head of a stream.
fn greet(stream: TcpStream) -> Result<TcpStream, BoxError> {
    stream.set_nonblocking(false)?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut stream = reader.into_inner();
    stream.set_nodelay(true)?;
    socket2::SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER)?;
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n--frame\r\n",
    )?;
    Ok(stream)
}

fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().ok_or("give a port")?.parse()?;
    let bytes: usize = arguments.next().map_or(Ok(152_000), |value| value.parse())?;
    ooblex_http::raise_file_limit()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    let mut viewers = Vec::new();
    let start = Instant::now();
    for sequence in 1_u32.. {
        loop {
            match listener.accept() {
                Ok((stream, _)) => viewers.push(greet(stream)?),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        let mut part =
            format!("X-Ooblex-Sequence: {sequence}\r\nContent-Length: {bytes}\r\n\r\n").into_bytes();
        part.resize(part.len() + bytes, 0x55);
        part.extend_from_slice(b"\r\n--frame\r\n");
        // Whoever has left is forgotten.
        viewers.retain_mut(|viewer| viewer.write_all(&part).is_ok());
        thread::sleep((Duration::from_secs(1) * sequence / 30).saturating_sub(start.elapsed()));
    }
    Ok(())
}
