//! coturn, the TURN server that Debian ships.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use rcgen::PublicKeyData;

use crate::browser::to_base64;
use crate::server::root;
use crate::tools::{Process, find, output, start};
use crate::wait_for;

/// The port for UDP and TCP.
pub const PORT: u16 = 3478;
/// The port for TLS.
pub const TLS_PORT: u16 = 5349;
/// What the server and whoever hands out its credentials share.
pub const SECRET: &str = "a-secret-of-the-tests";

/// A running server with time-limited credentials.
#[derive(Debug)]
pub struct Coturn {
    address: IpAddr,
    key_hash: String,
    folder: tempfile::TempDir,
    _process: Process,
}

impl Coturn {
    /// Starts one. Call it from a thread that is in the namespace where the address is.
    ///
    /// # Errors
    /// That it is not installed, for the line of a skipped test.
    #[track_caller]
    pub fn start(address: IpAddr) -> Result<Self, String> {
        let turnserver = find("turnserver").ok_or("coturn is not installed")?;
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec![address.to_string()]).unwrap();
        for (name, text) in [("cert.pem", made.cert.pem()), ("key.pem", made.signing_key.serialize_pem())] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let (host, path) = (address.to_string(), |name: &str| folder.path().join(name).display().to_string());
        let shipped = std::fs::read_to_string(root().join("deploy/turnserver.conf")).unwrap();
        let configuration = configured(&shipped, &path("cert.pem"), &path("key.pem"));
        std::fs::write(folder.path().join("turnserver.conf"), configuration).unwrap();
        let mut command = Command::new(turnserver);
        command
            .args(["-c", &path("turnserver.conf"), "--verbose", "--no-dtls", "--listening-ip", &host])
            .args(["--relay-ip", &host, "--log-file", "stdout", "--simple-log", "--pidfile", &path("pid")])
            .args(["--userdb", &path("none.db")])
            .current_dir(folder.path())
            .stderr(Stdio::null());
        let process = start(&mut command, folder.path(), "coturn");
        let public_key = made.signing_key.subject_public_key_info();
        let key_hash = to_base64(ring::digest::digest(&ring::digest::SHA256, &public_key).as_ref());
        let server = Self { address, key_hash, folder, _process: process };
        for port in [PORT, TLS_PORT] {
            wait_for(&format!("coturn on {port}"), || TcpStream::connect((address, port)).ok());
        }
        Ok(server)
    }

    /// `turn:` or `turns:` and the rest: `udp`, `tcp` or `tls`.
    pub fn url(&self, transport: &str) -> String {
        match transport {
            "tls" => format!("turns:{}:{TLS_PORT}?transport=tcp", self.address),
            _ => format!("turn:{}:{PORT}?transport={transport}", self.address),
        }
    }

    /// The file with its certificate, which whoever uses TLS must trust.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// The base64 of the SHA-256 of its public key, by which Chromium trusts it in spite of its certificate.
    pub fn key_hash(&self) -> &str {
        &self.key_hash
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        output(self.folder.path(), "coturn")
    }
}

/// The shipped file with what every operator changes, and without what it denies: the hosts of the tests have private
/// addresses.
#[track_caller]
fn configured(shipped: &str, certificate: &str, key: &str) -> String {
    let changes = [
        ("/etc/letsencrypt/live/turn.example.org/fullchain.pem", certificate),
        ("/etc/letsencrypt/live/turn.example.org/privkey.pem", key),
        ("static-auth-secret=CHANGE-ME", &format!("static-auth-secret={SECRET}")),
        ("tls-listening-port=443", &format!("tls-listening-port={TLS_PORT}")),
    ];
    let text = changes.iter().fold(shipped.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from:?} is not in\n{text}");
        text.replace(from, to)
    });
    text.lines().filter(|line| !line.starts_with("denied-peer-ip=")).map(|line| format!("{line}\n")).collect()
}

/// User name and password as coturn's REST convention has it, good until so many seconds from now: the end in seconds
/// since 1970 with a name, and the base64 of its HMAC-SHA1.
pub fn credentials(seconds_from_now: i64) -> (String, String) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
    let user = format!("{}:tests", now + seconds_from_now);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET.as_bytes());
    let password = to_base64(ring::hmac::sign(&key, user.as_bytes()).as_ref());
    (user, password)
}

/// A STUN binding request over TCP (RFC 8489 section 5), and whether it was answered.
pub fn answers_stun(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
        request.extend_from_slice(b"twelve bytes");
        stream.write_all(&request)?;
        let mut head = [0; 20];
        stream.read_exact(&mut head)?;
        Ok(head[..2] == [1, 1] && head[8..] == *b"twelve bytes")
    };
    ask().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::Namespace;
    use crate::skip;

    #[test]
    fn coturn_runs_in_a_namespace_of_its_own() {
        let namespace = match Namespace::new() {
            Ok(namespace) => namespace,
            Err(reason) => skip!("{reason}"),
        };
        namespace.enter(|| {
            let server = match Coturn::start([127, 0, 0, 1].into()) {
                Ok(server) => server,
                Err(reason) => skip!("{reason}"),
            };
            assert!(answers_stun(SocketAddr::from(([127, 0, 0, 1], PORT))), "{}", server.log());
        });
    }

    #[test]
    fn credentials_are_what_coturn_expects() {
        let (user, password) = credentials(60);
        assert!(user.ends_with(":tests"));
        assert_eq!(crate::browser::from_base64(&password).len(), 20);
    }
}
