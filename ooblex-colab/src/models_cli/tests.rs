use ooblex_models::manager::{BLAZEFACE, CENTERFACE};

use super::*;
use crate::cli::Arguments;
use crate::config::load;
use crate::models::models_config;

/// Runs `models WORDS` with a folder of models; what it prints, and whether all is well.
fn models(folder: &Path, words: &[&str]) -> (bool, String) {
    let flags = ["--no-config", "--engine=rten", "models"].iter().chain(words).map(Into::into);
    let arguments = Arguments::parse(flags).expect("a good command line");
    let config = load(&arguments, []).expect("a good configuration").config;
    let models = Models::default();
    let mut settings = models_config(&config);
    settings.path = ooblex_models::manager::SearchPath::new([folder.to_owned()]);
    models.configure(settings).expect("not used yet");
    let mut out = Vec::new();
    let is_well = run(&arguments.models, &config, &models, &mut out).expect("prints");
    (is_well, String::from_utf8(out).expect("text"))
}

#[test]
fn models_are_listed_with_licence_and_origin() {
    let folder = tempfile::tempdir().expect("a folder");
    for words in [&[][..], &["list"]] {
        let (is_well, text) = models(folder.path(), words);
        assert!(is_well);
        let line = |name: &str| text.lines().find(|line| line.starts_with(name)).expect(name);
        assert!(line(BLAZEFACE).contains("compiled in"), "{text}");
        assert!(line(CENTERFACE).contains("missing"), "{text}");
        for part in ["onnx 7.3 MB; MIT", "the upstream notice was not read", "5 missing"] {
            assert!(text.contains(part), "no {part}: {text}");
        }
    }
    let (is_well, text) = models(folder.path(), &["list", "blazefac"]);
    assert!(!is_well && text.contains("unknown model \"blazefac\"; known: "), "{text}");
}

#[test]
fn files_are_verified() {
    let folder = tempfile::tempdir().expect("a folder");
    let (is_well, text) = models(folder.path(), &["verify"]);
    assert!(is_well, "what is not there cannot be wrong");
    assert!(text.contains("ok       blazeface_short_128.onnx (compiled in)"), "{text}");
    assert!(text.contains("missing  centerface.onnx"), "{text}");
    assert!(!models(folder.path(), &["verify", CENTERFACE]).0, "but it was asked for");
    std::fs::write(folder.path().join("centerface.onnx"), "planted").expect("writes");
    for words in [&["verify"][..], &["verify", CENTERFACE]] {
        let (is_well, text) = models(folder.path(), words);
        assert!(!is_well && text.contains("BAD      centerface.onnx"), "{text}");
    }
    let weights = concat!(env!("CARGO_MANIFEST_DIR"), "/../ooblex-models/weights/centerface.onnx");
    std::fs::copy(weights, folder.path().join("centerface.onnx")).expect("copies");
    let (is_well, text) = models(folder.path(), &["verify", CENTERFACE]);
    assert!(is_well && text.starts_with("ok       centerface.onnx ("), "{text}");
}

#[test]
fn paths_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(models(folder.path(), &["path"]), (true, format!("{}\n", folder.path().display())));
    assert_eq!(models(folder.path(), &["path", CENTERFACE]), (false, "centerface.onnx  (missing)\n".into()));
    let file = folder.path().join("centerface.onnx");
    std::fs::write(&file, "anything").expect("writes");
    assert_eq!(models(folder.path(), &["path", CENTERFACE]), (true, format!("{}\n", file.display())));
}

#[cfg(feature = "fetch")]
#[test]
fn pulling_without_a_place_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let (is_well, text) = models(folder.path(), &["pull", CENTERFACE]);
    assert!(!is_well && text.contains("--model-url") && text.contains("--model-dir"), "{text}");
    for words in [&["pull"][..], &["pull", "--all", CENTERFACE]] {
        let (is_well, text) = models(folder.path(), words);
        assert!(!is_well && text.contains("--all"), "{text}");
    }
}
