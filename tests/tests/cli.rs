//! The command line and the end of the process.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use ooblex_tests::http::Connection;
use ooblex_tests::multipart::Viewer;
use ooblex_tests::publisher::{Plan, Publisher};
use ooblex_tests::server::{self, Server};
use ooblex_tests::wait_for;

use crate::marked;

#[test]
fn unknown_flags_keys_and_variables_come_with_a_suggestion() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, error) = server::run(&["--mjpeg-prot", "9000"]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("--mjpeg-prot") && error.contains("--mjpeg-port"), "{error}");

    let file = folder.path().join("ooblex.toml");
    std::fs::write(&file, "jpeg_quality = 80\n\ntarget_fsp = 10\n").unwrap();
    let (code, _, error) = server::run(&["--config", file.to_str().unwrap()]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("target_fsp") && error.contains("target_fps") && error.contains(":3"), "{error}");

    let mut command = server::command();
    command.env("OOBLEX_JPEG_QALITY", "80");
    let (code, _, error) = server::finish(command);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("OOBLEX_JPEG_QALITY") && error.contains("OOBLEX_JPEG_QUALITY"), "{error}");

    let (code, _, error) = server::run(&["sevre"]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("sevre") && error.contains("serve"), "{error}");
}

#[test]
fn values_out_of_range_name_the_range_and_all_of_them_are_told() {
    let (code, _, error) = server::run(&[
        "--jpeg-quality",
        "101",
        "--mjpeg-port",
        "70000",
        "--use-gpu",
        "maybe",
        "--model-name",
        "sepiaa",
    ]);
    assert_eq!(code, 2, "{error}");
    for text in ["jpeg", "101", "100", "70000", "65535", "maybe", "required"] {
        assert!(error.contains(text), "no {text}: {error}");
    }
    let (code, _, error) = server::run(&["--mjpeg-port", "0", "--model-name", "sepiaa"]);
    assert_ne!(code, 0);
    assert!(error.contains("sepiaa") && error.contains("sepia"), "{error}");
    // What was asked for by name is not found missing with the first stream.
    let (code, _, error) = server::run(&["--mjpeg-port", "0", "--engine", "torch"]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("engine (from --engine)") && error.contains("torch"), "{error}");
    let (code, _, error) = server::run(&["--mjpeg-port", "0", "--onnxruntime", "/nowhere/libonnxruntime.so"]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("onnxruntime (from --onnxruntime)") && error.contains("/nowhere/"), "{error}");
}

#[test]
fn defaults_give_way_to_the_file_then_the_environment_then_flags() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my.toml");
    std::fs::write(&file, "jpeg_quality = 60\ntarget_fps = 20\nsample_every = 2\n").unwrap();
    let mut command = server::command();
    command
        .args(["--print-config", "--config", file.to_str().unwrap(), "--sample-every=3"])
        .env("OOBLEX_TARGET_FPS", "25")
        .env("OOBLEX_SAMPLE_EVERY", "9");
    let (code, printed, error) = server::finish(command);
    assert_eq!(code, 0, "{error}");
    let line = |name: &str| {
        printed
            .lines()
            .find(|line| line.starts_with(&format!("{name} = ")))
            .unwrap_or_else(|| panic!("{name}: {printed}"))
            .to_owned()
    };
    assert!(
        line("jpeg_quality").starts_with("jpeg_quality = 60") && line("jpeg_quality").contains("my.toml")
    );
    assert!(
        line("target_fps").starts_with("target_fps = 25") && line("target_fps").contains("OOBLEX_TARGET_FPS")
    );
    assert!(
        line("sample_every").starts_with("sample_every = 3")
            && line("sample_every").contains("--sample-every")
    );
    assert!(line("mjpeg_port").starts_with("mjpeg_port = 8081"));
    assert!(line("bind").starts_with("bind = \"127.0.0.1\""));
    // What is printed is a file that means the same.
    std::fs::write(&file, &printed).unwrap();
    let (code, again, error) = server::run(&["--print-config", "--config", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{error}");
    let values = |text: &str| -> Vec<String> {
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split("  #").next())
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(values(&again), values(&printed));
}

#[test]
fn a_port_in_use_is_said_plainly() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, _, error) = server::run(&["--mjpeg-port", &port]);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains(&port) && error.to_lowercase().contains("in use"), "{error}");
    assert!(error.contains("mjpeg") && !error.contains("panicked"), "how to fix it: {error}");
}

#[test]
fn help_version_effects_and_doctor_answer() {
    let (code, help, _) = server::run(&["--help"]);
    assert_eq!(code, 0);
    for flag in ["--mjpeg-port", "--bind", "--demo", "--print-config", "--jpeg-quality", "doctor", "effects"]
    {
        assert!(help.contains(flag), "no {flag}: {help}");
    }
    let (code, version, _) = server::run(&["--version"]);
    assert_eq!(code, 0);
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    let (code, effects, _) = server::run(&["effects"]);
    assert_eq!(code, 0);
    assert!(effects.contains("edge_detection") && effects.contains("low"), "{effects}");
    let (_, doctor, error) = server::run(&["doctor"]);
    assert!(!doctor.is_empty() && !error.contains("panicked"), "{doctor} {error}");
}

