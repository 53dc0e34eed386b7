//! Checkpoints: what is kept, what never is, and how a server goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ooblex_colab::config::SETTINGS;
use ooblex_tests::http;
use ooblex_tests::server::{self, Server};
use ooblex_tests::tools::find;
use ooblex_tests::{PATIENCE, skip, wait_for};
use serde_json::{Value, json};

use crate::marked;

/// Starts a server that keeps checkpoints in a folder, with the effect of the settings.
#[track_caller]
pub(crate) fn start(folder: &Path, more: &[&str]) -> Server {
    Server::launch(command(folder, more))
}

fn command(folder: &Path, more: &[&str]) -> Command {
    let mut command = server::command();
    command.args(["--mjpeg-port=0", "--checkpoint-dir"]).arg(folder).args(more);
    command
}

/// What the server says that it continues.
pub(crate) fn resumed(status: &Value) -> &Value {
    &status["checkpoint"]["resumed"]
}

/// Switches all streams, and waits until that is in a file.
#[track_caller]
fn choose(server: &Server, effect: &str) -> u64 {
    let answer = server.post_json("/effect", &json!({ "effect": effect })).expect(200).json();
    let generation = answer["generation"].as_u64().expect("a number");
    wait_for("the choice to be kept", || {
        (server.json("/status")["checkpoint"]["saved_generation"] == generation).then_some(generation)
    })
}

/// Waits for a part of the log.
#[track_caller]
fn logged(server: &Server, part: &str) {
    wait_for(part, || server.log().contains(part).then_some(()));
}

fn end(mut server: Server, signal: &str) {
    server.signal(signal);
    assert!(server.wait_for_exit(PATIENCE).is_some(), "it did not end by {signal}");
}

/// Checkpoints in the folder, the newest of each server last.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "checkpoint")).collect();
    files.sort();
    files
}

/// Changes what a checkpoint holds, with the digest that belongs to it.
pub(crate) fn rewrite(path: &Path, change: impl FnOnce(&str) -> String) {
    let file = fs::read_to_string(path).unwrap();
    let body = change(file.split_once('\n').unwrap().1);
    let digest = ring::digest::digest(&ring::digest::SHA256, body.as_bytes());
    let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(path, format!("ooblex-checkpoint 1 {digest} {}\n{body}", body.len())).unwrap();
}

#[test]
fn a_stopped_server_goes_on_with_effects_settings_and_counters() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &["--model-name=sepia", "--jpeg-quality=61", "--target-fps=0"]);
    for n in 0..5 {
        server.upload("cam", &marked(1, n));
    }
    server.set_effect("cam", "blur|invert");
    end(server, "TERM");

    let server = start(folder.path(), &["--resume", "--target-fps=7"]);
    let status = server.json("/status");
    let found = resumed(&status);
    assert_eq!(found["stream_effects"], json!({"cam": "blur|invert"}), "{found}");
    assert_eq!(found["streams"], json!(["cam"]));
    // What is given now goes before what was kept.
    assert_eq!(found["settings"], json!({"model_name": "sepia", "jpeg_quality": "61"}));
    assert_eq!((&found["effect"], &status["effect"]), (&Value::Null, &json!("sepia")));
    logged(&server, "resumed   ");
    server.upload("cam", &marked(1, 9));
    server.upload("other", &marked(1, 9));
    assert_eq!(server.wait_for_stream("cam", "the stream", |_| true)["effect"], "blur|invert");
    assert_eq!(server.wait_for_stream("other", "the stream", |_| true)["effect"], "sepia");
    wait_for("counters that go on", || {
        let totals = &server.json("/status")["checkpoint"]["totals"];
        (totals["received"] == 7 && totals["resumed"] == 1).then_some(())
    });
}

#[test]
fn two_servers_in_one_folder_never_touch_what_is_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (start(folder.path(), &["--resume"]), start(folder.path(), &["--resume"]));
    let both = |round: usize| {
        choose(&first, ["sepia", "blur", "invert"][round]);
        choose(&second, ["emboss", "sketch", "mirror"][round]);
    };
    both(0);
    both(1);
    // Neither is continued while it runs.
    let third = start(folder.path(), &["--resume"]);
    let status = third.json("/status");
    assert!(resumed(&status).is_null(), "{status}");
    let ignored = status["checkpoint"]["ignored"].to_string();
    assert_eq!(ignored.matches("another server uses it").count(), 2, "{ignored}");
    end(third, "KILL");
    both(2);

    end(first, "KILL");
    end(second, "KILL");
    // Two that begin now share them out, the newest first.
    let (first, second) = (start(folder.path(), &["--resume"]), start(folder.path(), &["--resume"]));
    assert_eq!(first.json("/status")["effect"], "mirror");
    assert_eq!(second.json("/status")["effect"], "invert");
}

