//! The command `models` as a program of its own.
#![cfg(feature = "fetch")]

#[allow(dead_code)]
#[path = "../../ooblex-models/tests/fetch/server.rs"]
mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use server::{Answer, Server, file};

const CENTERFACE: &str = "centerface.onnx";

fn weights(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ooblex-models/weights").join(name)
}

/// The program without the models of the source tree and of the user, which `folder` stands for.
fn program(folder: &Path) -> Command {
    let program = folder.join("bin/ooblex-colab");
    if !program.exists() {
        fs::create_dir_all(folder.join("bin")).expect("a folder");
        fs::copy(env!("CARGO_BIN_EXE_ooblex-colab"), &program).expect("copies");
    }
    let mut command = Command::new(program);
    command.current_dir(folder).env_clear().env("HOME", folder).args([
        "--no-config",
        "--engine=rten",
        "models",
    ]);
    command
}

/// Exit status, and what was printed.
fn finish(mut command: Command) -> (i32, String) {
    let output = command.output().expect("runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

fn models(folder: &Path, words: &[&str]) -> (i32, String) {
    let mut command = program(folder);
    command.args(words);
    finish(command)
}

#[test]
fn a_model_is_pulled_and_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = fs::read(weights(CENTERFACE)).expect("weights");
    let url = Server::with_file(&data, "\"v1\"").url("models");
    let flag = format!("--model-url={url}");
    let (code, text) = models(folder.path(), &["verify", "centerface"]);
    assert_eq!(code, 1, "{text}");
    let (code, text) = models(folder.path(), &["pull", "centerface", "blazeface_short_128", &flag]);
    assert_eq!(code, 0, "{text}");
    let target = folder.path().join(".local/share/ooblex/models").join(CENTERFACE);
    for part in ["centerface: MIT; CenterFace", "research", "7294661 bytes in", "MB/s", "compiled in"] {
        assert!(text.contains(part), "no {part}: {text}");
    }
    assert!(text.contains(&target.display().to_string()), "{text}");
    let (code, text) = models(folder.path(), &["pull", "centerface", &flag]);
    assert!(code == 0 && text.contains("is there"), "{text}");
    let (code, text) = models(folder.path(), &["path", "centerface"]);
    assert_eq!((code, text), (0, format!("{}\n", target.display())));
    let (code, text) = models(folder.path(), &["verify"]);
    assert!(code == 0 && text.contains("ok       centerface.onnx"), "{text}");
}

#[test]
fn another_file_is_not_installed() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(|asked| file(b"another file", "\"v1\"", asked));
    let flag = format!("--model-url={}", server.url("models"));
    let (code, text) = models(folder.path(), &["pull", "centerface", &flag, "--model-dir=here"]);
    assert!(code == 1 && text.contains("it has 12 bytes there, not 7294661"), "{text}");
    let missing = Server::start(|_| Answer::new(404, b""));
    let flag = format!("--model-url={}", missing.url("models"));
    let (code, text) = models(folder.path(), &["pull", "--all", &flag, "--model-dir=here"]);
    assert!(code == 1 && text.contains("status 404"), "{text}");
    assert!(!folder.path().join("here").join(CENTERFACE).exists());
}

#[cfg(unix)]
#[test]
fn a_disk_that_is_full_leaves_nothing_half() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = fs::read(weights(CENTERFACE)).expect("weights");
    let flag = format!("--model-url={}", Server::with_file(&data, "\"v1\"").url("models"));
    let target = folder.path().join("here").join(CENTERFACE);
    fs::create_dir(folder.path().join("here")).expect("a folder");
    fs::write(&target, "what was there before").expect("writes");
    let mut inner = program(folder.path());
    inner.args(["pull", "centerface", &flag, "--model-dir=here"]);
    // No file may be longer than a megabyte; the signal for that is ignored, so that writing fails.
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\""]).arg(inner.get_program());
    command.args(inner.get_args()).current_dir(folder.path()).env_clear().env("HOME", folder.path());
    let (code, text) = finish(command);
    assert!(code == 1 && text.contains("could not be written") && text.contains("--model-dir"), "{text}");
    assert_eq!(fs::read(&target).expect("a file"), b"what was there before");
    let left: Vec<_> = fs::read_dir(folder.path().join("here")).expect("a folder").flatten().collect();
    let names: Vec<_> = left.iter().map(|entry| entry.file_name()).collect();
    assert!(names.iter().all(|name| name == CENTERFACE || name == ".pull.lock"), "{names:?}");
}

#[test]
fn a_wrong_command_line_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, text) = models(folder.path(), &["lst"]);
    assert!(code == 2 && text.contains("unknown command `models lst`; did you mean `list`?"), "{text}");
    let (code, text) = models(folder.path(), &["pull", "centerface", "--model-url=http://example.org/"]);
    assert!(code == 2 && text.contains("plain HTTP is for this machine alone"), "{text}");
    let (code, text) = models(folder.path(), &["pull", "centerface"]);
    assert!(code == 1 && text.contains("--model-url"), "{text}");
    let (code, text) = models(folder.path(), &["pull", "centerfac", "--model-url=http://127.0.0.1:9/"]);
    assert!(code == 1 && text.contains("unknown model"), "{text}");
    let (code, text) = finish({
        let mut command = program(folder.path());
        command.args(["list", "--pin=centerfac"]);
        command
    });
    assert!(code == 2 && text.contains("pin (from --pin): unknown model \"centerfac\"; known: "), "{text}");
}
