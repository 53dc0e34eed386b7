//! A viewer that accepts nothing but what the wire contract says about `multipart/x-mixed-replace`.

use std::io::{BufReader, Read};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use crate::PATIENCE;
use crate::http::{Body, Connection, Headers, bad, read_line};
use crate::jpeg;
use crate::mark::{Mark, Rgb};

/// One picture of a stream.
#[derive(Clone, Debug)]
pub struct Part {
    /// The header fields of the part.
    pub headers: Headers,
    /// `X-Ooblex-Sequence`.
    pub sequence: u64,
    /// `X-Ooblex-Captured-Ms`: the sender's wall clock, milliseconds since 1970.
    pub captured_ms: u64,
    /// `X-Ooblex-Latency-Ms`: from received to sent.
    pub latency_ms: f64,
    /// The JPEG.
    pub body: Vec<u8>,
    /// When the delimiter behind the picture had been read.
    pub at: Instant,
}

impl Part {
    /// The decoded picture.
    #[track_caller]
    pub fn picture(&self) -> Rgb {
        jpeg::decode(&self.body)
    }

    /// The mark of the picture, if it has one.
    #[track_caller]
    pub fn mark(&self) -> Option<Mark> {
        self.picture().mark()
    }
}

/// A viewer of an MJPEG stream.
#[derive(Debug)]
pub struct Viewer {
    /// The header fields of the response.
    pub headers: Headers,
    body: BufReader<Body>,
    ended: bool,
}

