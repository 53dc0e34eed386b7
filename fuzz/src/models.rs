//! What the fuzz targets of ooblex-models do with their input. The tests of that crate include this file and run all
//! seeds through it, so that it may use nothing but what they have, too.

use ooblex_models::manager::fetch::{Address, Head, Manifest, Plan, Wanted, judge, resume};

/// A target: takes any bytes, panics only if something is wrong.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: &[(&str, Target)] =
    &[("model_address", model_address), ("model_manifest", model_manifest), ("model_resume", model_resume)];

/// SHA-256 of `abc`, FIPS 180-2 appendix B.1.
const SUM: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const ADDRESS: &str = "https://example.org/models/list.json";

/// What may be fetched from: HTTPS, or this machine; and nothing secret is shown.
fn check_address(address: &Address) {
    let shown = address.to_string();
    let local =
        ["http://127.", "http://localhost", "http://[::1]", "http://[::ffff:", "http://[0", "http://[::"];
    let lower = shown.to_ascii_lowercase();
    assert!(lower.starts_with("https://") || local.iter().any(|start| lower.starts_with(start)), "{shown}");
    assert!(!shown.contains(['?', '#', ' ']), "{shown}");
    let host = shown.split("://").nth(1).and_then(|rest| rest.split('/').next());
    assert!(host.is_some_and(|host| !host.is_empty() && !host.contains('@')), "{shown}");
}

/// An address, a line break, and what is to be joined to it.
pub fn model_address(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (address, reference) = text.split_once('\n').unwrap_or((&text, ""));
    let Ok(address) = Address::parse(address) else { return };
    check_address(&address);
    if let Ok(joined) = address.join(reference) {
        check_address(&joined);
    }
}

/// A manifest.
pub fn model_manifest(data: &[u8]) {
    let address = Address::parse(ADDRESS).expect("a good address");
    let Ok(manifest) = Manifest::parse(data, &address) else { return };
    for file in manifest.models.iter().flat_map(|model| &model.files) {
        assert!(!file.name.contains(['/', '\\', '\0']) && !file.name.starts_with('.'), "{:?}", file.name);
        assert!((1..=2 << 30).contains(&file.bytes) && file.sha256.len() == 64, "{file:?}");
        check_address(file.address.as_ref().expect("every listed file lies somewhere"));
    }
    let wanted = Wanted::new("net.onnx", 100, SUM).expect("a good file");
    if let Ok(located) = manifest.locate(&wanted) {
        assert_eq!((located.bytes, located.sha256), (wanted.bytes, wanted.sha256));
    }
}

/// Lines: the length of a part, its note, and of a response the status, ETag, length and range.
pub fn model_resume(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let mut line = || lines.next().filter(|line| !line.is_empty());
    let length = line().and_then(|line| line.parse().ok()).unwrap_or_default();
    let note = line().unwrap_or_default();
    let status = line().and_then(|line| line.parse().ok()).unwrap_or_default();
    let [etag, content_length, range] = [0; 3].map(|_| line().map(str::to_owned));
    let wanted = Wanted::new("net.onnx", 100, SUM).expect("a good file");
    let asked = resume(note.as_bytes(), length, ADDRESS, &wanted);
    if let Some(asked) = &asked {
        assert!(asked.from == length && (1..100).contains(&length));
        // Goes into a header as it is.
        assert!(asked.etag.len() >= 2 && asked.etag.starts_with('"') && asked.etag.ends_with('"'));
        assert!(asked.etag.bytes().all(|byte| byte.is_ascii_graphic()), "{asked:?}");
    }
    let head = Head { status, etag: etag.clone(), length: content_length, range };
    match judge(&head, asked.as_ref(), wanted.bytes) {
        Plan::Append => {
            let asked = asked.expect("a part was asked for");
            assert_eq!(status, 206);
            assert!(etag.is_none_or(|etag| etag == asked.etag));
            let range = head.range.expect("a range");
            assert!(
                range.trim().starts_with(&format!("bytes {}-99/", asked.from)) || range.contains("+"),
                "{range}"
            );
        }
        Plan::Begin => assert_eq!(status, 200),
        Plan::AskAgain => assert!(asked.is_some() && [206, 416].contains(&status)),
        Plan::Refuse(reason) => assert!(!reason.is_empty()),
    }
}
