//! What operators do and see.

use ooblex_models::engine::Format;
use ooblex_models::manager::{
    BLAZEFACE, CENTERFACE, FileError, FilePlace, ModelCard, ModelError, ModelFile, ModelState, Models,
    SearchPath, sha256,
};
use ooblex_models::testing::{Act, ScriptedEngine};

use crate::{config, double, wait_until};

#[test]
fn a_model_is_loaded_and_unloaded_by_name() {
    let engine = ScriptedEngine::new();
    let models = engine.models(config(), &["a"]);
    let state = || models.status_by_name("a").expect("known").state;
    assert_eq!(state(), ModelState::Available);
    models.load("a").expect("loads");
    models.load("a").expect("is there already");
    assert_eq!((state(), engine.loads("a")), (ModelState::Loaded, 1));
    models.unload("a").expect("nobody uses it");
    models.unload("a").expect("is away already");
    assert_eq!((state(), models.memory().cpu.used), (ModelState::Available, 0));
    let error = models.load("b").expect_err("unknown");
    assert!(error.to_string().starts_with("unknown model \"b\"; known: a, blazeface_short_128, "), "{error}");
}

#[test]
fn a_model_in_use_or_pinned_is_not_unloaded() {
    let engine = ScriptedEngine::new();
    let models = engine.models(config(), &["a"]);
    let mut handles = [models.handle("a").expect("known"), models.handle("a").expect("known")];
    double(&mut handles[0], 1.0).expect("runs");
    let error = models.unload("a").expect_err("in use");
    assert_eq!(
        error.to_string(),
        "model a is used by 2 running effects; switch them to another effect first"
    );
    drop(handles);
    models.pin("a").expect("known");
    assert_eq!(models.unload("a"), Err(ModelError::Pinned { model: "a".into() }));
    models.unpin("a").expect("known");
    models.unload("a").expect("free");
}

#[test]
fn loading_is_visible() {
    let engine = ScriptedEngine::new();
    let models = engine.models(config(), &["a"]);
    engine.next_loads("a", [Act::Hang]);
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| models.load("a"));
        wait_until("it loads", || engine.hanging() == 1);
        assert_eq!(models.status_by_name("a").expect("known").state, ModelState::Loading);
        engine.release();
        loading.join().expect("no panic").expect("loads");
    });
    let status = models.status_by_name("a").expect("known");
    assert_eq!(status.state, ModelState::Loaded);
    assert!(status.load_time.is_some() && status.engine.is_some() && status.accelerator.is_some());
}

#[test]
fn a_missing_file_is_told_without_paths_and_found_once_it_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config();
    config.path = SearchPath::new([folder.path().to_owned()]);
    let models = ScriptedEngine::new().models(config, &[]);
    models.add(ModelCard::new("own", "mine").file(ModelFile::named(Format::Onnx, "own.onnx")));
    models.pin("own").expect("known");
    models.load_pinned();
    let status = models.status_by_name("own").expect("known");
    assert_eq!((status.state, &status.files[0].place), (ModelState::Missing, &FilePlace::Missing));
    let problem = models.problems()[0].to_string();
    assert_eq!(problem, "model own: own.onnx is in none of the 1 folders for models");
    match models.load("own") {
        Err(ModelError::File { source: FileError::Missing { searched, .. }, .. }) => {
            assert_eq!(searched, [folder.path().to_owned()]);
        }
        other => panic!("{other:?}"),
    }
    let path = folder.path().join("own.onnx");
    std::fs::write(&path, "weights").expect("writes");
    let status = models.status_by_name("own").expect("known");
    assert_eq!((status.state, status.failure), (ModelState::Available, None));
    assert_eq!(status.files[0].place, FilePlace::Found(path));
    models.load("own").expect("loads");
    assert!(models.problems().is_empty());
}

#[test]
fn a_planted_file_is_refused_and_a_link_to_the_right_one_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config();
    config.path = SearchPath::new([folder.path().join("models")]);
    let models = ScriptedEngine::new().models(config, &[]);
    let (there, real) = (folder.path().join("models/centerface.onnx"), folder.path().join("real.onnx"));
    std::fs::create_dir(folder.path().join("models")).expect("a folder");
    std::fs::write(&there, "not the published one").expect("writes");
    let error = models.load(CENTERFACE).expect_err("refused");
    assert!(matches!(&error, ModelError::File { source: FileError::Changed { .. }, .. }), "{error}");
    assert!(
        error.to_string().contains(&sha256(b"not the published one")) && !error.to_string().contains('/')
    );
    assert_eq!(models.status_by_name(CENTERFACE).expect("known").state, ModelState::Failed);
    std::fs::remove_file(&there).expect("removes");
    let weights = concat!(env!("CARGO_MANIFEST_DIR"), "/weights/centerface.onnx");
    std::fs::copy(weights, &real).expect("copies");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&real, &there).expect("links");
        models.load(CENTERFACE).expect("the published one");
    }
}

#[test]
fn how_models_are_run_is_said_before_they_are_used_or_never() {
    let models = Models::default();
    models.configure(config()).expect("not used yet");
    assert_eq!(models.configure(config()), Err(ModelError::Configured));
    let models = Models::default();
    let handle = models.handle(BLAZEFACE).expect("known");
    models.configure(config()).expect("a handle alone uses nothing");
    assert_eq!(handle.name().as_ref(), BLAZEFACE);
    let models = Models::default();
    assert!(models.problems().is_empty());
    models.tend();
    models.configure(config()).expect("looking after models uses nothing");
}

#[test]
fn a_replaced_model_stays_with_those_who_use_it() {
    let engine = ScriptedEngine::new();
    let models = engine.models(config(), &["a"]);
    let mut old = models.handle("a").expect("known");
    double(&mut old, 1.0).expect("runs");
    models.add(ScriptedEngine::card("a"));
    double(&mut models.handle("a").expect("known"), 2.0).expect("runs");
    double(&mut old, 3.0).expect("runs on");
    assert_eq!((engine.loads("a"), models.memory().cpu.used), (2, 2000));
    drop(old);
    assert_eq!(models.memory().cpu.used, 1000);
}
