use std::path::Path;

use super::*;
use crate::cli::Arguments;
use crate::config::{Kind, SETTINGS, load};

fn config(folder: &Path, flags: &[&str]) -> Config {
    let folder = format!("--checkpoint-dir={}", folder.display());
    let list = ["--no-config", &folder].into_iter().chain(flags.iter().copied());
    let arguments = Arguments::parse(list.map(Into::into)).expect("good flags");
    load(&arguments, []).expect("good settings").config
}

#[test]
fn only_numbers_and_the_effect_are_kept_and_nothing_secret() {
    for name in KEPT {
        let setting = SETTINGS.iter().find(|s| s.name == name).expect("a setting");
        assert!(!setting.secret, "{name}");
        assert!(name == MODEL_NAME || matches!(setting.kind, Kind::Int { .. }), "{name}");
    }
}

#[test]
fn settings_come_back_unless_they_are_given() {
    let temp = tempfile::tempdir().expect("a folder");
    let before =
        config(temp.path(), &["--jpeg-quality=70", "--target-fps=12", "--max-streams=3", "--effect=sepia"]);
    let kept = kept_settings(&before);
    assert_eq!(kept.len(), 3, "those of the machine stay: {kept:?}");
    let mut session = Session::begin(&before).expect("begins");
    let checkpoint = Checkpoint { settings: kept, ..Checkpoint::default() };
    let folder = session.folder.as_mut().expect("a folder");
    folder.write(&checkpoint.encode().expect("small")).expect("written");
    drop(session);

    let mut now = config(temp.path(), &["--resume", "--target-fps=20"]);
    let mut session = Session::begin(&now).expect("begins");
    session.take_settings(&mut now, |name| name != "target_fps");
    assert_eq!((now.jpeg_quality, now.target_fps, now.model_name.as_str()), (70, 20, "sepia"));
    let resumed = session.begun.resumed.as_ref().expect("resumed");
    assert!(
        resumed.sentence().starts_with("sepia for all streams, jpeg_quality 70; from ooblex-"),
        "{}",
        resumed.sentence()
    );
}

#[test]
fn a_value_that_is_no_longer_allowed_is_named() {
    let temp = tempfile::tempdir().expect("a folder");
    let mut session = Session::begin(&config(temp.path(), &[])).expect("begins");
    let settings = [("jpeg_quality".to_owned(), "900".to_owned()), ("bind".to_owned(), "0.0.0.0".to_owned())];
    let checkpoint = Checkpoint { settings: settings.into(), ..Checkpoint::default() };
    let folder = session.folder.as_mut().expect("a folder");
    folder.write(&checkpoint.encode().expect("small")).expect("written");
    drop(session);
    let mut now = config(temp.path(), &["--resume"]);
    let mut session = Session::begin(&now).expect("begins");
    session.take_settings(&mut now, |_| true);
    assert_eq!(now, config(temp.path(), &["--resume"]), "nothing was taken over");
    assert!(session.begun.ignored[0].contains("jpeg_quality = 900"), "{:?}", session.begun.ignored);
}

#[test]
fn a_folder_that_cannot_be_used_is_told_and_needed_only_to_resume() {
    let temp = tempfile::tempdir().expect("a folder");
    let file = temp.path().join("file");
    std::fs::write(&file, "").expect("written");
    let session = Session::begin(&config(&file, &[])).expect("the server starts all the same");
    assert!(session.folder.is_none() && session.failure.is_some_and(|why| why.contains("--checkpoint-dir")));
    let error = Session::begin(&config(&file, &["--resume"])).expect_err("a file is no folder");
    assert!(error.contains("cannot be read") && error.contains("--checkpoint-dir FOLDER"), "{error}");
    let error = Session::begin(&config(Path::new("none"), &["--resume"])).expect_err("nowhere");
    assert!(error.contains("--checkpoint-dir FOLDER"), "{error}");
}

#[test]
fn without_a_checkpoint_everything_begins_anew_and_that_is_said() {
    let temp = tempfile::tempdir().expect("a folder");
    let session = Session::begin(&config(temp.path(), &["--resume"])).expect("begins anew");
    assert!(session.begun.resumed.is_none());
    assert!(session.begun.ignored[0].contains("begins anew"), "{:?}", session.begun.ignored);
}