impl Viewer {
    /// Opens a stream and checks the head of the response and the first delimiter.
    ///
    /// # Panics
    /// When it is no MJPEG stream as the contract describes it.
    #[track_caller]
    pub fn open(addr: SocketAddr, target: &str) -> Self {
        Self::try_open(addr, target).unwrap_or_else(|error| panic!("{target}: {error}"))
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// When it is no MJPEG stream as the contract describes it.
    pub fn try_open(addr: SocketAddr, target: &str) -> std::io::Result<Self> {
        let mut connection = Connection::open(addr)?;
        let (status, headers) = connection.start("GET", target, &[], &[])?;
        if status != 200 {
            return Err(bad(format!("status {status}")));
        }
        let kind = headers.get("Content-Type").unwrap_or_default();
        if kind != "multipart/x-mixed-replace; boundary=frame"
            && kind != "multipart/x-mixed-replace;boundary=frame"
        {
            return Err(bad(format!("Content-Type {kind:?}")));
        }
        let caching = headers.get("Cache-Control").unwrap_or_default();
        if !caching.contains("no-store") && !caching.contains("no-cache") {
            return Err(bad(format!("Cache-Control {caching:?}")));
        }
        if headers.get("X-Accel-Buffering") != Some("no") {
            return Err(bad("proxies may buffer: no `X-Accel-Buffering: no`"));
        }
        if headers.get("Content-Length").is_some() {
            return Err(bad("a stream without an end has a Content-Length"));
        }
        let body = connection.into_body(&headers);
        let mut viewer = Self { headers, body: BufReader::with_capacity(1 << 16, body), ended: false };
        viewer.delimiter()?;
        Ok(viewer)
    }

    /// Changes how long [`Viewer::next`] waits for bytes.
    pub fn set_patience(&self, patience: Duration) {
        self.body.get_ref().socket().set_read_timeout(Some(patience)).unwrap();
    }

    fn delimiter(&mut self) -> std::io::Result<()> {
        let mut delimiter = [0; 7];
        self.body.read_exact(&mut delimiter)?;
        if &delimiter != b"--frame" {
            return Err(bad(format!("no delimiter but {:?}", String::from_utf8_lossy(&delimiter))));
        }
        Ok(())
    }

    /// The next picture, or `None` after the closing delimiter. Returns as soon as the delimiter behind the picture
    /// has come: it must not wait for the picture after it.
    ///
    /// # Errors
    /// When a byte differs from the contract, when nothing comes in time, or when the connection ends without the
    /// closing delimiter.
    pub fn try_next(&mut self) -> std::io::Result<Option<Part>> {
        if self.ended {
            return Ok(None);
        }
        let line = read_line(&mut self.body)?;
        if !line.is_empty() {
            return Err(bad(format!("{line:?} behind a delimiter")));
        }
        // The closing delimiter follows the one behind the last picture, which had left with that picture.
        let mut headers = Headers::default();
        loop {
            let line = read_line(&mut self.body)?;
            if line == "--frame--" && headers.0.is_empty() {
                self.ended = true;
                let mut rest = Vec::new();
                self.body.read_to_end(&mut rest)?;
                return if rest.is_empty() { Ok(None) } else { Err(bad(format!("{rest:?} after the end"))) };
            }
            if line.is_empty() {
                break;
            }
            headers.push(&line)?;
        }
        if headers.get("Content-Type") != Some("image/jpeg") {
            return Err(bad(format!("part of type {:?}", headers.get("Content-Type"))));
        }
        let length: usize = number(&headers, "Content-Length")?;
        let sequence = number(&headers, "X-Ooblex-Sequence")?;
        let captured_ms = number(&headers, "X-Ooblex-Captured-Ms")?;
        let latency_ms: f64 = number(&headers, "X-Ooblex-Latency-Ms")?;
        if !latency_ms.is_finite() || latency_ms < 0.0 {
            return Err(bad(format!("latency {latency_ms}")));
        }
        let mut body = vec![0; length];
        self.body.read_exact(&mut body)?;
        if !body.starts_with(&[0xFF, 0xD8]) || !body.ends_with(&[0xFF, 0xD9]) {
            return Err(bad("a part that is not one JPEG from its first to its last byte"));
        }
        let mut line_end = [0; 2];
        self.body.read_exact(&mut line_end)?;
        if &line_end != b"\r\n" {
            return Err(bad(format!("{line_end:?} behind a picture")));
        }
        self.delimiter()?;
        Ok(Some(Part { headers, sequence, captured_ms, latency_ms, body, at: Instant::now() }))
    }

    /// The next picture.
    ///
    /// # Panics
    /// When there is none, or a byte differs from the contract.
    #[track_caller]
    #[expect(clippy::should_implement_trait, reason = "it never ends without a panic")]
    pub fn next(&mut self) -> Part {
        match self.try_next() {
            Ok(Some(part)) => part,
            Ok(None) => panic!("the stream ended"),
            Err(error) => panic!("reading a part: {error}"),
        }
    }

    /// Reads pictures until one satisfies the condition, at most for [`PATIENCE`], and hands back all of them.
    ///
    /// # Panics
    /// When none did.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut condition: impl FnMut(&Part) -> bool) -> Vec<Part> {
        let start = Instant::now();
        let mut parts = Vec::new();
        loop {
            let part = self.next();
            let done = condition(&part);
            parts.push(part);
            if done {
                return parts;
            }
            assert!(start.elapsed() < PATIENCE, "read {} parts in vain for {what}", parts.len());
        }
    }

    /// Hangs up.
    pub fn close(self) {
        drop(self.body.get_ref().socket().shutdown(Shutdown::Both));
    }

    /// Whether the server closed the connection; waits for at most the given time and throws away what comes.
    pub fn closed_within(&mut self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        let mut buffer = vec![0; 1 << 16];
        while Instant::now() < end {
            let _ = self.body.get_ref().socket().set_read_timeout(Some(Duration::from_millis(200)));
            match self.body.read(&mut buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) => {}
                Err(_) => return true,
            }
        }
        false
    }
}

fn number<T: std::str::FromStr>(headers: &Headers, name: &str) -> std::io::Result<T> {
    let text = headers.get(name).ok_or_else(|| bad(format!("a part without {name}: {headers:?}")))?;
    text.parse().map_err(|_| bad(format!("{name}: {text:?}")))
}
