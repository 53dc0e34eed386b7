//! Models that panic, hang, fail or give nonsense.

use std::time::Duration;

use ooblex_models::manager::{ModelError, ModelState};
use ooblex_models::testing::{Act, ScriptedEngine};

use crate::{PATIENCE, config, config_with, double, wait_until};

#[test]
fn after_a_panic_the_next_frame_gets_a_fresh_model() {
    let engine = ScriptedEngine::new();
    let models = engine.models(config(), &["a", "b"]);
    let (mut a, mut b) = (models.handle("a").expect("known"), models.handle("b").expect("known"));
    double(&mut a, 1.0).expect("runs");
    double(&mut b, 1.0).expect("runs");
    engine.next_runs("a", [Act::Panic]);
    let error = double(&mut a, 2.0).expect_err("panics");
    assert_eq!(error.to_string(), "model a was given up: panicked: as scripted");
    double(&mut b, 2.0).expect("others run on");
    double(&mut a, 3.0).expect("is loaded again");
    assert_eq!((engine.loads("a"), engine.loads("b")), (2, 1));
    let status = models.status_by_name("a").expect("known");
    assert_eq!((status.state, status.lost, status.items), (ModelState::Loaded, 1, 3));
}

#[test]
fn who_waits_behind_a_panic_does_not_notice() {
    let engine = ScriptedEngine::new();
    let models = engine.models(config(), &["a"]);
    engine.next_runs("a", [Act::Hang, Act::Panic]);
    let waiting = || models.status_by_name("a").expect("known").waiting;
    let results = std::thread::scope(|scope| {
        let ask = || scope.spawn(|| double(&mut models.handle("a").expect("known"), 4.0).is_ok());
        let first = ask();
        wait_until("the first one runs", || engine.hanging() == 1);
        let panicking = ask();
        wait_until("the second one waits", || waiting() == 1);
        let behind = ask();
        wait_until("the third one waits", || waiting() == 2);
        engine.release();
        [first, panicking, behind].map(|thread| thread.join().expect("no panic here"))
    });
    assert_eq!(results, [true, false, true]);
    assert_eq!((engine.loads("a"), models.status_by_name("a").expect("known").lost), (2, 1));
}

#[test]
fn after_three_losses_it_rests_and_is_tried_again_later() {
    let engine = ScriptedEngine::new();
    let config = config();
    let clock = config.clock.clone();
    let models = engine.models(config, &["a", "b"]);
    let (mut a, mut b) = (models.handle("a").expect("known"), models.handle("b").expect("known"));
    engine.next_runs("a", vec![Act::Panic; 4]);
    for _ in 0..3 {
        assert!(matches!(double(&mut a, 1.0), Err(ModelError::Ended { .. })));
    }
    let loads = engine.loads("a");
    for _ in 0..100 {
        assert!(matches!(double(&mut a, 1.0), Err(ModelError::Resting { .. })));
    }
    assert_eq!(engine.loads("a"), loads, "not tried at all while it rests");
    double(&mut b, 1.0).expect("others run on");
    let status = models.status_by_name("a").expect("known");
    assert_eq!((status.state, status.lost), (ModelState::Failed, 3));
    assert_eq!(status.retry_in, Some(Duration::from_secs(5)));
    assert_eq!(models.problems()[0].to_string(), "model a: panicked: as scripted");
    clock.advance(Duration::from_secs(6));
    assert!(matches!(double(&mut a, 1.0), Err(ModelError::Ended { .. })), "tried, and lost");
    let error = double(&mut a, 1.0).expect_err("rests for twice as long");
    assert!(matches!(error, ModelError::Resting { retry_in, .. } if retry_in == Duration::from_secs(10)));
    clock.advance(Duration::from_secs(11));
    double(&mut a, 1.0).expect("works again");
    assert!(models.problems().is_empty());
}

#[test]
fn an_operator_need_not_wait_until_a_model_has_rested() {
    let engine = ScriptedEngine::new();
    let models = engine.models(config(), &["a"]);
    let mut handle = models.handle("a").expect("known");
    engine.next_loads("a", vec![Act::Fail; 3]);
    for _ in 0..3 {
        let error = handle.load().map(drop).expect_err("fails");
        assert_eq!(error.to_string(), "model a: running the model failed: as scripted");
    }
    assert!(matches!(handle.load(), Err(ModelError::Resting { .. })));
    models.load("a").expect("loads");
    double(&mut handle, 1.0).expect("runs");
}

