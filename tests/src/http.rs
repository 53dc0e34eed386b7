//! An HTTP/1.1 client that hides nothing: it sends the bytes it is given and hands back what came.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use serde_json::Value;

use crate::PATIENCE;

/// Header fields in the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The value of the first field of that name, in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Reads fields up to the empty line.
    ///
    /// # Errors
    /// When the connection ends first, or a line is no field.
    pub fn read(from: &mut impl BufRead) -> std::io::Result<Self> {
        let mut fields = Self::default();
        loop {
            let line = read_line(from)?;
            if line.is_empty() {
                return Ok(fields);
            }
            fields.push(&line)?;
        }
    }

    /// Adds a field from its line.
    ///
    /// # Errors
    /// When the line is no field.
    pub fn push(&mut self, line: &str) -> std::io::Result<()> {
        let (name, value) = line.split_once(':').ok_or_else(|| bad(format!("no header field: {line:?}")))?;
        self.0.push((name.to_owned(), value.trim().to_owned()));
        Ok(())
    }
}

/// An error about malformed data.
pub fn bad(message: impl Into<String>) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, message.into())
}

/// One line that must end with CR LF, without it.
///
/// # Errors
/// When the connection ends first or the line ends otherwise.
pub fn read_line(from: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line)?;
    if !line.ends_with(b"\r\n") {
        let kind =
            if line.is_empty() { std::io::ErrorKind::UnexpectedEof } else { std::io::ErrorKind::InvalidData };
        return Err(std::io::Error::new(
            kind,
            format!("a line without CR LF: {:?}", String::from_utf8_lossy(&line)),
        ));
    }
    line.truncate(line.len() - 2);
    String::from_utf8(line).map_err(|error| bad(error.to_string()))
}

/// A whole response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as text.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_else(|_| panic!("no text: {self:?}"))
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// The same response, after a check of its status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?} {}", self.headers, String::from_utf8_lossy(&self.body));
        self
    }
}

/// A connection to a server.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
    addr: SocketAddr,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn open(addr: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::with_capacity(1 << 16, stream), addr })
    }

    /// Connects from an address of this machine, such as another one of the loopback.
    ///
    /// # Errors
    /// When nobody listens or the address is not this machine's.
    pub fn open_from(from: IpAddr, addr: SocketAddr) -> std::io::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::for_address(addr), socket2::Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        socket.connect_timeout(&addr.into(), PATIENCE)?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::with_capacity(1 << 16, stream), addr })
    }

    /// The socket itself.
    pub fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// Sends a request and reads the head of its response.
    ///
    /// # Errors
    /// When the connection breaks before the head was read, or the head is malformed.
    pub fn start(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<(u16, Headers)> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.addr);
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if (method == "POST" || !body.is_empty())
            && !headers.iter().any(|(name, _)| *name == "Content-Length")
        {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        head += "\r\n";
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        // A server may refuse a body before it has read all of it: the answer counts.
        let written = self.socket().write_all(&bytes);
        let answer = self.read_head();
        match (written, answer) {
            (Err(error), Err(_)) => Err(error),
            (_, answer) => answer,
        }
    }

    /// Reads the status line and the header fields of a response.
    ///
    /// # Errors
    /// When the connection ends first or the head is malformed.
    pub fn read_head(&mut self) -> std::io::Result<(u16, Headers)> {
        let line = read_line(&mut self.stream)?;
        let status = line
            .strip_prefix("HTTP/1.1 ")
            // A body that ends with the connection and is not in chunks belongs to HTTP/1.0.
            .or_else(|| line.strip_prefix("HTTP/1.0 "))
            .and_then(|rest| rest.get(..3))
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| bad(format!("no status line: {line:?}")))?;
        Ok((status, Headers::read(&mut self.stream)?))
    }

    /// Sends a request and reads the whole response.
    ///
    /// # Errors
    /// When the connection breaks or the response is malformed.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Response> {
        let (status, headers) = self.start(method, target, headers, body)?;
        let mut body = Vec::new();
        if method != "HEAD" && status != 204 && status != 304 {
            if headers.get("Transfer-Encoding") == Some("chunked") {
                Dechunk::new(&mut self.stream).read_to_end(&mut body)?;
            } else if let Some(length) = headers.get("Content-Length") {
                let length: usize = length.parse().map_err(|_| bad(format!("Content-Length {length:?}")))?;
                body.resize(length, 0);
                self.stream.read_exact(&mut body)?;
            } else {
                self.stream.read_to_end(&mut body)?;
            }
        }
        Ok(Response { status, headers, body })
    }

    /// The rest of the connection, for a body that does not end.
    pub fn into_body(self, headers: &Headers) -> Body {
        if headers.get("Transfer-Encoding") == Some("chunked") {
            Body::Chunked(Dechunk::new(self.stream))
        } else {
            Body::Plain(self.stream)
        }
    }
}

/// A body that is read as it comes.
#[derive(Debug)]
pub enum Body {
    /// Bytes as they are.
    Plain(BufReader<TcpStream>),
    /// Bytes in chunks.
    Chunked(Dechunk<BufReader<TcpStream>>),
}

impl Body {
    /// The socket beneath.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream.get_ref(),
            Self::Chunked(stream) => stream.from.get_ref(),
        }
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Chunked(stream) => stream.read(buffer),
        }
    }
}

/// Takes the chunks of `Transfer-Encoding: chunked` apart.
#[derive(Debug)]
pub struct Dechunk<R> {
    from: R,
    left: usize,
    ended: bool,
}

impl<R: BufRead> Dechunk<R> {
    fn new(from: R) -> Self {
        Self { from, left: 0, ended: false }
    }
}

impl<R: BufRead> Read for Dechunk<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 && !self.ended {
            let line = read_line(&mut self.from)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            self.left = usize::from_str_radix(size, 16).map_err(|_| bad(format!("chunk size {line:?}")))?;
            if self.left == 0 {
                self.ended = true;
                Headers::read(&mut self.from)?;
            }
        }
        if self.ended {
            return Ok(0);
        }
        let wanted = buffer.len().min(self.left);
        let read = self.from.read(&mut buffer[..wanted])?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read;
        if self.left == 0 && !read_line(&mut self.from)?.is_empty() {
            return Err(bad("a chunk that does not end with CR LF"));
        }
        Ok(read)
    }
}

/// One request on a connection of its own.
#[track_caller]
pub fn send(addr: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let mut connection = Connection::open(addr).unwrap_or_else(|error| panic!("{addr}: {error}"));
    let mut all = vec![("Connection", "close")];
    all.extend_from_slice(headers);
    connection
        .request(method, target, &all, body)
        .unwrap_or_else(|error| panic!("{method} {target}: {error}"))
}
