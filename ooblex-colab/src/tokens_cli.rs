//! `ooblex-colab tokens`: replaces and takes back tokens of the running server.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::cli::TokensArguments;
use crate::config::Config;

const DEADLINE: Duration = Duration::from_secs(10);
/// Most bytes of an answer.
const LONGEST: u64 = 64 << 10;

/// Has the server do it; what to print.
///
/// # Errors
/// What went wrong and what to do, in words.
pub(crate) fn run(arguments: &TokensArguments, config: &Config) -> Result<String, String> {
    let Some(token) = &config.control_token else {
        return Err("the server wants its control token: set OOBLEX_CONTROL_TOKEN to the one that it was \
                    given or has printed"
            .into());
    };
    let address = address_of(config);
    let (action, kind) = (arguments.action.as_str(), arguments.kind.as_str());
    let request = format!(
        "POST /tokens/{kind}/{action} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n",
        token.expose()
    );
    let answer = ask(address, &request).map_err(|error| {
        format!("no server answers at {address}: {error}; give its --bind and --mjpeg-port")
    })?;
    let (status, body) =
        read(&answer).ok_or_else(|| format!("what answers at {address} is no ooblex-colab"))?;
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    if status != 200 {
        return Err(format!("the server refused: {}", text("detail")));
    }
    let mut told = match body["token"].as_str() {
        Some(token) => format!("the new {kind} token: {token}\n"),
        None => format!("there is no {kind} token any more\n"),
    };
    told.push_str(&format!(
        "{} connections and {} WebRTC sessions of the old one were ended\n",
        body["connections"], body["sessions"]
    ));
    told.push_str("a server that is started again goes by its settings\n");
    Ok(told)
}

/// Where the server listens, as seen from this machine.
fn address_of(config: &Config) -> SocketAddr {
    let ip = match config.bind {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, config.mjpeg_port)
}

fn ask(address: SocketAddr, request: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer)?;
    Ok(answer)
}

/// Status and body.
fn read(answer: &[u8]) -> Option<(u16, Value)> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, serde_json::from_str(body).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_found_where_it_listens() {
        let at = |bind: &str| {
            let config =
                Config { bind: bind.parse().expect("an address"), mjpeg_port: 9, ..Config::default() };
            address_of(&config).to_string()
        };
        assert_eq!(at("0.0.0.0"), "127.0.0.1:9");
        assert_eq!(at("::"), "[::1]:9");
        assert_eq!(at("192.0.2.1"), "192.0.2.1:9");
    }

    #[test]
    fn answers_of_others_are_no_answers() {
        let good = read(b"HTTP/1.1 200 OK\r\na: b\r\n\r\n{\"token\":null}").expect("an answer");
        assert_eq!(good.0, 200);
        for bad in [
            &b""[..],
            b"SSH-2.0-x\r\n\r\n",
            b"HTTP/1.1 2\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\n\r\n<html>",
            b"\xff",
        ] {
            assert!(read(bad).is_none());
        }
    }
}
