//! The commands of docs/DEPLOY.md, taken from there and run.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use ooblex_tests::server::{Server, root};
use ooblex_tests::tools::{find, output, python, start};
use ooblex_tests::{PATIENCE, skip};

/// Where the document says that the server is.
const SERVER: &str = "http://127.0.0.1:8081/";
/// What stands before a block that is run, perhaps with the file that it makes.
const MARKER: &str = "<!-- run";

/// A block of the document.
struct Block {
    language: String,
    text: String,
    makes: Option<String>,
}

/// The blocks that are marked to be run and begin with this.
#[track_caller]
fn blocks(begin: &str) -> Vec<Block> {
    let document = std::fs::read_to_string(root().join("docs/DEPLOY.md")).unwrap();
    let marked = document.split(MARKER).skip(1).map(|rest| {
        let (marker, rest) =
            rest.split_once(" -->\n```").unwrap_or_else(|| panic!("no block behind {rest:.60}"));
        let (language, rest) = rest.split_once('\n').unwrap();
        let text = rest.split("\n```").next().unwrap();
        assert!(text.contains(SERVER), "it does not ask the server: {text}");
        Block {
            language: language.to_owned(),
            text: text.to_owned(),
            makes: marker.strip_prefix(", makes ").map(str::to_owned),
        }
    });
    let found: Vec<Block> = marked.filter(|block| block.text.starts_with(begin)).collect();
    assert!(!found.is_empty(), "no block begins with {begin}");
    found
}

/// Runs what begins so, as somebody who may not do much; checks what it makes.
#[track_caller]
fn run(begin: &str) {
    let server = Server::start(&["--demo"]);
    for block in blocks(begin) {
        assert_eq!(block.language, "sh");
        let (folder, logs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new(root().join("scripts/as-user.sh"));
        command.arg(folder.path()).args(["sh", "-euc"]).arg(block.text.replace(SERVER, &server.url("/")));
        finish(command, logs.path(), &block);
        if let Some(name) = &block.makes {
            let made = folder.path().join(name).metadata().map(|data| data.len());
            assert!(
                made.as_ref().is_ok_and(|bytes| *bytes > 1000),
                "{name}: {made:?}\n{}",
                output(logs.path(), "log")
            );
        }
    }
}

#[track_caller]
fn finish(mut command: Command, logs: &Path, block: &Block) {
    let code = start(&mut command, logs, "log").finish(3 * PATIENCE, logs, "log");
    assert_eq!(code, 0, "{}\n{}", block.text, output(logs, "log"));
}

#[test]
fn ffmpeg_records_and_takes_pictures() {
    if find("ffmpeg").is_none() {
        skip!("ffmpeg is not installed");
    }
    run("ffmpeg ");
}

#[test]
fn gstreamer_shows_the_stream() {
    if find("gst-launch-1.0").is_none() {
        skip!("gst-launch-1.0 is not installed");
    }
    run("gst-launch-1.0 ");
}

#[test]
fn opencv_watches_and_sends() {
    let Some(python) = python() else { skip!("no .venv with OpenCV; scripts/setup.sh test makes it") };
    let server = Server::start(&["--demo"]);
    let blocks = blocks("import ");
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        assert_eq!(block.language, "python");
        let logs = tempfile::tempdir().unwrap();
        let mut command = Command::new(&python);
        command.arg("-c").arg(block.text.replace(SERVER, &server.url("/"))).current_dir(logs.path());
        finish(command, logs.path(), &block);
        let said = output(logs.path(), "log");
        let shape = if block.text.contains("upload") { "(240, 320, 3)" } else { "(480, 640, 3)" };
        assert!(said.ends_with(&format!("{shape}\n")), "{said}");
    }
}
