//! Fetching files from a real server on this machine.

mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ooblex_models::engine::Format;
use ooblex_models::manager::fetch::{FetchError, Fetcher, Progress, Pulled, Wanted};
use ooblex_models::manager::{ModelFile, sha256};
use server::{Answer, Server, file};

fn data() -> Vec<u8> {
    (0..300_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn wanted() -> Wanted {
    Wanted::new("net.onnx", data().len() as u64, &sha256(&data())).expect("good")
}

/// Pulls the file into `folder`.
fn pull(server: &Server, folder: &Path) -> Result<Pulled, FetchError> {
    Fetcher::new(&server.url("models"), folder).expect("good").pull(&wanted(), &mut |_| {})
}

fn came(resumed_from: u64, folder: &Path) -> Result<Pulled, FetchError> {
    Ok(Pulled::Came { path: folder.join("net.onnx"), resumed_from })
}

/// What is in the folder, the lock aside.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name != ".pull.lock");
    names.sort();
    names
}

/// A folder in which a pull broke off after `length` bytes of the version `etag`.
fn with_part(length: usize, etag: &'static str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let all = data();
    // Said to be whole, and then it is not.
    let server = Server::start(move |_| {
        Answer::new(200, &all[..length]).header("Content-Length", all.len()).header("ETag", etag)
    });
    let error = pull(&server, folder.path()).expect_err("breaks off");
    assert!(
        matches!(error, FetchError::BrokeOff { got, wanted: 300_000, .. } if got == length as u64),
        "{error}"
    );
    assert!(!folder.path().join("net.onnx").exists());
    folder
}

/// Makes the parts of the folder look as if they came from `server`.
fn move_part(folder: &Path, server: &Server) {
    let note = folder.join(".net.onnx.part.json");
    let text = fs::read_to_string(&note).expect("a note");
    let mut value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    value["address"] = server.url("models/net.onnx").into();
    fs::write(&note, value.to_string()).expect("writes");
}

#[test]
fn a_file_comes_whole_and_is_not_fetched_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("new/folder");
    let server = Server::with_file(&data(), "\"v1\"");
    let fetcher = Fetcher::new(&server.url("models"), &folder).expect("good");
    let mut seen = Vec::new();
    let pulled = fetcher.pull(&wanted(), &mut |progress| seen.push(progress));
    assert_eq!(pulled, came(0, &folder));
    assert_eq!(seen[0], Progress::Begun { from: 0, total: 300_000 });
    assert_eq!(seen.last(), Some(&Progress::Got { done: 300_000, total: 300_000 }));
    assert_eq!(fs::read(folder.join("net.onnx")).expect("a file"), data());
    assert_eq!(names(&folder), ["net.onnx"]);
    assert_eq!(fetcher.pull(&wanted(), &mut |_| {}), Ok(Pulled::WasThere(folder.join("net.onnx"))));
    let asked = server.asked();
    assert_eq!((asked.len(), asked[0].path.as_str()), (1, "/models/net.onnx"));
}

#[test]
fn what_broke_off_goes_on_if_it_is_the_same_version() {
    let folder = with_part(100_000, "\"v1\"");
    let server = Server::with_file(&data(), "\"v1\"");
    move_part(folder.path(), &server);
    assert_eq!(pull(&server, folder.path()), came(100_000, folder.path()));
    assert_eq!(fs::read(folder.path().join("net.onnx")).expect("a file"), data());
    assert_eq!(names(folder.path()), ["net.onnx"]);
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].range.as_deref(), Some("bytes=100000-"));
    assert_eq!(asked[0].if_range.as_deref(), Some("\"v1\""));
}

#[test]
fn another_version_begins_anew() {
    let folder = with_part(100_000, "\"v1\"");
    let server = Server::with_file(&data(), "\"v2\"");
    move_part(folder.path(), &server);
    assert_eq!(pull(&server, folder.path()), came(0, folder.path()));
    assert_eq!(names(folder.path()), ["net.onnx"]);
    assert_eq!(server.asked().len(), 1, "the server sent the whole at once");
}

#[test]
fn without_a_strong_etag_nothing_is_resumed() {
    let folder = with_part(100_000, "W/\"v1\"");
    assert_eq!(names(folder.path()), [".net.onnx.part"]);
    let server = Server::with_file(&data(), "W/\"v1\"");
    assert_eq!(pull(&server, folder.path()), came(0, folder.path()));
    assert_eq!(server.asked()[0].range, None);
}