#[test]
fn damaged_and_half_written_ones_are_told_and_the_one_before_is_continued() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &[]);
    choose(&server, "pixelate_faces");
    choose(&server, "blur");
    end(server, "KILL");
    let newest: Vec<_> = files(folder.path())
        .into_iter()
        .filter(|path| fs::read_to_string(path).unwrap().contains("\"blur\""))
        .collect();
    for (n, path) in newest.iter().enumerate() {
        let mut file = fs::read(path).unwrap();
        let middle = file.len() / 2;
        // A bit that has tipped over, and a disk that lost the end.
        if n == 0 {
            file[middle] ^= 1
        } else {
            file.truncate(middle)
        }
        fs::write(path, file).unwrap();
    }
    let half = newest[0].with_extension("checkpoint.tmp");
    fs::write(&half, "ooblex-checkpoint 1 ").unwrap();

    let server = start(folder.path(), &["--resume"]);
    let status = server.json("/status");
    assert_eq!(
        (&resumed(&status)["effect"], &status["effect"]),
        (&json!("pixelate_faces"), &json!("pixelate_faces"))
    );
    for path in newest.iter().chain([&half]) {
        let name = path.file_name().unwrap().to_str().unwrap();
        logged(&server, &format!("a checkpoint was left alone reason={name}: "));
    }
}

#[test]
fn one_whose_content_was_changed_is_not_continued_although_it_reads_well() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &[]);
    choose(&server, "invert");
    choose(&server, "emboss");
    end(server, "KILL");
    let mut changed = Vec::new();
    for path in files(folder.path()) {
        let file = fs::read_to_string(&path).unwrap();
        // As long as before, and an effect that there is.
        if file.contains("\"emboss\"") {
            fs::write(&path, file.replace("\"emboss\"", "\"sketch\"")).unwrap();
            changed.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    assert!(!changed.is_empty());

    let server = start(folder.path(), &["--resume"]);
    let status = server.json("/status");
    assert_eq!((&resumed(&status)["effect"], &status["effect"]), (&json!("invert"), &json!("invert")));
    let ignored: Vec<String> = serde_json::from_value(status["checkpoint"]["ignored"].clone()).unwrap();
    for name in changed {
        let told = ignored.iter().find(|reason| reason.starts_with(&name)).expect("it is told");
        assert!(told.contains("does not match its digest"), "{told}");
    }
}

#[test]
fn an_effect_that_is_gone_is_an_error_and_not_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &[]);
    choose(&server, "sepia");
    end(server, "KILL");
    // As if it had been an effect of the operator's own, which this program does not have.
    for path in files(folder.path()) {
        rewrite(&path, |body| body.replace("\"sepia\"", "\"mine\""));
    }
    let (code, _, error) = server::finish(command(folder.path(), &["--resume"]));
    assert_eq!(code, 1);
    assert!(error.contains("cannot be continued") && error.contains("mine"), "{error}");
    assert!(error.contains("start without --resume"), "{error}");
}

#[test]
fn a_folder_that_cannot_be_written_to_is_told_and_the_server_goes_on() {
    let temp = tempfile::tempdir().unwrap();
    let (folder, aside) = (temp.path().join("kept"), temp.path().join("aside"));
    let server = start(&folder, &["--model-name=none"]);
    choose(&server, "sepia");
    // Root may write everywhere, but not into a file as if it were a folder.
    fs::rename(&folder, &aside).unwrap();
    fs::write(&folder, "").unwrap();
    server.post_json("/effect", &json!({"effect": "pixelate_faces"})).expect(200);
    let health = wait_for("the trouble", || {
        Some(server.json("/health")).filter(|health| health["status"] == "degraded")
    });
    let reason = health["reasons"][0].as_str().unwrap_or_default().to_owned();
    assert!(reason.starts_with("checkpoints: ") && reason.contains("--checkpoint-dir"), "{reason}");
    logged(&server, "checkpoints are not kept");
    server.upload("cam", &marked(1, 1));
    assert_eq!(server.json("/status")["checkpoint"]["state"], "failed");
    fs::remove_file(&folder).unwrap();
    fs::rename(&aside, &folder).unwrap();
    wait_for("it is well again", || (server.json("/status")["checkpoint"]["state"] == "on").then_some(()));
    logged(&server, "checkpoints are kept again");

    // One that is no folder from the start.
    let file = temp.path().join("file");
    fs::write(&file, "").unwrap();
    let server = start(&file, &[]);
    assert!(
        server.json("/health")["reasons"][0].as_str().is_some_and(|why| why.contains("--checkpoint-dir"))
    );
}

