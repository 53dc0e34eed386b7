//! What WebRTC needs of the network: UDP sockets, servers, and by which address others see this machine.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};

use super::{Findings, Verdict};
use crate::config::Config;

/// Each session may take this many ports: one of each address family.
const PORTS_A_SESSION: usize = 2;
/// A server that has not answered after this long does not answer.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Requests are repeated, for UDP loses some.
const REPEAT: Duration = Duration::from_millis(500);

pub(super) fn webrtc(findings: &mut Findings, config: &Config, ask_stun: bool) {
    if !config.webrtc || !cfg!(feature = "whip") {
        let found = match cfg!(feature = "whip") {
            true => "switched off by the setting webrtc",
            false => "not in this build",
        };
        let fix = if config.webrtc { "build with the feature `whip` for WebRTC publishers" } else { "" };
        findings.add(if config.webrtc { Verdict::Note } else { Verdict::Fine }, "WebRTC", found, fix);
        return;
    }
    sockets(findings, config);
    servers(findings, config, ask_stun);
}

fn sockets(findings: &mut Findings, config: &Config) {
    let families = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let open: Vec<&str> = families
        .iter()
        .filter(|any| UdpSocket::bind((**any, 0)).is_ok())
        .map(|any| if any.is_ipv4() { "IPv4" } else { "IPv6" })
        .collect();
    let ports = config.udp_ports.as_ref().map(|range| range.ports());
    let free = ports.as_ref().map(|range| {
        range.clone().filter(|port| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok()).count()
    });
    let sessions = config.max_webrtc_sessions + config.max_webrtc_viewers;
    let wanted = sessions * PORTS_A_SESSION;
    match (open.is_empty(), free) {
        (true, _) => findings.add(
            Verdict::Note,
            "UDP",
            "no socket can be opened",
            "publishers need a TURN server over TCP: setting turn",
        ),
        (_, None) => {
            findings.add(Verdict::Fine, "UDP", &format!("{}; any free port", open.join(" and ")), "")
        }
        (_, Some(0)) => findings.add(
            Verdict::Bad,
            "UDP",
            "every port of udp_ports is in use",
            "stop what uses them, or choose others by --udp-ports A-B",
        ),
        (_, Some(free)) if free < wanted => {
            let found = format!("{}; {free} ports of udp_ports are free", open.join(" and "));
            let fix = format!("{sessions} sessions may need {wanted}; widen udp_ports");
            findings.add(Verdict::Note, "UDP", &found, &fix);
        }
        (_, Some(free)) => {
            let found = format!("{}; {free} ports of udp_ports are free", open.join(" and "));
            findings.add(Verdict::Fine, "UDP", &found, "");
        }
    }
}

fn servers(findings: &mut Findings, config: &Config, ask_stun: bool) {
    let urls = || config.ice_server.iter().map(|server| server.url());
    let stun: Vec<&str> = urls().filter_map(|url| url.strip_prefix("stun:")).collect();
    let turns = urls().filter(|url| url.starts_with("turn")).count() + config.turn.len();
    match (stun.is_empty(), ask_stun) {
        (true, _) => {
            findings.add(
                Verdict::Note,
                "STUN",
                "no server",
                "set ice_server, or nobody beyond a NAT can publish",
            );
        }
        (false, false) => {
            let found = format!("{} servers, not asked; --ask-stun asks them", stun.len());
            findings.add(Verdict::Fine, "STUN", &found, "");
        }
        (false, true) => {
            for server in stun {
                match ask(server) {
                    Ok((seen, took)) => {
                        let found = format!("{server} sees {seen} after {} ms", took.as_millis());
                        findings.add(Verdict::Fine, "STUN", &found, "");
                    }
                    Err(error) => {
                        let fix = "another server may do; if none does, UDP is blocked: set turn";
                        findings.add(Verdict::Note, "STUN", &format!("{server}: {error}"), fix);
                    }
                }
            }
        }
    }
    match turns {
        0 => findings.add(Verdict::Fine, "TURN", "none; needed where neither side can be reached by UDP", ""),
        turns => findings.add(Verdict::Fine, "TURN", &format!("{turns} configured"), ""),
    }
}

