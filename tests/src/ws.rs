//! A WebSocket client.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

use crate::PATIENCE;
use crate::http::Response;

/// A connected socket.
#[derive(Debug)]
pub struct Socket(WebSocket<TcpStream>);

/// What came.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// A JSON text message.
    Json(Value),
    /// The server closed with this code and reason.
    Closed(u16, String),
}

impl Socket {
    /// Connects.
    ///
    /// # Errors
    /// The HTTP answer when the server refused the upgrade.
    ///
    /// # Panics
    /// When the connection breaks.
    #[track_caller]
    pub fn open(addr: SocketAddr, target: &str) -> Result<Self, Box<Response>> {
        let stream = TcpStream::connect_timeout(&addr, PATIENCE).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        match tungstenite::client(format!("ws://{addr}{target}"), stream) {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
                let (head, body) = answer.into_parts();
                let fields = head
                    .headers
                    .iter()
                    .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
                    .collect();
                Err(Box::new(Response {
                    status: head.status.as_u16(),
                    headers: crate::http::Headers(fields),
                    body: body.unwrap_or_default(),
                }))
            }
            Err(error) => panic!("{target}: {error}"),
        }
    }

    /// Sends a binary message.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send(&mut self, data: &[u8]) -> Result<(), String> {
        self.0.send(Message::Binary(data.to_vec().into())).map_err(|error| error.to_string())
    }

    /// Sends a text message.
    #[track_caller]
    pub fn send_text(&mut self, text: &str) {
        self.0.send(Message::Text(text.into())).unwrap();
    }

    /// The next message; pings are answered on the way.
    ///
    /// # Panics
    /// When a binary message, malformed JSON or nothing comes.
    #[track_caller]
    pub fn reply(&mut self) -> Reply {
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => return Reply::Json(serde_json::from_str(text.as_str()).unwrap()),
                Ok(Message::Close(Some(frame))) => {
                    return Reply::Closed(u16::from(frame.code), frame.reason.as_str().to_owned());
                }
                Ok(Message::Close(None)) => {
                    return Reply::Closed(u16::from(CloseCode::Status), String::new());
                }
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(other) => panic!("{other:?}"),
                Err(error) => panic!("no reply: {error}"),
            }
        }
    }

    /// The next binary message, if one comes in time; text is passed over.
    ///
    /// # Panics
    /// When the connection ends.
    #[track_caller]
    pub fn binary_within(&mut self, time: Duration) -> Option<Vec<u8>> {
        self.0.get_ref().set_read_timeout(Some(time)).unwrap();
        let found = loop {
            match self.0.read() {
                Ok(Message::Binary(data)) => break Some(data.to_vec()),
                Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_)) => {}
                Err(Error::Io(error))
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    break None;
                }
                other => panic!("{other:?}"),
            }
        };
        self.0.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        found
    }

    /// Whether the connection ends in time, by a close or without one; what comes before that is passed over.
    pub fn ends_within(&mut self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.0.get_ref().set_read_timeout(Some(left)).unwrap();
            match self.0.read() {
                Ok(Message::Close(_)) => return true,
                Ok(_) => {}
                Err(Error::Io(error))
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return true,
            }
        }
    }

    /// The next message, which must be JSON.
    #[track_caller]
    pub fn json(&mut self) -> Value {
        match self.reply() {
            Reply::Json(value) => value,
            closed @ Reply::Closed(..) => panic!("{closed:?}"),
        }
    }

    /// Closes as a well-behaved client does.
    pub fn close(mut self) {
        let _ = self.0.close(None);
        while self.0.read().is_ok() {}
    }
}