#[test]
fn a_full_disk_is_told_and_leaves_the_last_checkpoint_whole() {
    let Some(unshare) = find("unshare") else { skip!("unshare is not installed") };
    let temp = tempfile::tempdir().unwrap();
    let disk = temp.path().join("disk");
    fs::create_dir(&disk).unwrap();
    // A disk of 64 kB that nobody but the server sees; by its process it is seen from here, too.
    let mount = |run: &str| format!("mount -t tmpfs -o size=64k none '{}' && {run}", disk.display());
    let permitted = Command::new(&unshare).args(["--mount", "sh", "-c", &mount("true")]).output().unwrap();
    if !permitted.status.success() {
        skip!("nothing may be mounted here: {}", String::from_utf8_lossy(&permitted.stderr).trim());
    }
    let program = mount("exec \"$0\" \"$@\"");
    let mut command = server::neutral(Command::new(unshare));
    command.args(["--mount", "sh", "-c", &program]).arg(server::program());
    command.args(["--mjpeg-port=0", "--checkpoint-dir"]).arg(&disk);
    let server = Server::launch(command);
    choose(&server, "sepia");
    let inside = PathBuf::from(format!("/proc/{}/root", server.pid())).join(disk.strip_prefix("/").unwrap());
    let before = files(&inside);
    assert!(!before.is_empty(), "nothing at {}", inside.display());
    let filler = inside.join("filler");
    let full = fs::write(&filler, vec![0; 1 << 20]).expect_err("the disk is small");
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);

    server.post_json("/effect", &json!({"effect": "pixelate_faces"})).expect(200);
    let reason = wait_for("the trouble", || {
        server.json("/health")["reasons"][0]
            .as_str()
            .map(str::to_owned)
            .filter(|r| r.starts_with("checkpoints: "))
    });
    assert!(reason.contains("make room"), "{reason}");
    server.upload("cam", &marked(1, 1));
    assert_eq!(files(&inside), before, "what was there is there");
    fs::remove_file(filler).unwrap();
    wait_for("it is well again", || (server.json("/status")["checkpoint"]["state"] == "on").then_some(()));
    assert!(files(&inside) > before);
}

/// One for each setting that is a secret.
const CANARIES: [(&str, &str); 7] = [
    ("publish_token", "canary-publish-4f1d9a"),
    ("view_token", "canary-view-77c0e2-0001"),
    ("control_token", "canary-control-b3358f"),
    ("ice_server", "turn:127.0.0.1:9,canary-user-19ac,canary-credential-55d1"),
    ("turn", "coturn:127.0.0.1:9,canary-secret-e07b"),
    ("ngrok_auth_token", "canary_ngrok_00aa11bb22cc33dd44ee55ff"),
    ("cloudflared_token", "canary_cloudflared_00aa11bb22cc33dd44"),
];

#[test]
fn nothing_that_is_written_holds_a_secret_or_a_picture() {
    for setting in SETTINGS.iter().filter(|setting| setting.secret) {
        assert!(CANARIES.iter().any(|(name, _)| *name == setting.name), "no canary for {}", setting.name);
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path(), &["--model-name=none"]);
    for (name, value) in CANARIES {
        command.env(format!("OOBLEX_{}", name.to_uppercase()), value);
    }
    // With its address it belongs to a tunnel that is not opened.
    command.args(["--tunnel-url=https://canary.example.org", "--tunnel-port=9"]);
    let server = Server::launch(command);
    let control = format!("Bearer {}", CANARIES[2].1);
    let authorization = ("Authorization", control.as_str());
    let picture = marked(1, 1);
    let send = |method, target: &str, body: &[u8]| {
        http::send(server.addr, method, target, &[authorization], body).expect(200)
    };
    send("POST", "/upload?stream=cam", &picture);
    send(
        "POST",
        "/streams/cam/effect",
        b"{\"effect\":\"pixelate_faces\",\"params\":{\"pixelate_faces\":{\"style\":\"blur\"}}}",
    );
    send("POST", "/effect", b"{\"effect\":\"pixelate_faces|sepia\"}");
    end(server, "TERM");

    let mut written = 0;
    for entry in fs::read_dir(folder.path()).unwrap() {
        let data = fs::read(entry.unwrap().path()).unwrap();
        let holds = |part: &[u8]| data.windows(part.len()).any(|window| window == part);
        assert!(!holds(b"canary"), "{}", String::from_utf8_lossy(&data));
        assert!(!holds(&[0xff, 0xd8, 0xff]) && data.len() < picture.len(), "a picture was kept");
        written += usize::from(holds(b"pixelate_faces"));
    }
    assert!(written > 0, "nothing was written");
}
