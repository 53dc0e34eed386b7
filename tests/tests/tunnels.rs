//! Tunnels: a program that forwards for real, with the flaws that tunnels have; clients of services as far as they go
//! without the service.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ooblex_tests::multipart::Viewer;
use ooblex_tests::server::{self, Server};
use ooblex_tests::tools::parse_metrics;
use ooblex_tests::{PATIENCE, wait_for};
use serde_json::{Value, json};

/// The tokens of these servers: what can be reached from outside has some.
pub(crate) const CONTROL: &str = "control-0123456789-abcdef";
pub(crate) const PUBLISH: &str = "publish-0123456789-abcdef";
pub(crate) const VIEW: &str = "view-0123456789-abcdef";

/// A server with a tunnel, and the file by which its program is told what to do.
pub(crate) struct Tunnelled {
    pub(crate) server: Server,
    folder: tempfile::TempDir,
}

/// A server with settings for its tunnel, which keeps its files in a folder.
#[track_caller]
pub(crate) fn launch(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Server {
    let mut command = server::command();
    command.args(["--model-name", "none", "--mjpeg-port", "0", "--announce", "text"]).args(arguments);
    command
        .env("OOBLEX_CONTROL_TOKEN", CONTROL)
        .env("OOBLEX_PUBLISH_TOKEN", PUBLISH)
        .env("OOBLEX_VIEW_TOKEN", VIEW);
    command.env("XDG_DATA_HOME", folder).env("HOME", folder).env_remove("NGROK_AUTH_TOKEN");
    command.envs(variables.iter().copied());
    Server::launch(command)
}

/// What `/status` says of the tunnel.
#[track_caller]
pub(crate) fn tunnel_of(server: &Server) -> Value {
    server.json(&format!("/t/{CONTROL}/status"))["tunnel"].clone()
}

#[track_caller]
pub(crate) fn wait_for_tunnel(server: &Server, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
    wait_for(what, || Some(tunnel_of(server)).filter(&condition))
}

impl Tunnelled {
    #[track_caller]
    pub(crate) fn start(flaw: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let control = folder.path().join("control");
        std::fs::write(&control, "").unwrap();
        let program = env!("CARGO_BIN_EXE_flawed-tunnel");
        let command = format!("'{program}' {{port}} {flaw} '{}'", control.display());
        let own =
            ["--tunnel=command", "--tunnel-command", &command, "--tunnel-url-pattern=http://127.0.0.1:*"];
        let server = launch(folder.path(), &[&own[..], arguments].concat(), &[]);
        Self { server, folder }
    }

    /// Tells the program of the tunnel what to do.
    pub(crate) fn tell(&self, wish: &str) {
        let control = self.folder.path().join("control");
        let mut file = std::fs::File::options().append(true).open(control).unwrap();
        writeln!(file, "{wish}").unwrap();
    }

    /// The tunnel once it has been probed.
    #[track_caller]
    pub(crate) fn probed(&self) -> Value {
        wait_for_tunnel(&self.server, "what passes the tunnel", |tunnel| !tunnel["probe"].is_null())
    }

    /// Where the tunnel is reached.
    #[track_caller]
    pub(crate) fn public(&self) -> std::net::SocketAddr {
        let tunnel = wait_for_tunnel(&self.server, "the tunnel", |tunnel| tunnel["state"] == "up");
        tunnel["url"].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap()
    }
}

/// The processes that a process has started.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let of = |entry: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let (pid, rest) = stat.split_once(' ')?;
        let mut fields = rest.rsplit_once(") ")?.1.split(' ');
        let (state, of) = (fields.next()?, fields.next()?);
        (of == parent.to_string() && state != "Z").then(|| pid.parse().ok())?
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter_map(of).collect()
}

/// Whether a process is there and not just waiting to be reaped.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// A path asked for through the tunnel.
#[track_caller]
fn through(tunnelled: &Tunnelled, target: &str) -> Value {
    ooblex_tests::http::send(tunnelled.public(), "GET", target, &[], &[]).expect(200).json()
}

#[track_caller]
fn transport(status: &Value, name: &str) -> Value {
    status["transports"].as_array().unwrap().iter().find(|t| t["name"] == name).unwrap().clone()
}