#[test]
fn a_run_that_hangs_is_given_up_while_others_run_on() {
    let engine = ScriptedEngine::new();
    let patience = Duration::from_millis(400);
    let models = engine.models(config_with(|c| c.hang_after = patience), &["a", "b"]);
    let (mut a, mut b) = (models.handle("a").expect("known"), models.handle("b").expect("known"));
    double(&mut a, 1.0).expect("runs");
    engine.next_runs("a", [Act::Hang]);
    std::thread::scope(|scope| {
        let stuck = scope.spawn(|| double(&mut a, 2.0));
        wait_until("it hangs", || engine.hanging() == 1);
        double(&mut b, 2.0).expect("others run on");
        let error = stuck.join().expect("no panic").expect_err("given up");
        assert_eq!(error.to_string(), "model a was given up: a run took longer than 400ms");
    });
    double(&mut a, 3.0).expect("is loaded again");
    let status = models.status_by_name("a").expect("known");
    assert_eq!((status.stuck, status.memory_bytes), (1, 2000), "what is stuck still holds memory");
    assert_eq!(models.problems()[0].to_string(), "model a: a thread is stuck in it");
    engine.release();
    wait_until("it lets go", || models.status_by_name("a").expect("known").stuck == 0);
    assert_eq!(models.memory().cpu.used, 2000, "one of each model");
}

#[test]
fn no_more_than_three_threads_are_left_stuck_in_a_model() {
    let engine = ScriptedEngine::new();
    let config = config_with(|c| c.hang_after = Duration::from_millis(300));
    let clock = config.clock.clone();
    let models = engine.models(config, &["a"]);
    let mut handle = models.handle("a").expect("known");
    handle.load().expect("loads");
    engine.next_runs("a", vec![Act::Hang; 10]);
    let mut errors = Vec::new();
    for _ in 0..6 {
        errors.push(double(&mut handle, 1.0).expect_err("hangs").to_string());
        clock.advance(Duration::from_secs(1000));
    }
    wait_until("three hang", || engine.hanging() == 3);
    assert_eq!(engine.loads("a"), 3, "{errors:?}");
    assert!(errors[5].contains("3 threads are stuck"), "{errors:?}");
    engine.next_runs("a", []);
    engine.release();
    wait_until("they let go", || models.status_by_name("a").expect("known").stuck == 0);
    double(&mut handle, 1.0).expect("runs again");
}

#[test]
fn loading_that_hangs_is_given_up() {
    let engine = ScriptedEngine::new();
    let models = engine.models(config_with(|c| c.load_within = Duration::from_millis(300)), &["a"]);
    engine.next_loads("a", [Act::Hang]);
    let error = models.load("a").expect_err("given up");
    assert!(error.to_string().contains("took longer than 300ms"), "{error}");
    assert_eq!(models.status_by_name("a").expect("known").stuck, 1);
    engine.release();
    models.load("a").expect("loads");
}

#[test]
fn loading_that_panics_is_an_error() {
    let engine = ScriptedEngine::new();
    let models = engine.models(config(), &["a"]);
    engine.next_loads("a", [Act::Panic]);
    let error = models.load("a").expect_err("panics");
    assert_eq!(
        error.to_string(),
        "model a: model a could not be loaded by rten: building what the worker owns panicked"
    );
    models.load("a").expect("loads");
}

#[test]
fn a_run_that_fails_costs_its_own_frame() {
    let engine = ScriptedEngine::new();
    let models = engine.models(config(), &["a"]);
    let mut handle = models.handle("a").expect("known");
    handle.load().expect("loads");
    engine.next_runs("a", [Act::Fail, Act::Infinite]);
    let error = double(&mut handle, 1.0).expect_err("fails");
    assert_eq!(error.to_string(), "model a: running the model failed: as scripted");
    let error = double(&mut handle, 1.0).expect_err("gives nonsense");
    assert!(error.to_string().contains("output out is not finite"), "{error}");
    double(&mut handle, 1.0).expect("runs");
    assert_eq!(engine.loads("a"), 1);
}

#[test]
fn a_stuck_thread_does_not_keep_the_program() {
    // The test itself: it ends although a model hangs for ever.
    let engine = ScriptedEngine::new();
    let models = engine.models(config_with(|c| c.hang_after = Duration::from_millis(300)), &["a"]);
    let mut handle = models.handle("a").expect("known");
    handle.load().expect("loads");
    engine.next_runs("a", [Act::Hang]);
    let begun = std::time::Instant::now();
    assert!(double(&mut handle, 1.0).is_err());
    drop((handle, models));
    wait_until("it hangs", || engine.hanging() == 1);
    assert!(begun.elapsed() < PATIENCE);
}
