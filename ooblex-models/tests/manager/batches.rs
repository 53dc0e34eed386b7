//! Several streams, one model.

use ooblex_models::manager::{ModelError, Models};
use ooblex_models::testing::{Act, ScriptedEngine};

use crate::{config, double, wait_until};

/// One stream runs and does not return until the others, which ask with so many rows each, wait behind it in order.
/// Gives whether these got their own rows doubled.
fn ask_while_busy(engine: &ScriptedEngine, models: &Models, rows: &[usize]) -> Vec<bool> {
    let waiting = || models.status_by_name("a").expect("known").waiting;
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| double(&mut models.handle("a").expect("known"), 1.0));
        wait_until("the first one runs", || engine.hanging() == 1);
        let ask = |(index, &rows): (usize, &usize)| {
            let thread = scope.spawn(move || {
                let (mut handle, number) = (models.handle("a")?, 10.0 + index as f32);
                handle.shape_input(0, &[rows, 4])?.f32_mut().fill(number);
                let outputs = handle.run(None)?;
                assert_eq!(outputs[0].shape(), [rows, 4], "its own rows alone");
                assert!(outputs[0].f32().iter().all(|v| *v == 2.0 * number));
                Ok::<_, ModelError>(())
            });
            wait_until("it waits", || waiting() == index as u64 + 1);
            thread
        };
        let threads: Vec<_> = rows.iter().enumerate().map(ask).collect();
        engine.release();
        busy.join().expect("no panic").expect("runs");
        threads.into_iter().map(|t| t.join().expect("no panic").is_ok()).collect()
    })
}

#[test]
fn weights_are_there_once_and_only_when_needed() {
    let engine = ScriptedEngine::new();
    let models = engine.models(config(), &["a"]);
    let mut handles: Vec<_> = (0..3).map(|_| models.handle("a").expect("known")).collect();
    assert_eq!(engine.loads("a"), 0, "nothing is loaded before it is needed");
    for (number, handle) in handles.iter_mut().enumerate() {
        double(handle, number as f32).expect("runs");
    }
    assert_eq!(engine.loads("a"), 1);
    assert_eq!(models.status_by_name("a").expect("known").users, 3);
}

#[test]
fn streams_that_load_at_the_same_time_load_once() {
    let engine = ScriptedEngine::new();
    let models = engine.models(config(), &["a"]);
    engine.next_loads("a", [Act::Hang]);
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| double(&mut models.handle("a").expect("known"), 2.0))).collect();
        wait_until("one loads", || engine.hanging() == 1);
        engine.release();
        threads.into_iter().for_each(|t| t.join().expect("no panic").expect("runs"));
    });
    assert_eq!(engine.loads("a"), 1);
}

#[test]
fn what_waits_is_run_as_one_batch_and_comes_apart_again() {
    let engine = ScriptedEngine::new();
    engine.set_max_batch("a", 8);
    let models = engine.models(config(), &["a"]);
    engine.next_runs("a", [Act::Hang]);
    assert_eq!(ask_while_busy(&engine, &models, &[1, 2, 1]), [true; 3]);
    assert_eq!(engine.batches("a"), [1, 4], "one, and the rest together");
    let status = models.status_by_name("a").expect("known");
    assert_eq!((status.batches, status.items), (2, 4));
}

#[test]
fn a_batch_is_no_larger_than_the_model_takes() {
    let engine = ScriptedEngine::new();
    engine.set_max_batch("a", 3);
    let models = engine.models(config(), &["a"]);
    engine.next_runs("a", [Act::Hang]);
    assert_eq!(ask_while_busy(&engine, &models, &[2, 2, 1]), [true; 3]);
    assert_eq!(engine.batches("a"), [1, 3, 2], "the third fits beside the first");
}

#[test]
fn without_batches_each_is_answered_as_soon_as_it_is_done() {
    let engine = ScriptedEngine::new();
    let models = engine.models(config(), &["a"]);
    engine.next_runs("a", [Act::Work, Act::Work, Act::Hang]);
    std::thread::scope(|scope| {
        let ask = |number| {
            let models = models.clone();
            move || double(&mut models.handle("a").expect("known"), number)
        };
        let mut threads: Vec<_> = [1.0, 2.0, 3.0].map(|n| scope.spawn(ask(n))).into();
        // Two are answered although the third does not return.
        wait_until("two are done", || threads.iter().filter(|t| t.is_finished()).count() == 2);
        wait_until("one hangs", || engine.hanging() == 1);
        engine.release();
        threads.drain(..).for_each(|t| t.join().expect("no panic").expect("runs"));
    });
    assert_eq!(engine.batches("a"), [1, 1, 1]);
}

#[test]
fn one_bad_item_spares_the_others_of_its_batch() {
    let engine = ScriptedEngine::new();
    engine.set_max_batch("a", 8);
    let models = engine.models(config(), &["a"]);
    // The batch fails, then the first item alone; the second one works.
    engine.next_runs("a", [Act::Hang, Act::Fail, Act::Fail, Act::Work]);
    assert_eq!(ask_while_busy(&engine, &models, &[1, 1]), [false, true]);
    assert_eq!(engine.batches("a"), [1, 2, 1, 1]);
}

#[test]
fn a_batch_that_is_too_large_for_memory_is_halved() {
    let engine = ScriptedEngine::new();
    engine.set_max_batch("a", 8);
    let models = engine.models(config(), &["a"]);
    engine.next_runs("a", [Act::Hang, Act::OutOfMemory]);
    assert_eq!(ask_while_busy(&engine, &models, &[1, 1, 1, 1]), [true; 4]);
    engine.next_runs("a", [Act::Hang]);
    assert_eq!(ask_while_busy(&engine, &models, &[1, 1, 1, 1]), [true; 4]);
    assert_eq!(engine.batches("a"), [1, 4, 1, 1, 1, 1, 1, 2, 2]);
}

#[test]
fn a_frame_past_its_deadline_is_not_run() {
    let engine = ScriptedEngine::new();
    let config = config();
    let clock = config.clock.clone();
    let models = engine.models(config, &["a"]);
    let mut handle = models.handle("a").expect("known");
    double(&mut handle, 1.0).expect("runs");
    let deadline = clock.now();
    clock.advance(std::time::Duration::from_millis(1));
    assert_eq!(handle.run(Some(deadline)), Err(ModelError::Expired));
    assert_eq!(models.status_by_name("a").expect("known").expired, 1);
    double(&mut handle, 2.0).expect("runs again");
    assert_eq!(engine.batches("a"), [1, 1]);
}