#[test]
fn a_tunnel_by_a_program_is_opened_probed_and_counted() {
    let tunnelled = Tunnelled::start("none", &["--demo"]);
    let tunnel = tunnelled.probed();
    assert_eq!(
        (&tunnel["provider"], &tunnel["state"], &tunnel["here"]),
        (&json!("command"), &json!("up"), &json!(false))
    );
    let found =
        json!({"reached": true, "websocket": true, "stream": true, "interstitial": false, "reasons": []});
    assert_eq!(tunnel["probe"], found);
    let before = &tunnel["traffic"];
    assert!(before["requests"].as_u64() >= Some(3), "the probe counts, too: {tunnel}");
    let status = through(&tunnelled, &format!("/t/{CONTROL}/status"));
    assert_eq!(status["tunnel"]["here"], true);
    assert_eq!(status["tunnel"]["traffic"]["requests"].as_u64(), before["requests"].as_u64().map(|n| n + 1));
    assert!(
        status["transports"].as_array().unwrap().iter().all(|t| t["state"] == "running"
            || t["path"] == "/webrtc/offer"
            || t["name"] == "whip"
            || t["name"] == "whep"),
        "{status}"
    );
    // Pictures are counted on their way out, also those of a viewer that is written to directly.
    let mut viewer = Viewer::open(tunnelled.public(), &format!("/t/{VIEW}/stream.mjpg"));
    let mut sizes = 0;
    let mut last = 0;
    for _ in 0..10 {
        let part = viewer.next();
        assert!(part.sequence >= last, "in order");
        (last, sizes) = (part.sequence, sizes + part.body.len() as u64);
    }
    let sent = tunnel_of(&tunnelled.server)["traffic"]["sent_bytes"].as_u64().unwrap();
    assert!(sent > before["sent_bytes"].as_u64().unwrap() + sizes, "{sent} {sizes}");
    let metrics = tunnelled.server.get(&format!("/t/{CONTROL}/metrics")).expect(200);
    for state in ["up", "reconnecting", "down"] {
        let line = format!(
            "ooblex_tunnel_state{{provider=\"command\",state=\"{state}\"}} {}",
            u8::from(state == "up")
        );
        assert!(metrics.text().lines().any(|l| l == line), "{line}: {}", metrics.text());
    }
    let samples = parse_metrics(metrics.text());
    let value =
        |name: &str| samples.iter().find(|s| s.name == format!("ooblex_tunnel_{name}")).map(|s| s.value);
    assert_eq!((value("opened_total"), value("slowed"), value("limit_bytes")), (Some(1.0), Some(0.0), None));
    assert!(value("sent_bytes_total") >= Some(sent as f64) && value("received_bytes_total") > Some(0.0));
    assert!(value("requests_total") >= before["requests"].as_f64().map(|n| n + 2.0), "{samples:?}");
    let health = tunnelled.server.json(&format!("/t/{CONTROL}/health"));
    assert_eq!(health["status"], "healthy", "{health}");
    assert!(tunnelled.server.log().contains("tunnel    http://127.0.0.1:"), "{}", tunnelled.server.log());
}

#[test]
fn what_a_tunnel_does_not_pass_is_found_and_told_to_those_who_come_through_it() {
    for (flaw, key, found, transports) in [
        ("no-websocket", "websocket", false, &["websocket_upload", "websocket_live", "websocket_view"][..]),
        ("holds-streams", "stream", false, &["mjpeg"]),
        ("interstitial", "interstitial", true, &[]),
    ] {
        let tunnelled = Tunnelled::start(flaw, &[]);
        let probe = &tunnelled.probed()["probe"];
        let bad: Vec<_> = ["websocket", "stream"].into_iter().filter(|good| probe[good] == false).collect();
        assert_eq!(probe[key], found, "{flaw}: {probe}");
        assert_eq!(bad, Vec::from_iter((!found).then_some(key)), "{flaw}: {probe}");
        assert_eq!(probe["reasons"].as_array().unwrap().len(), 1, "{flaw}: {probe}");
        let outside = through(&tunnelled, &format!("/t/{CONTROL}/status"));
        let inside = tunnelled.server.json(&format!("/t/{CONTROL}/status"));
        for name in ["websocket_upload", "websocket_live", "websocket_view", "mjpeg", "snapshot", "upload"] {
            let expected = if transports.contains(&name) { "unavailable" } else { "running" };
            assert_eq!(transport(&outside, name)["state"], expected, "{flaw}: {name}");
            assert_eq!(transport(&inside, name)["state"], "running", "{flaw}: {name}");
        }
    }
}

