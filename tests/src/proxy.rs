//! Reverse proxies in front of the server, with the files that are shipped for them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use rustls::pki_types::CertificateDer;

use crate::server::root;
use crate::tools::{Process, find, output, start};
use crate::{untls, wait_for};

/// The name in the shipped files, and in the certificate of the tests.
pub const NAME: &str = "cam.example.org";

/// The address from which the shipped file has nginx call the server.
pub const NGINX: &str = "127.0.0.8";

/// A running proxy, which speaks TLS.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    certificate: CertificateDer<'static>,
    folder: tempfile::TempDir,
    process: Process,
}

/// What a site of nginx is made of besides the shipped file: what to put in place of what. Each must be there.
pub type Changes<'a> = [(&'a str, &'a str)];

impl Proxy {
    /// nginx with the shipped file, changed.
    ///
    /// # Errors
    /// That it is not installed, for the line of a skipped test.
    #[track_caller]
    pub fn nginx(server: SocketAddr, changes: &Changes<'_>) -> Result<Self, String> {
        let ports = [("    listen [::]:80;\n", ""), ("    listen [::]:443 ssl sndbuf=128k;\n", "")];
        Self::nginx_of(server, &replaced(&shipped("nginx.conf"), &[&ports[..], changes].concat()))
    }

    /// nginx with a site that names ports, server and files as the shipped one does.
    ///
    /// # Errors
    /// As [`nginx`](Self::nginx).
    #[track_caller]
    pub fn nginx_of(server: SocketAddr, site: &str) -> Result<Self, String> {
        let nginx = find("nginx")
            .or_else(|| Some("/usr/sbin/nginx".into()).filter(|path: &std::path::PathBuf| path.exists()));
        let nginx = nginx.ok_or("nginx is not installed")?;
        Ok(Self::start("nginx", |folder, addr| {
            let in_folder = |name: &str| folder.join(name).display().to_string();
            let site = site
                .replace("listen 80;", &format!("listen {}:{};", addr.ip(), free_port()))
                .replace("listen 443", &format!("listen {addr}"))
                .replace("http://127.0.0.1:8081", &format!("http://{server}"))
                .replace("/etc/letsencrypt/live/cam.example.org/fullchain.pem", &in_folder("cert.pem"))
                .replace("/etc/letsencrypt/live/cam.example.org/privkey.pem", &in_folder("key.pem"));
            std::fs::write(folder.join("site.conf"), site).unwrap();
            let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|kind| format!("{kind}_temp_path {};\n", in_folder(kind)))
                .concat();
            // What Debian's own file says of HTTP, and one process that ends when it is killed.
            let all = format!(
                "daemon off;\nmaster_process off;\npid {};\nerror_log stderr info;\nevents {{}}\nhttp {{\n{temporary}\
                 sendfile on;\ntcp_nopush on;\ngzip on;\ninclude {};\n}}\n",
                in_folder("pid"),
                in_folder("site.conf")
            );
            std::fs::write(folder.join("nginx.conf"), all).unwrap();
            let mut command = Command::new(&nginx);
            command.args(["-e", "stderr", "-p"]).arg(folder).arg("-c").arg(folder.join("nginx.conf"));
            command
        }))
    }

    /// Caddy with the shipped file.
    ///
    /// # Errors
    /// That it is not installed, for the line of a skipped test.
    #[track_caller]
    pub fn caddy(server: SocketAddr) -> Result<Self, String> {
        let caddy = find("caddy").ok_or("caddy is not installed")?;
        Ok(Self::start("caddy", |folder, addr| {
            let in_folder = |name: &str| folder.join(name).display().to_string();
            let site = format!(
                "https://:{} {{\n\tbind {}\n\ttls {} {}\n",
                addr.port(),
                addr.ip(),
                in_folder("cert.pem"),
                in_folder("key.pem")
            );
            let changes = [("cam.example.org {\n", &*site), ("127.0.0.1:8081", &server.to_string())];
            let file = replaced(&shipped("Caddyfile"), &changes);
            let global = "{\n\tadmin off\n\tauto_https disable_redirects\n}\n";
            std::fs::write(folder.join("Caddyfile"), format!("{global}{file}")).unwrap();
            let mut command = Command::new(&caddy);
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(folder.join("Caddyfile"));
            command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
            command
        }))
    }

    /// Starts what `make` makes of a folder with a certificate, and an address.
    #[track_caller]
    fn start(name: &str, make: impl Fn(&Path, SocketAddr) -> Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
        for (file, text) in [("cert.pem", made.cert.pem()), ("key.pem", made.signing_key.serialize_pem())] {
            std::fs::write(folder.path().join(file), text).unwrap();
        }
        let certificate = made.cert.der().clone();
        // Somebody else may take the port before the proxy does: then it ends, and another one is tried.
        let (addr, process) = wait_for(&format!("{name} to listen"), || {
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
            let mut command = make(folder.path(), addr);
            command.current_dir(folder.path()).stdin(Stdio::null());
            let mut process = start(&mut command, folder.path(), name);
            let listens = wait_for(&format!("{name} to listen or to end"), || {
                let ended = process.0.try_wait().unwrap().is_some();
                (ended || TcpStream::connect(addr).is_ok()).then_some(!ended)
            });
            if !listens {
                println!("{}", output(folder.path(), name));
            }
            listens.then_some((addr, process))
        });
        Self { addr, certificate, folder, process }
    }

    /// A plain port that leads to it from this address of the loopback.
    pub fn from(&self, address: [u8; 4]) -> SocketAddr {
        untls::start(self.addr, NAME, self.certificate.clone(), IpAddr::from(address))
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in ["nginx", "caddy"] {
                eprintln!("{}", output(self.folder.path(), name));
            }
        }
    }
}

/// A shipped file.
#[track_caller]
fn shipped(name: &str) -> String {
    std::fs::read_to_string(root().join("deploy").join(name)).unwrap()
}

#[track_caller]
fn replaced(text: &str, changes: &Changes<'_>) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from:?} is not in\n{text}");
        text.replace(from, to)
    })
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
