//! What is shipped for running the server elsewhere: the entry point of the container, the service of systemd.

use std::net::TcpListener;
use std::process::Command;

use ooblex_tests::server::{self, Server, root};
use ooblex_tests::skip;
use ooblex_tests::tools::find;

/// The entry point, with the program on its PATH and this in its environment.
fn entry_point(variables: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = server::neutral(Command::new("/bin/sh"));
    let program = server::program();
    assert!(program.ends_with(server::PROGRAM), "{program:?}");
    command.arg(root().join("deploy/entrypoint.sh")).args(arguments);
    command.env("PATH", program.parent().unwrap()).env_remove("PORT").envs(variables.iter().copied());
    command
}

fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

#[test]
fn a_container_listens_where_port_says_and_knows_its_health() {
    let (port, other) = (free_port(), free_port());
    let variables = [("PORT", &*port), ("OOBLEX_BIND", "0.0.0.0"), ("OOBLEX_MODEL_NAME", "none")];
    let mut server = Server::launch(entry_point(&variables, &[]));
    assert_eq!(server.addr.port().to_string(), port);
    assert!(server.log().contains("/t/"), "others reach it, so there are tokens: {}", server.log());
    let health = || server::finish(entry_point(&variables, &["health"]));
    assert_eq!(health(), (0, "healthy\n".into(), String::new()));
    // A signal reaches the program itself.
    server.signal("TERM");
    assert_eq!(server.wait_for_exit(ooblex_tests::PATIENCE).expect("it ends").code(), Some(0));
    let (code, said, error) = health();
    assert_eq!((code, &*said), (1, ""));
    assert!(error.starts_with(&format!("error: no server answers at 127.0.0.1:{port}: ")), "{error}");

    // The name that is the server's own counts more.
    let both = [("PORT", &*port), ("OOBLEX_MJPEG_PORT", &*other), ("OOBLEX_MODEL_NAME", "none")];
    assert_eq!(Server::launch(entry_point(&both, &[])).addr.port().to_string(), other);
    let (code, _, error) = server::finish(entry_point(&[("PORT", "eighty")], &[]));
    assert_eq!(code, 2);
    assert!(error.contains("mjpeg_port (from OOBLEX_MJPEG_PORT) is \"eighty\""), "{error}");
}

#[test]
fn health_is_not_what_something_else_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let other = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut client, _) = listener.accept().unwrap();
        // What is not read when a socket is closed resets the connection, the answer with it.
        let (mut request, mut buffer) = (Vec::new(), [0; 1024]);
        while !request.ends_with(b"\r\n\r\n") {
            let n = client.read(&mut buffer).unwrap();
            request.extend_from_slice(&buffer[..n]);
        }
        client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK").unwrap();
    });
    let (code, _, error) = server::run(&["health", "--mjpeg-port", &port]);
    other.join().unwrap();
    assert_eq!(code, 1);
    assert!(error.contains("is no ooblex-colab"), "{error}");
}

#[test]
fn what_the_containerfile_copies_is_there() {
    let file = std::fs::read_to_string(root().join("deploy/Containerfile")).unwrap();
    let of_checkout = file
        .lines()
        .filter_map(|line| line.strip_prefix("COPY ").or_else(|| line.strip_prefix("RUN cp -rL ")))
        .filter(|rest| !rest.starts_with("--from="))
        .map(|rest| rest.split(' ').next().unwrap());
    let sources: Vec<&str> = of_checkout.collect();
    assert_eq!(sources.len(), 3, "{sources:?}");
    for source in sources {
        assert!(root().join(source).exists(), "{source}");
    }
}

#[test]
fn systemd_understands_the_service() {
    let Some(analyze) = find("systemd-analyze") else { skip!("systemd is not installed") };
    let unit = std::fs::read_to_string(root().join("deploy/ooblex.service")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ooblex.service");
    // Only the program is somewhere else.
    let installed = "ExecStart=/usr/local/bin/ooblex-colab ";
    assert!(unit.contains(installed), "{unit}");
    std::fs::write(&path, unit.replace(installed, &format!("ExecStart={} ", server::program().display())))
        .unwrap();
    let output = Command::new(analyze).args(["verify", "--recursive-errors=no"]).arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}