#[test]
fn nobody_else_can_ask_what_a_probe_asks() {
    let tunnelled = Tunnelled::start("none", &[]);
    tunnelled.probed();
    for step in ["stream", "socket", "page", "other"] {
        let path = format!("/tunnel/probe/00000000000000000000000000000000/{step}");
        assert_eq!(tunnelled.server.get(&path).status, 404, "{path}");
    }
}

#[test]
fn behind_a_plain_tunnel_nobody_has_an_address_that_they_made_up() {
    for (word, is_counted) in [("auto", true), ("trust", false)] {
        let limits = ["--max-requests-per-second=1", "--tunnel-forwarded-for", word];
        let tunnelled = Tunnelled::start("none", &limits);
        let public = tunnelled.public();
        let ask = |n: u8| {
            let forwarded = format!("198.51.100.{n}");
            let headers = [("X-Forwarded-For", &*forwarded)];
            ooblex_tests::http::send(public, "GET", &format!("/t/{VIEW}/status"), &headers, &[]).status
        };
        let statuses: Vec<u16> = (0..60).map(ask).collect();
        assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
        assert_eq!(statuses.contains(&429), is_counted, "{word}: {statuses:?}");
    }
}

/// What the server says about its tunnel, line by line.
fn told(server: &Server) -> Vec<Value> {
    let log = server.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["event"] == "tunnel").collect()
}

#[test]
fn a_tunnel_that_breaks_off_comes_back_and_local_serving_never_stops() {
    let tunnelled = Tunnelled::start("none", &["--announce=json"]);
    let first = tunnelled.public();
    tunnelled.tell("drop");
    let mut seen = Vec::new();
    let end = Instant::now() + PATIENCE;
    // Asked locally all along: every answer is one.
    while seen.last().is_none_or(|state| state != "up") || seen.len() < 2 {
        assert!(Instant::now() < end, "{seen:?}");
        let tunnel = tunnel_of(&tunnelled.server);
        let state = tunnel["state"].as_str().unwrap().to_owned();
        if state != "up" {
            let reason = tunnel["reason"].as_str().unwrap();
            assert!(reason.contains("status 7: the connection broke off"), "{reason}");
            let health = tunnelled.server.json(&format!("/t/{CONTROL}/health"));
            assert!(
                health["status"] == "degraded" || tunnel_of(&tunnelled.server)["state"] == "up",
                "{health}"
            );
        }
        if seen.last() != Some(&state) && (state != "up" || !seen.is_empty()) {
            seen.push(state);
        }
    }
    assert_eq!(seen, ["reconnecting", "up"]);
    assert_ne!(tunnelled.public(), first, "another run takes another port");
    let tunnel = tunnelled.probed();
    assert_eq!((&tunnel["opened"], &tunnel["probe"]["websocket"]), (&json!(2), &json!(true)));
    let told = told(&tunnelled.server);
    let states: Vec<_> = told.iter().map(|line| line["state"].as_str().unwrap()).collect();
    assert_eq!(states[states.len() - 3..], ["up", "reconnecting", "up"], "{told:?}");
    let last = told.last().unwrap();
    assert_eq!(last["url"], format!("http://{}/", tunnelled.public()));
    assert_eq!((&last["provider"], &last["reason"]), (&json!("command"), &Value::Null));
}

#[test]
fn a_new_address_is_told_while_the_tunnel_runs() {
    let tunnelled = Tunnelled::start("none", &["--announce=json"]);
    let first = tunnelled.public();
    tunnelled.tell("move");
    let moved = wait_for("another address", || Some(tunnelled.public()).filter(|address| *address != first));
    assert_eq!(
        through(&tunnelled, &format!("/t/{CONTROL}/status"))["tunnel"]["url"],
        format!("http://{moved}")
    );
    let urls: Vec<_> = told(&tunnelled.server).into_iter().filter(|line| line["state"] == "up").collect();
    assert_eq!(urls.len(), 2, "{urls:?}");
    assert_eq!(urls[1]["url"], format!("http://{moved}/"));
    assert_eq!(tunnelled.probed()["opened"], 2);
}

#[test]
fn the_program_of_a_tunnel_never_outlives_the_server() {
    for signal in ["KILL", "TERM"] {
        let mut tunnelled = Tunnelled::start("none", &[]);
        let public = tunnelled.public();
        let children = children(tunnelled.server.pid());
        assert_eq!(children.len(), 1, "{children:?}");
        tunnelled.server.signal(signal);
        let status = tunnelled.server.wait_for_exit(PATIENCE).expect("it ends");
        assert!(signal == "KILL" || status.success(), "{status}");
        wait_for("the end of the program", || (!is_alive(children[0])).then_some(()));
        assert!(std::net::TcpStream::connect(public).is_err(), "{signal}: nobody listens any more");
    }
}

