//! What has passed a tunnel in this month is not forgotten with the server: its provider goes on counting.

use std::path::Path;

use ooblex_tests::{http, wait_for};
use serde_json::{Value, json};

use crate::checkpoints::{self, files, rewrite};
use crate::marked;
use crate::tunnels::{PUBLISH, Tunnelled, VIEW, tunnel_of};

/// A server with a tunnel by which 60 MB may go out, a megabyte a second at first.
#[track_caller]
fn start(folder: &Path) -> Tunnelled {
    let folder = format!("--checkpoint-dir={}", folder.display());
    Tunnelled::start("none", &["--tunnel-quota-mb=60", "--tunnel-quota-minutes=1", &folder])
}

/// What the newest checkpoint says has passed.
fn kept(folder: &Path) -> Option<Value> {
    let of = |path: &std::path::PathBuf| {
        let file = std::fs::read_to_string(path).ok()?;
        let body: Value = serde_json::from_str(file.split_once('\n')?.1).ok()?;
        Some((body["saved_ms"].as_u64()?, body["tunnels"]["command"].clone()))
    };
    files(folder).iter().filter_map(of).max_by_key(|(saved, _)| *saved).map(|(_, used)| used)
}

/// Checks that a server counts what was kept and what has passed since its start, and nothing else.
#[track_caller]
fn goes_on_from(tunnelled: &Tunnelled, bytes: u64, requests: u64) {
    let traffic = tunnel_of(&tunnelled.server)["traffic"].clone();
    let number = |pointer: &str| traffic.pointer(pointer).and_then(Value::as_u64).expect("a number");
    assert_eq!(number("/used/bytes"), bytes + number("/sent_bytes"), "{traffic}");
    assert_eq!(number("/used/requests"), requests + number("/requests"), "{traffic}");
    let most = (60_000_000 - bytes) / 60;
    assert!(number("/most_bytes_per_second") <= most, "{traffic}");
}

#[test]
fn what_has_passed_a_tunnel_this_month_counts_for_the_next_server_too() {
    let folder = tempfile::tempdir().unwrap();
    let first = start(folder.path());
    let public = first.public();
    let target = format!("/t/{PUBLISH}/upload?stream=cam");
    http::send(first.server.addr, "POST", &target, &[], &marked(1, 1)).expect(200);
    let snapshots = (0..20).map(|_| {
        let target = format!("/t/{VIEW}/streams/cam/snapshot.jpg");
        http::send(public, "GET", &target, &[], &[]).expect(200).body.len() as u64
    });
    let least: u64 = snapshots.sum();
    goes_on_from(&first, 0, 0);
    wait_for("it to be kept", || kept(folder.path()).filter(|used| used["sent"].as_u64() > Some(least)));
    // Killed: there is no last word.
    drop(first);
    let used = kept(folder.path()).unwrap();
    let [bytes, requests] = ["sent", "requests"].map(|name| used[name].as_u64().unwrap());
    assert!(requests >= 20, "{used}");

    // One in between, without a tunnel, passes it on.
    let before = files(folder.path());
    let between = checkpoints::start(folder.path(), &[]);
    wait_for("its checkpoint", || (files(folder.path()).len() > before.len()).then_some(()));
    drop(between);
    before.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    assert_eq!(kept(folder.path()), Some(used));
    let second = start(folder.path());
    goes_on_from(&second, bytes, requests);
    wait_for("what passed since to be added", || {
        http::send(second.public(), "GET", "/health", &[], &[]).expect(200);
        kept(folder.path()).filter(|used| used["sent"].as_u64() > Some(bytes))
    });
    drop(second);

    // Of an earlier month nothing counts.
    for path in files(folder.path()) {
        rewrite(&path, |body| {
            let mut body: Value = serde_json::from_str(body).unwrap();
            body["tunnels"]["command"]["year"] = json!(2001);
            body.to_string()
        });
    }
    let third = start(folder.path());
    goes_on_from(&third, 0, 0);
}