#[test]
fn a_part_that_does_not_fit_is_fetched_anew() {
    // A server that sends other ranges than it was asked for, and then the whole.
    let folder = with_part(100_000, "\"v1\"");
    let all = data();
    let server = Server::start(move |asked| match asked.range {
        Some(_) => Answer::new(206, &all[50_000..])
            .header("Content-Range", "bytes 50000-299999/300000")
            .header("Content-Length", 250_000),
        None => file(&all, "\"v1\"", asked),
    });
    move_part(folder.path(), &server);
    assert_eq!(pull(&server, folder.path()), came(0, folder.path()));
    assert_eq!(server.asked().len(), 2);

    // A part that was damaged on the disk: the sum tells.
    let folder = with_part(100_000, "\"v1\"");
    fs::write(folder.path().join(".net.onnx.part"), vec![0; 100_000]).expect("writes");
    let server = Server::with_file(&data(), "\"v1\"");
    move_part(folder.path(), &server);
    assert_eq!(pull(&server, folder.path()), came(0, folder.path()));
    assert_eq!(server.asked().len(), 2);
    assert_eq!(names(folder.path()), ["net.onnx"]);
}

#[test]
fn another_file_is_never_installed() {
    let mut other = data();
    other[123_456] ^= 1;
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("net.onnx"), "what was there before").expect("writes");
    let error = pull(&Server::with_file(&other, "\"v1\""), folder.path()).expect_err("another file");
    assert_eq!(
        error,
        FetchError::Changed { name: "net.onnx".into(), found: sha256(&other), expected: sha256(&data()) }
    );
    assert_eq!(fs::read(folder.path().join("net.onnx")).expect("a file"), b"what was there before");
    assert_eq!(names(folder.path()), ["net.onnx"], "and nothing of it is kept");
    pull(&Server::with_file(&data(), "\"v1\""), folder.path()).expect("comes");
    assert_eq!(fs::read(folder.path().join("net.onnx")).expect("a file"), data());
}

#[test]
fn a_length_that_differs_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    // Told beforehand: nothing is written.
    let long = [data(), vec![0]].concat();
    let error = pull(&Server::with_file(&long, "\"v1\""), folder.path()).expect_err("too long");
    assert!(error.to_string().ends_with("net.onnx: it has 300001 bytes there, not 300000"), "{error}");
    // Not told: it is cut off.
    let endless = Server::start(|_| Answer::new(200, &vec![0; 5_000_000]));
    let error = pull(&endless, folder.path()).expect_err("too long");
    assert_eq!(error, FetchError::TooLong { name: "net.onnx".into(), wanted: 300_000 });
    // Not told, and too short.
    let all = data();
    let short = Server::start(move |_| Answer::new(200, &all[..1000]));
    let error = pull(&short, folder.path()).expect_err("too short");
    assert!(matches!(error, FetchError::BrokeOff { got: 1000, .. }), "{error}");
    assert!(!folder.path().join("net.onnx").exists());
}

#[test]
fn what_the_server_refuses_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    for status in [403, 404, 500, 304] {
        let error = pull(&Server::start(move |_| Answer::new(status, b"no")), folder.path()).expect_err("no");
        let expected = format!("net.onnx: the server answers with status {status}");
        assert!(error.to_string().ends_with(&expected), "{error}");
    }
    assert_eq!(names(folder.path()), Vec::<String>::new());
    // Nobody listens at a port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it").port();
    let fetcher = Fetcher::new(&format!("http://127.0.0.1:{port}/"), folder.path()).expect("good");
    let error = fetcher.pull(&wanted(), &mut |_| {}).expect_err("nobody there");
    assert!(matches!(error, FetchError::Connection { .. }), "{error}");
}

#[test]
fn redirects_are_followed_so_many_times() {
    let folder = tempfile::tempdir().expect("a folder");
    let all = data();
    let server = Server::start(move |asked| match asked.path.as_str() {
        "/models/net.onnx" => Answer::new(302, b"").header("Location", "/elsewhere/1"),
        "/elsewhere/1" => Answer::new(307, b"").header("Location", "2?key=secret"),
        _ => file(&all, "\"v1\"", asked),
    });
    assert_eq!(pull(&server, folder.path()), came(0, folder.path()));
    let paths: Vec<_> = server.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(paths, ["/models/net.onnx", "/elsewhere/1", "/elsewhere/2?key=secret"]);

    let folder = tempfile::tempdir().expect("a folder");
    let circle = Server::start(|_| Answer::new(302, b"").header("Location", "/models/net.onnx"));
    let error = pull(&circle, folder.path()).expect_err("a circle");
    assert!(error.to_string().contains("redirects more than 5 times"), "{error}");
    assert_eq!(circle.asked().len(), 6);

    for place in ["ftp://127.0.0.1/x", "http://example.org/net.onnx", "file:///etc/passwd"] {
        let away = Server::start(move |_| Answer::new(302, b"").header("Location", place));
        assert!(matches!(pull(&away, folder.path()), Err(FetchError::Address { .. })), "{place}");
    }
}