/// Asks a STUN server by which address it sees this machine.
fn ask(server: &str) -> io::Result<(SocketAddr, Duration)> {
    const PORT: u16 = 3478;
    let bracketed = server.rfind(']').map_or(server, |end| &server[end..]);
    let place = if bracketed.contains(':') { server.to_owned() } else { format!("{server}:{PORT}") };
    let address = place
        .to_socket_addrs()?
        .min_by_key(SocketAddr::is_ipv6)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no address has this name"))?;
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(REPEAT))?;
    let mut id = [0; 12];
    SystemRandom::new().fill(&mut id).map_err(|_| io::Error::other("no random numbers"))?;
    let began = Instant::now();
    let mut buffer = [0; 1500];
    while began.elapsed() < PATIENCE {
        socket.send(&request(id))?;
        match socket.recv(&mut buffer) {
            Ok(length) => {
                if let Some(seen) = answer(&buffer[..length], id) {
                    return Ok((seen, began.elapsed()));
                }
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "no answer"))
}

/// RFC 8489 section 5.
const COOKIE: u32 = 0x2112_a442;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
/// RFC 8489 section 14.2.
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const HEADER: usize = 20;

/// A binding request without attributes.
fn request(id: [u8; 12]) -> [u8; HEADER] {
    let mut message = [0; HEADER];
    message[..2].copy_from_slice(&BINDING_REQUEST.to_be_bytes());
    message[4..8].copy_from_slice(&COOKIE.to_be_bytes());
    message[8..].copy_from_slice(&id);
    message
}

/// The address in the answer to the request with this transaction.
fn answer(message: &[u8], id: [u8; 12]) -> Option<SocketAddr> {
    let u16_at = |at: usize| Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?));
    if u16_at(0)? != BINDING_SUCCESS || message.get(8..HEADER)? != id {
        return None;
    }
    let mut at = HEADER;
    loop {
        let (kind, length) = (u16_at(at)?, usize::from(u16_at(at + 2)?));
        let value = message.get(at + 4..at + 4 + length)?;
        if kind == XOR_MAPPED_ADDRESS {
            return mapped(value, id);
        }
        // Attributes are padded to four bytes.
        at += 4 + length.next_multiple_of(4);
    }
}

fn mapped(value: &[u8], id: [u8; 12]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(value.get(2..4)?.try_into().ok()?) ^ (COOKIE >> 16) as u16;
    let ip: IpAddr = match value.get(1)? {
        1 => (u32::from_be_bytes(value.get(4..8)?.try_into().ok()?) ^ COOKIE).to_be_bytes().into(),
        2 => {
            let mut key = [0; 16];
            key[..4].copy_from_slice(&COOKIE.to_be_bytes());
            key[4..].copy_from_slice(&id);
            let coded: [u8; 16] = value.get(4..20)?.try_into().ok()?;
            std::array::from_fn::<u8, 16, _>(|n| coded[n] ^ key[n]).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers of RFC 5769 sections 2.2 and 2.3, without their integrity and fingerprint.
    #[test]
    fn addresses_of_the_published_examples_are_read() {
        let id = *b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae";
        let head = |length: u8| [&[1, 1, 0, length, 0x21, 0x12, 0xa4, 0x42][..], &id].concat();
        let software = [&[0x80, 0x22, 0, 11][..], b"test vector "].concat();
        let v4 = [0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43];
        let message = [&head(28)[..], &software, &v4].concat();
        assert_eq!(answer(&message, id), Some("192.0.2.1:32853".parse().expect("an address")));
        let v6 = [
            0, 0x20, 0, 20, 0, 2, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25,
            0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9,
        ];
        let message = [&head(40)[..], &software, &v6].concat();
        let expected = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().expect("an address");
        assert_eq!(answer(&message, id), Some(expected));
        assert_eq!(answer(&message, [0; 12]), None, "another transaction");
        for length in 0..message.len() {
            assert_eq!(answer(&message[..length], id), None, "{length}");
        }
    }

    #[test]
    fn a_server_that_answers_is_understood() {
        let server = UdpSocket::bind("127.0.0.1:0").expect("binds");
        let place = server.local_addr().expect("an address").to_string();
        let answering = std::thread::spawn(move || {
            let mut buffer = [0; 100];
            let (length, from) = server.recv_from(&mut buffer).expect("asked");
            assert_eq!((length, &buffer[..8]), (20, &[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..]));
            let IpAddr::V4(ip) = from.ip() else { panic!("{from}") };
            let port = from.port() ^ 0x2112;
            let ip = u32::from(ip) ^ COOKIE;
            let mut answer = [&[1, 1, 0, 12][..], &buffer[4..20], &[0, 0x20, 0, 8, 0, 1]].concat();
            answer.extend(port.to_be_bytes());
            answer.extend(ip.to_be_bytes());
            server.send_to(&answer, from).expect("sends");
            from
        });
        let (seen, _) = ask(&place).expect("answered");
        assert_eq!(seen, answering.join().expect("no panic"));
    }
}