#[test]
fn secrets_of_the_server_do_not_reach_the_program_of_a_tunnel() {
    let tunnelled = Tunnelled::start("none", &[]);
    tunnelled.public();
    let pid = children(tunnelled.server.pid())[0];
    for file in ["cmdline", "environ"] {
        let text =
            String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/{file}")).unwrap()).into_owned();
        for secret in [CONTROL, PUBLISH, VIEW] {
            assert!(!text.contains(secret), "{file}: {text}");
        }
    }
}

#[test]
fn what_is_missing_is_said_with_the_fix_and_the_server_starts_anyway() {
    for (arguments, fix) in [
        (&["--tunnel=ngrok"][..], "NGROK_AUTH_TOKEN"),
        (&["--tunnel=cloudflared", "--cloudflared-program=/nowhere/cloudflared"], "fetch-cloudflared"),
        (&["--tunnel=command", "--tunnel-command=/nowhere/program"], "tunnel_command"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let server = launch(folder.path(), arguments, &[]);
        let tunnel = wait_for_tunnel(&server, "the tunnel", |tunnel| tunnel["state"] == "down");
        assert!(tunnel["reason"].as_str().unwrap().contains(fix), "{tunnel}");
        let health = server.json(&format!("/t/{CONTROL}/health"));
        assert_eq!(health["status"], "degraded");
        assert!(health["reasons"][0].as_str().unwrap().starts_with("tunnel "), "{health}");
        wait_for("the warning", || server.log().contains("warning   tunnel ").then_some(()));
        server.get(&format!("/t/{CONTROL}/")).expect(200);
    }
}

#[test]
fn wrong_settings_of_tunnels_are_refused_at_once() {
    for (arguments, said) in [
        (&["--tunnel=ssh:-oProxyCommand=x"][..], "is no host"),
        (&["--tunnel=wireguard"], "none, ngrok, cloudflared"),
        (&["--tunnel=command"], "--tunnel-command"),
        (&["--tunnel=cloudflared", "--cloudflared-token=eyJhIjoiMTIzNDU2Nzg5"], "--tunnel-url"),
        (&["--tunnel-url=example.org"], "not an origin"),
        (&["tunnel"], "tunnel fetch-cloudflared"),
        (&["tunnel", "fetch"], "unexpected argument"),
    ] {
        let (status, _, errors) = server::run(arguments);
        assert_eq!(status, 2, "{arguments:?}: {errors}");
        assert!(errors.contains(said), "{arguments:?}: {errors}");
        assert!(!errors.contains("eyJhIjoi"), "{errors}");
    }
}

/// A program in place of cloudflared, which keeps its arguments and what it has of the token, plays a log, and waits for a
/// file before it ends.
pub(crate) fn stand_in(folder: &Path) -> PathBuf {
    let path = folder.join("cloudflared");
    let script = format!(
        "#!/bin/sh\ncd '{}'\necho \"$@\" >> arguments\necho \"$TUNNEL_TOKEN\" >> token\n\
         n=$(wc -l < arguments)\n\
         echo '2026-08-10T06:03:30Z INF Requesting new quick Tunnel on trycloudflare.com...' >&2\n\
         echo \"2026-08-10T06:03:31Z INF |  https://run-$n.trycloudflare.com  |\" >&2\n\
         echo '2026-08-10T06:03:32Z INF Registered tunnel connection connIndex=0 protocol=quic' >&2\n\
         until [ -e \"end-$n\" ]; do sleep 0.05; done\n\
         echo '2026-08-10T06:13:32Z ERR Unable to reach the origin service, token is '\"$TUNNEL_TOKEN\" >&2\n\
         exit 1\n",
        folder.display()
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn cloudflared_is_started_read_and_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let program = format!("--cloudflared-program={}", stand_in(folder.path()).display());
    let server = launch(folder.path(), &["--tunnel=cloudflared", &program], &[]);
    wait_for_tunnel(&server, "the first run", |tunnel| {
        tunnel["url"] == "https://run-1.trycloudflare.com" && tunnel["state"] == "up"
    });
    std::fs::write(folder.path().join("end-1"), "").unwrap();
    let tunnel = wait_for_tunnel(&server, "the second run", |tunnel| {
        tunnel["url"] == "https://run-2.trycloudflare.com"
    });
    assert_eq!((&tunnel["state"], &tunnel["opened"]), (&json!("up"), &json!(2)));
    let arguments = std::fs::read_to_string(folder.path().join("arguments")).unwrap();
    assert!(
        arguments.lines().all(|line| line.starts_with("tunnel --no-autoupdate --url http://127.0.0.1:")),
        "{arguments}"
    );
}

#[test]
fn the_token_of_cloudflared_goes_by_environment_and_is_shown_nowhere() {
    const TOKEN: &str = "eyJhIjoiY2FuYXJ5LXN3b3JkZmlzaCJ9";
    let folder = tempfile::tempdir().unwrap();
    let program = format!("--cloudflared-program={}", stand_in(folder.path()).display());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let port = format!("--tunnel-port={port}");
    let arguments = [
        "--tunnel=cloudflared",
        &program,
        &port,
        "--tunnel-url=https://live.example.org",
        "--log-level=debug",
        "--announce=json",
    ];
    let server = launch(folder.path(), &arguments, &[("OOBLEX_CLOUDFLARED_TOKEN", TOKEN)]);
    let tunnel = wait_for_tunnel(&server, "the tunnel", |tunnel| tunnel["state"] == "up");
    assert_eq!(tunnel["url"], "https://live.example.org");
    std::fs::write(folder.path().join("end-1"), "").unwrap();
    let tunnel = wait_for_tunnel(&server, "its end", |tunnel| tunnel["state"] == "reconnecting");
    assert!(tunnel["reason"].as_str().unwrap().contains("token is ***"), "{tunnel}");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(read("arguments").lines().next(), Some("tunnel --no-autoupdate run"));
    assert_eq!(read("token").lines().next(), Some(TOKEN));
    for text in
        [server.log(), tunnel.to_string(), server.get(&format!("/t/{CONTROL}/health")).text().to_owned()]
    {
        assert!(!text.contains("canary") && !text.contains(TOKEN), "{text}");
    }
    let mut command = server::command();
    command.args(["--print-config", "--no-config"]).env("OOBLEX_CLOUDFLARED_TOKEN", TOKEN);
    command.env("NGROK_AUTH_TOKEN", TOKEN).args(["--tunnel-url=https://a.example", "--tunnel-port=1"]);
    let (status, printed, _) = server::finish(command);
    assert_eq!(status, 0);
    assert!(printed.contains("ngrok_auth_token = \"***\"") && !printed.contains(TOKEN), "{printed}");
}

#[test]
fn viewers_through_a_tunnel_are_slowed_before_the_quota_ends_and_nobody_else() {
    // Six megabytes are to last for a minute: 100 kB a second at first, of a stream of several times that.
    let quota = ["--demo", "--tunnel-quota-mb=6", "--tunnel-quota-minutes=1"];
    let tunnelled = Tunnelled::start("none", &quota);
    let public = tunnelled.public();
    let path = format!("/t/{VIEW}/streams/demo/stream.mjpg");
    let slow = std::thread::spawn({
        let path = path.clone();
        move || {
            let mut viewer = Viewer::open(public, &path);
            Vec::from_iter((0..24).map(|_| viewer.next().sequence))
        }
    });
    let mut viewer = Viewer::open(tunnelled.server.addr, &path);
    let began = Instant::now();
    let mut local = Vec::new();
    while !slow.is_finished() {
        local.push(viewer.next().sequence);
    }
    let took = began.elapsed();
    let outside = slow.join().unwrap();
    assert!(outside.windows(2).all(|pair| pair[1] > pair[0]), "in order: {outside:?}");
    // The first ones lie in buffers; after that, pictures in between are left out, not sent late.
    let last = &outside[outside.len() - 8..];
    assert!(last[7] - last[0] > 3 * 7, "{outside:?}");
    assert!(local.len() > 2 * outside.len(), "{} of {}", outside.len(), local.len());
    let traffic = tunnel_of(&tunnelled.server)["traffic"].clone();
    let sent = traffic["sent_bytes"].as_f64().unwrap();
    // The pace, what may be sent at once, and what was sent before.
    let most = 100_000.0 * (took.as_secs_f64() + 1.0) + 60_000.0;
    assert!(sent < most, "{sent} in {took:?}");
    assert_eq!(traffic["slowed"], true, "{traffic}");
    assert!(traffic["minutes_left"].as_u64().is_some_and(|left| left <= 10), "{traffic}");
    assert!(traffic["most_bytes_per_second"].as_u64().is_some_and(|most| most < 100_000), "{traffic}");
}