#[test]
fn ctrl_c_ends_every_stream_properly() {
    let mut server = Server::start(&[]);
    let publisher = Publisher::start(server.addr, "cam", 1, Plan { fps: 5, ..Plan::default() });
    server.wait_for_stream("cam", "a stream", |_| true);
    publisher.stop();
    let mut viewers: Vec<Viewer> = (0..5).map(|_| Viewer::open(server.addr, "/cam.mjpg")).collect();
    for viewer in &mut viewers {
        viewer.next();
    }
    let idle = Connection::open(server.addr).unwrap();
    let start = Instant::now();
    server.signal("INT");
    for viewer in &mut viewers {
        while viewer.try_next().expect("the closing delimiter").is_some() {}
    }
    let status = server.wait_for_exit(Duration::from_secs(10)).expect("it ends");
    println!("ended after {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(status.code(), Some(0), "{}", server.log());
    drop(idle);
}

#[test]
fn a_termination_signal_ends_it_too() {
    let mut server = Server::start(&["--demo"]);
    let mut viewer = Viewer::open(server.addr, "/demo.mjpg");
    viewer.next();
    server.signal("TERM");
    while viewer.try_next().expect("the closing delimiter").is_some() {}
    let status = server.wait_for_exit(Duration::from_secs(5)).expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", server.log());
}

#[test]
fn a_second_ctrl_c_ends_it_at_once() {
    let mut server = Server::start(&[]);
    let plan = Plan { width: 960, height: 720, fps: 20, noisy: true };
    let publisher = Publisher::start(server.addr, "cam", 1, plan);
    server.wait_for_stream("cam", "a stream", |_| true);
    // A viewer that reads nothing keeps an orderly end waiting.
    let mut stalled = Viewer::open(server.addr, "/cam.mjpg");
    stalled.next();
    std::thread::sleep(Duration::from_secs(2));
    publisher.stop();
    server.signal("INT");
    std::thread::sleep(Duration::from_millis(100));
    if server.wait_for_exit(Duration::ZERO).is_some() {
        // Nothing kept it waiting. That is better still.
        return;
    }
    let start = Instant::now();
    server.signal("INT");
    let status = server.wait_for_exit(Duration::from_secs(3)).expect("it ends at once");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert!([Some(0), Some(130)].contains(&status.code()), "{status:?}");
}

#[test]
fn shutting_down_refuses_new_work() {
    // The port is free again at once, so that a restart works.
    let mut server = Server::start(&[]);
    server.upload("cam", &marked(1, 1));
    let addr = server.addr;
    server.signal("INT");
    server.wait_for_exit(Duration::from_secs(5)).expect("it ends");
    let port = addr.port().to_string();
    let mut command = server::command();
    command.args(["--mjpeg-port", &port]);
    let again = Server::launch(command);
    assert_eq!(again.addr, addr);
    assert_eq!(again.json("/streams"), serde_json::json!([]), "nothing of before");
}

#[test]
fn programs_are_told_the_addresses_as_json() {
    let mut server = Server::start(&["--announce", "json"]);
    let base = server.url("/");
    let lines = |server: &Server| -> Vec<serde_json::Value> {
        let log = server.log();
        log.lines().filter(|line| line.starts_with('{')).map(|l| serde_json::from_str(l).unwrap()).collect()
    };
    let ready = lines(&server).remove(0);
    assert_eq!(ready["event"], "ready");
    assert_eq!(ready["guarded"], false);
    for (name, path) in [("page", ""), ("view", "view"), ("stream", "stream.mjpg"), ("whip", "whip")] {
        assert_eq!(ready["urls"][name], format!("{base}{path}"));
    }
    server.signal("TERM");
    assert_eq!(server.wait_for_exit(Duration::from_secs(10)).and_then(|status| status.code()), Some(0));
    wait_for("the last line", || lines(&server).pop().filter(|line| line["event"] == "stopped"));
}

#[test]
fn the_server_stops_when_its_standard_input_ends() {
    let mut command = server::command();
    command.args(["--mjpeg-port", "0", "--announce", "json", "--stop-with-stdin"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains(r#""event":"ready""#));
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"what comes by it does not matter\n").unwrap();
    assert_eq!(server::wait_for_exit(&mut child, Duration::from_millis(300)), None);
    drop(input);
    let status = server::wait_for_exit(&mut child, Duration::from_secs(10));
    assert_eq!(status.and_then(|status| status.code()), Some(0));
    assert!(lines.next().unwrap().unwrap().contains("stopped"));
}
