//! Network namespaces and a wire between them that loses, delays and refuses packets.
//!
//! The namespaces have no names and belong to nobody but the processes in them: when the test ends, however it ends, the
//! kernel takes them away. Nothing of the machine's own network is touched.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Child as Holder, Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};

use crate::child::Child;
use crate::server::root;
use crate::tools::find;

/// A network namespace whose loopback is up.
#[derive(Debug)]
pub struct Namespace {
    /// `cat`, which ends with its standard input: when this is dropped, or this process is killed.
    holder: Holder,
    file: File,
}

impl Namespace {
    /// Makes one.
    ///
    /// # Errors
    /// Why that is not possible here, for the line of a skipped test.
    pub fn new() -> Result<Self, String> {
        let (Some(unshare), Some(_)) = (find("unshare"), find("ip")) else {
            return Err("unshare or ip is not installed".into());
        };
        let mut holder = Command::new(unshare)
            .args(["--net", "sh", "-c", "echo ready && exec cat >/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare does not run: {error}"))?;
        let mut ready = [0; 6];
        let answered = std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut ready);
        if answered.is_err() {
            let output = holder.wait_with_output().map_err(|error| error.to_string())?;
            return Err(format!(
                "network namespaces are not permitted here: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ));
        }
        let file = File::open(format!("/proc/{}/ns/net", holder.id())).map_err(|error| error.to_string())?;
        let namespace = Self { holder, file };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Runs something in it, on a thread of its own: sockets that it opens and programs that it starts stay there.
    pub fn enter<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = std::thread::Builder::new()
                // Named as the test, whose name the line of a skipped test needs.
                .name(std::thread::current().name().unwrap_or("test").to_owned())
                .spawn_scoped(scope, || {
                    move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
                        .expect("a thread may enter the namespace");
                    run()
                })
                .unwrap();
            match inside.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    fn pid(&self) -> String {
        self.holder.id().to_string()
    }

    /// `ip` with these words, inside.
    fn ip(&self, words: &str) -> Result<(), String> {
        self.enter(|| ip(words))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn ip(words: &str) -> Result<(), String> {
    let output = Command::new("ip").args(words.split(' ')).output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    output.status.success().then_some(()).ok_or_else(|| format!("`ip {words}`: {}", said.trim()))
}

/// Two hosts and the wire between them.
#[derive(Debug)]
pub struct Network {
    /// The host on the left.
    pub left: Namespace,
    /// The host on the right.
    pub right: Namespace,
    wire: Child,
    _middle: Namespace,
}

/// The address of the host on the left.
pub const LEFT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The address of the host on the right.
pub const RIGHT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// A second address of the host on the right, for a server of its own.
pub const RIGHT_SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 3);

impl Network {
    /// Makes two hosts and joins them.
    ///
    /// # Errors
    /// Why that is not possible here, for the line of a skipped test.
    pub fn new() -> Result<Self, String> {
        let (left, right, middle) = (Namespace::new()?, Namespace::new()?, Namespace::new()?);
        for (host, name, addresses) in
            [(&left, "left", &[LEFT][..]), (&right, "right", &[RIGHT, RIGHT_SERVER])]
        {
            // Each end is made where it belongs: this host never has either.
            let (host_pid, middle_pid) = (host.pid(), middle.pid());
            middle.ip(&format!(
                "link add {name} netns {middle_pid} type veth peer name eth0 netns {host_pid}"
            ))?;
            middle.ip(&format!("link set {name} up"))?;
            for address in addresses {
                host.ip(&format!("address add {address}/24 dev eth0"))?;
            }
            // Without an IPv6 address of its own, which is there only after a while: browsers load anew what they were loading.
            host.ip("link set dev eth0 addrgenmode none")?;
            host.ip("link set eth0 up")?;
        }
        let script = root().join("tests/python/link.py");
        let wire = middle
            .enter(|| Child::start("the wire", Command::new("python3").arg(script).args(["left", "right"])));
        wire.line_within(crate::PATIENCE, 0, |line| line["event"] == "ready")
            .map_err(|_| format!("the wire does not start: {}", wire.errors()))?;
        Ok(Self { left, right, wire, _middle: middle })
    }

    /// Changes the wire, as `python/link.py` describes; answers what it had counted until then.
    #[track_caller]
    pub fn set(&mut self, setting: &Value) -> Value {
        let before = self.wire.lines().len();
        self.wire.command(setting);
        self.wire.line("answer of the wire", before, |line| line["event"] == "counts").1
    }

    /// What the wire has counted so far.
    #[track_caller]
    pub fn counts(&mut self) -> Value {
        self.set(&json!({}))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::time::Duration;

    use super::*;
    use crate::{PATIENCE, skip};

    const PORT: u16 = 5_000;

    /// How many of 400 datagrams arrive at the other address.
    fn arrive(network: &Network, to: Ipv4Addr) -> usize {
        let receiver = network.right.enter(|| UdpSocket::bind((to, PORT)).unwrap());
        receiver.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        // While they are sent: the receiver's buffer does not hold them all.
        let counter = std::thread::spawn(move || {
            let mut buffer = [0; 2000];
            std::iter::from_fn(|| receiver.recv(&mut buffer).ok()).filter(|size| *size == 1200).count()
        });
        network.left.enter(|| {
            let sender = UdpSocket::bind((LEFT, 0)).unwrap();
            for _ in 0..400 {
                sender.send_to(&[7; 1200], (to, PORT)).unwrap();
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        counter.join().unwrap()
    }

    #[test]
    fn the_wire_loses_and_refuses_what_it_is_told_to() {
        let mut network = match Network::new() {
            Ok(network) => network,
            Err(reason) => skip!("{reason}"),
        };
        assert_eq!(arrive(&network, RIGHT), 400, "a healthy wire loses nothing");
        network.set(&json!({ "loss": 0.25, "direction": "right", "delay_ms": [0, 20] }));
        let came = arrive(&network, RIGHT);
        assert!((250..=350).contains(&came), "{came} of 400 at a loss of a quarter");
        network.set(&json!({ "loss": 0.0, "udp": format!("{RIGHT_SERVER}:{PORT}") }));
        assert_eq!((arrive(&network, RIGHT), arrive(&network, RIGHT_SERVER)), (0, 400));
        network.set(&json!({ "udp": "none" }));
        assert_eq!(arrive(&network, RIGHT_SERVER), 0);

        // TCP passes all the while, whatever the kernel leaves to the network card.
        let listener = network.right.enter(|| TcpListener::bind((RIGHT, 0)).unwrap());
        let address = listener.local_addr().unwrap();
        let mut from = network.left.enter(|| TcpStream::connect_timeout(&address, PATIENCE).unwrap());
        let (mut to, _) = listener.accept().unwrap();
        let sender = std::thread::spawn(move || from.write_all(&vec![3; 1 << 20]).unwrap());
        let mut read = Vec::new();
        to.read_to_end(&mut read).unwrap();
        sender.join().unwrap();
        assert_eq!(read, vec![3; 1 << 20]);

        let counts = network.set(&json!({ "udp": "all", "up": false }));
        assert!(counts["right"]["refused"].as_u64() >= Some(800), "{counts}");
        assert_eq!(arrive(&network, RIGHT), 0, "a wire that is cut");
        network.set(&json!({ "up": true }));
        assert_eq!(arrive(&network, RIGHT), 400);
    }

    #[test]
    fn a_namespace_is_alone() {
        let namespace = match Namespace::new() {
            Ok(namespace) => namespace,
            Err(reason) => skip!("{reason}"),
        };
        let outside = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = outside.local_addr().unwrap();
        assert!(TcpStream::connect(address).is_ok());
        namespace.enter(|| {
            assert!(TcpStream::connect(address).is_err(), "the loopback is another one");
            let inside = TcpListener::bind("127.0.0.1:0").unwrap();
            assert!(TcpStream::connect(inside.local_addr().unwrap()).is_ok());
        });
    }
}