#[test]
fn two_pulls_of_one_file_do_not_meet() {
    let folder = tempfile::tempdir().expect("a folder");
    let waiting: Arc<AtomicUsize> = Arc::default();
    let (all, others) = (data(), waiting.clone());
    let server = Server::start(move |asked| {
        let until = Instant::now() + Duration::from_secs(20);
        while others.load(Ordering::Relaxed) < 3 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        file(&all, "\"v1\"", asked)
    });
    let pulled: Vec<_> = std::thread::scope(|scope| {
        let pull = || {
            let fetcher = Fetcher::new(&server.url("models"), folder.path()).expect("good");
            fetcher.pull(&wanted(), &mut |progress| {
                waiting.fetch_add(usize::from(progress == Progress::Waiting), Ordering::Relaxed);
            })
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(pull)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic").expect("comes")).collect()
    });
    let came = pulled.iter().filter(|pulled| matches!(pulled, Pulled::Came { .. })).count();
    assert_eq!((came, server.asked().len(), waiting.load(Ordering::Relaxed)), (1, 1, 3));
    assert_eq!(names(folder.path()), ["net.onnx"]);
}

#[test]
fn a_folder_that_cannot_be_written_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let blocked = folder.path().join("a file");
    fs::write(&blocked, "").expect("writes");
    let server = Server::with_file(&data(), "\"v1\"");
    let error = pull(&server, &blocked.join("models")).expect_err("no folder");
    assert!(matches!(error, FetchError::Write { .. }), "{error}");
    // A folder that has the file's name is not replaced.
    fs::create_dir(folder.path().join("net.onnx")).expect("a folder");
    let error = pull(&server, folder.path()).expect_err("a folder is in the way");
    assert!(matches!(error, FetchError::Write { .. }), "{error}");
    assert_eq!(names(folder.path()), ["a file", "net.onnx"], "nothing half is left");
}

#[cfg(unix)]
#[test]
fn what_lies_under_the_temporary_name_is_not_written_through() {
    let folder = tempfile::tempdir().expect("a folder");
    let precious = folder.path().join("precious");
    fs::write(&precious, "keep me").expect("writes");
    std::os::unix::fs::symlink(&precious, folder.path().join(".net.onnx.part")).expect("links");
    let server = Server::with_file(&data(), "\"v1\"");
    assert_eq!(pull(&server, folder.path()), came(0, folder.path()));
    assert_eq!(fs::read(&precious).expect("a file"), b"keep me");
}

#[test]
fn a_manifest_says_where_files_lie() {
    let folder = tempfile::tempdir().expect("a folder");
    let all = data();
    let list = serde_json::json!({"models": [{
        "name": "net", "licence": "MIT", "origin": "a test",
        "files": [{"name": "net.onnx", "bytes": 300_000, "sha256": sha256(&data()), "url": "blobs/1"}],
    }]});
    let server = Server::start(move |asked| match asked.path.as_str() {
        "/list.json" => Answer::new(200, list.to_string().as_bytes()),
        "/blobs/1" => file(&all, "\"v1\"", asked),
        _ => Answer::new(404, b""),
    });
    let fetcher = Fetcher::new(&server.url("list.json"), folder.path()).expect("good");
    let manifest = fetcher.manifest().expect("comes").expect("is one");
    assert_eq!(manifest.models[0].licence, "MIT");
    let pulled = fetcher.pull(&manifest.models[0].files[0], &mut |_| {}).expect("comes");
    assert_eq!(Ok(pulled), came(0, folder.path()));
    // The same by what the catalogue knows of the file.
    fs::remove_file(folder.path().join("net.onnx")).expect("removes");
    fetcher.pull(&wanted(), &mut |_| {}).expect("comes");
    let other = Wanted::new("other.onnx", 3, &sha256(b"abc")).expect("good");
    assert!(matches!(fetcher.pull(&other, &mut |_| {}), Err(FetchError::Unknown { .. })));
    let endless = Server::start(|_| Answer::new(200, &vec![b' '; 3_000_000]));
    let error = Fetcher::new(&endless.url("list.json"), folder.path()).expect("good").manifest();
    assert!(matches!(error, Err(FetchError::Connection { .. })), "{error:?}");
}

#[test]
fn only_files_that_can_be_checked_are_fetched() {
    let own = ModelFile::named(Format::Onnx, "own.onnx");
    assert!(matches!(Wanted::of(&own), Err(FetchError::Unknown { .. })));
    assert_eq!(Wanted::of(&ModelFile::onnx(b"compiled in")), Ok(Vec::new()));
    for name in ["../net.onnx", "/etc/passwd", ".bashrc", "a/b.onnx", ""] {
        assert!(matches!(Wanted::new(name, 3, &sha256(b"abc")), Err(FetchError::Name(_))), "{name}");
    }
    for (address, good) in [("http://example.org/", false), ("https://example.org/list.json?key=1", false)] {
        assert_eq!(Fetcher::new(address, PathBuf::new()).is_ok(), good, "{address}");
    }
}
