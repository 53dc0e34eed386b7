//! Asking a server.

use std::io::{self, Read};
use std::time::Duration;

use ureq::http::{HeaderMap, header};
use ureq::{Agent, Body, Proxy};

use super::FetchError;
use super::address::Address;
use super::half::{Head, Resume};

/// Redirects that are followed.
const MOST_REDIRECTS: usize = 5;
const CONNECT: Duration = Duration::from_secs(15);
/// A server that sends nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(30);
/// Who asks.
const USER_AGENT: &str = concat!("ooblex-models/", env!("CARGO_PKG_VERSION"));

/// What a server answered.
pub(super) struct Response {
    pub(super) head: Head,
    body: Body,
}

impl Response {
    /// The body for reading, whatever its length.
    pub(super) fn body(self) -> impl Read {
        self.body.into_with_config().limit(u64::MAX).reader()
    }

    /// The whole body, if it is not longer than `most` bytes.
    pub(super) fn read(self, most: u64) -> io::Result<Vec<u8>> {
        let mut data = Vec::new();
        self.body().take(most + 1).read_to_end(&mut data)?;
        match data.len() as u64 > most {
            true => Err(io::Error::other(format!("it is longer than {most} bytes"))),
            false => Ok(data),
        }
    }
}

/// Asks for a file, or for the rest of it, and follows redirects.
///
/// # Errors
/// [`FetchError`]: no connection, or a redirect to where nothing may be fetched from. Any status is an answer.
pub(super) fn get(address: &Address, rest: Option<&Resume>) -> Result<Response, FetchError> {
    let mut place = address.clone();
    for _ in 0..=MOST_REDIRECTS {
        let failed = |error: ureq::Error| FetchError::Connection {
            address: place.to_string(),
            reason: reason(&error),
        };
        let mut request = agent(&place).get(place.uri().clone());
        if let Some(Resume { etag, from }) = rest {
            request = request.header(header::RANGE, format!("bytes={from}-")).header(header::IF_RANGE, etag);
        }
        let response = request.call().map_err(failed)?;
        let status = response.status();
        let text = |headers: &HeaderMap, name| {
            headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let (parts, body) = response.into_parts();
        match text(&parts.headers, header::LOCATION).filter(|_| status.is_redirection()) {
            Some(location) => place = place.follow(&location)?,
            None => {
                let head = Head {
                    status: status.as_u16(),
                    etag: text(&parts.headers, header::ETAG),
                    length: text(&parts.headers, header::CONTENT_LENGTH),
                    range: text(&parts.headers, header::CONTENT_RANGE),
                };
                return Ok(Response { head, body });
            }
        }
    }
    let reason = format!("it redirects more than {MOST_REDIRECTS} times");
    Err(FetchError::Refused { address: address.to_string(), reason })
}

fn agent(address: &Address) -> Agent {
    // This machine is asked directly, whatever proxy leads to the net.
    let proxy = if address.is_loopback() { None } else { Proxy::try_from_env() };
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(proxy)
        .user_agent(USER_AGENT)
        .timeout_connect(Some(CONNECT))
        .timeout_per_read(Some(SILENCE))
        .timeout_per_write(Some(SILENCE));
    config.build().into()
}

/// What went wrong, without the address, which may hold what is secret.
fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::BadUri(_) => "the address cannot be used".into(),
        ureq::Error::HostNotFound => "there is no such host".into(),
        ureq::Error::Timeout(_) => "the server does not answer in time".into(),
        other => other.to_string(),
    }
}
