//! Tunnels by `ssh -R`, to a real SSH server on the loopback.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ooblex_tests::multipart::Viewer;
use ooblex_tests::server::Server;
use ooblex_tests::tools::find;
use ooblex_tests::{skip, wait_for};
use serde_json::{Value, json};

use crate::tunnels::{CONTROL, launch, tunnel_of, wait_for_tunnel};

/// An SSH server with keys of its own, that forwards ports and does nothing else.
struct SshServer {
    port: u16,
    folder: PathBuf,
    process: Child,
}

/// The SSH server and client, if they are installed; the server runs by its whole path alone.
fn installed() -> Option<PathBuf> {
    find("ssh")?;
    find("ssh-keygen")?;
    ["/usr/sbin/sshd", "/usr/local/sbin/sshd"].into_iter().map(PathBuf::from).find(|path| path.is_file())
}

fn make_key(path: &Path) {
    let _ = std::fs::remove_file(path);
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path);
    assert!(command.status().unwrap().success(), "{command:?}");
}

impl SshServer {
    /// Starts a server whose keys lie in a folder; makes those that are missing.
    fn start(folder: &Path, port: u16) -> Self {
        let (host, user) = (folder.join("host"), folder.join("user"));
        [&host, &user].into_iter().filter(|key| !key.exists()).for_each(|key| make_key(key));
        // As root it wants this to be there; Debian makes it when the system starts.
        let _ = std::fs::create_dir_all("/run/sshd");
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}.pub\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\nAllowTcpForwarding remote\n",
            host.display(),
            user.display()
        );
        let file = folder.join("config");
        std::fs::write(&file, config).unwrap();
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let mut command = Command::new(installed().expect("it was looked for"));
        command.args(["-D", "-e", "-f"]).arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let process = command.spawn().unwrap();
        wait_for("the SSH server", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { port, folder: folder.to_owned(), process }
    }

    /// Ends it, and the connections that it holds.
    fn stop(&mut self) {
        // Each connection has a process of its own, which outlives the one that listens.
        let of = |parent: u32| {
            let output =
                Command::new("ps").args(["-o", "pid=", "--ppid", &parent.to_string()]).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()).collect::<Vec<_>>()
        };
        let mut all = of(self.process.id());
        all.extend(all.clone().into_iter().flat_map(of));
        let _ = self.process.kill();
        let _ = self.process.wait();
        for pid in all {
            // It may have ended with the one above it.
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("--- log of sshd\n{}---", self.log());
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server that logs in there, with what else it is told.
fn tunnelled(ssh: &SshServer, home: &Path, arguments: &[&str]) -> Server {
    let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let tunnel = format!("--tunnel=ssh:{}@127.0.0.1:{}", user.trim(), ssh.port);
    let key = format!("--tunnel-ssh-key={}", ssh.folder.join("user").display());
    launch(home, &[&[&tunnel, &key, "--demo"], arguments].concat(), &[])
}

fn address(tunnel: &Value) -> std::net::SocketAddr {
    tunnel["url"].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap()
}

#[test]
fn an_ssh_server_forwards_a_port_that_it_chooses() {
    if installed().is_none() {
        skip!("openssh-server is not installed");
    }
    let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut ssh = SshServer::start(folder.path(), free_port());
    let server = tunnelled(&ssh, home.path(), &["--tunnel-ssh-port=0"]);
    let tunnel = wait_for_tunnel(&server, "the probe", |tunnel| !tunnel["probe"].is_null());
    let found =
        json!({"reached": true, "websocket": true, "stream": true, "interstitial": false, "reasons": []});
    assert_eq!(tunnel["probe"], found);
    let public = address(&tunnel);
    assert!(public.port() != ssh.port && public != server.addr, "{tunnel}");
    let mut viewer = Viewer::open(public, &format!("/t/{CONTROL}/stream.mjpg"));
    let sequences: Vec<u64> = (0..5).map(|_| viewer.next().sequence).collect();
    assert!(sequences.windows(2).all(|pair| pair[0] <= pair[1]), "{sequences:?}");
    // The server goes away, and comes back: so does the tunnel.
    ssh.stop();
    let tunnel = wait_for_tunnel(&server, "the end", |tunnel| tunnel["state"] == "reconnecting");
    assert!(tunnel["reason"].as_str().unwrap().starts_with("ssh: it ended with status 255"), "{tunnel}");
    let port = ssh.port;
    drop(ssh);
    let ssh = SshServer::start(folder.path(), port);
    let tunnel = wait_for_tunnel(&server, "the tunnel again", |tunnel| tunnel["state"] == "up");
    assert_eq!(tunnel["opened"], 2);
    assert!(TcpStream::connect(address(&tunnel)).is_ok());
    drop(ssh);
}

#[test]
fn an_ssh_server_with_another_key_than_before_is_refused_for_good() {
    if installed().is_none() {
        skip!("openssh-server is not installed");
    }
    let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ssh = SshServer::start(folder.path(), free_port());
    let remote = free_port();
    let (given, known) =
        (format!("--tunnel-ssh-port={remote}"), format!("--tunnel-url=http://127.0.0.1:{remote}"));
    let server = tunnelled(&ssh, home.path(), &[&given, &known]);
    let tunnel = wait_for_tunnel(&server, "the tunnel", |tunnel| tunnel["state"] == "up");
    assert_eq!(address(&tunnel).port(), remote);
    let hosts =
        std::fs::read_to_string(home.path().join("ooblex/ssh/known_hosts")).expect("a file of its own");
    assert_eq!(hosts.lines().count(), 1, "{hosts}");
    let port = ssh.port;
    drop(ssh);
    std::fs::remove_file(folder.path().join("host")).unwrap();
    let _other = SshServer::start(folder.path(), port);
    let tunnel = wait_for_tunnel(&server, "the refusal", |tunnel| tunnel["state"] == "down");
    assert!(tunnel["reason"].as_str().unwrap().contains("another key than before"), "{tunnel}");
    assert_eq!(tunnel["opened"], 1);
}

#[test]
fn a_port_that_is_taken_at_the_ssh_server_is_said_to_be() {
    if installed().is_none() {
        skip!("openssh-server is not installed");
    }
    let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ssh = SshServer::start(folder.path(), free_port());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    // The server listens there by both versions of IP, where there are two, and is content with one.
    let other = TcpListener::bind(("::1", taken.local_addr().unwrap().port()));
    let port = format!("--tunnel-ssh-port={}", taken.local_addr().unwrap().port());
    let server = tunnelled(&ssh, home.path(), &[&port]);
    let says = |tunnel: &Value| {
        tunnel["reason"].as_str().is_some_and(|reason| reason.contains("remote port forwarding failed"))
    };
    let tunnel = wait_for_tunnel(&server, "the reason", says);
    assert_eq!((&tunnel["state"], &tunnel["opened"]), (&json!("reconnecting"), &json!(0)));
    drop((taken, other));
    wait_for_tunnel(&server, "the tunnel", |tunnel| tunnel["state"] == "up");
    assert_eq!(tunnel_of(&server)["opened"], 1);
}
