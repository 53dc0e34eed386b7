//! Who leaves when memory gets tight, and what happens when it runs out.

use ooblex_models::engine::{DeviceKind, EngineError, UseGpu};
use ooblex_models::manager::{ModelError, ModelState, Models, ModelsConfig};
use ooblex_models::testing::{Act, FakeDevice, ScriptedEngine};

use crate::{config, config_with, double, wait_until};

/// Names of the models in memory.
fn loaded(models: &Models) -> Vec<String> {
    let there = |s: &ooblex_models::manager::ModelStatus| s.state == ModelState::Loaded;
    models.status().into_iter().filter(there).map(|s| s.name).collect()
}

fn with_memory(memory: u64) -> ModelsConfig {
    config_with(|c| c.memory = memory)
}

#[test]
fn the_one_whose_last_use_is_longest_ago_leaves_above_80_percent() {
    let engine = ScriptedEngine::new();
    let models = engine.models(with_memory(5000), &["a", "b", "c", "d", "e"]);
    for name in ["a", "b", "c", "d"] {
        models.load(name).expect("loads");
    }
    assert_eq!(loaded(&models), ["a", "b", "c", "d"], "4000 of 5000 bytes are 80 %");
    double(&mut models.handle("a").expect("known"), 1.0).expect("runs");
    models.load("e").expect("loads");
    assert_eq!(loaded(&models), ["a", "c", "d", "e"], "`b` was not used for longest");
    models.load("b").expect("is loaded again on demand");
    assert_eq!(loaded(&models), ["a", "b", "d", "e"]);
    assert_eq!(engine.loads("b"), 2);
}

#[test]
fn what_is_in_use_or_pinned_stays_and_so_does_the_requested_one() {
    let engine = ScriptedEngine::new();
    let models = engine.models(with_memory(3500), &["used", "pinned", "idle", "new"]);
    models.pin("pinned").expect("known");
    models.load_pinned();
    let mut used = models.handle("used").expect("known");
    double(&mut used, 1.0).expect("runs");
    models.load("new").expect("fits, above 80 %, with nobody to leave");
    assert_eq!(loaded(&models), ["new", "pinned", "used"], "the requested one least of all");
    models.load("idle").expect("fits once `new` has left");
    assert_eq!(loaded(&models), ["idle", "pinned", "used"]);
    double(&mut used, 2.0).expect("runs");
    assert_eq!((engine.loads("used"), engine.loads("pinned")), (1, 1), "these never left");
}

#[test]
fn what_does_not_fit_is_refused_with_what_uses_how_much() {
    let engine = ScriptedEngine::new();
    engine.set_bytes("used", 3 << 20);
    engine.set_bytes("new", 2 << 20);
    let models = engine.models(with_memory(4 << 20), &["used", "new"]);
    let mut used = models.handle("used").expect("known");
    double(&mut used, 1.0).expect("runs");
    let error = models.load("new").expect_err("too much");
    assert_eq!(
        error.to_string(),
        "model new: needs about 2 MB of CPU memory, of which 4 MB are allowed; in use: used 3 MB"
    );
    assert_eq!(loaded(&models), ["used"]);
    let status = models.status_by_name("new").expect("known");
    assert_eq!((status.state, status.memory_bytes), (ModelState::Failed, 0));
    drop(used);
    models.load("new").expect("nobody uses the other one any more");
    assert_eq!(loaded(&models), ["new"]);
}

#[test]
fn a_device_that_others_fill_also_makes_idle_models_leave() {
    let device = FakeDevice::new(10_000);
    let engine = ScriptedEngine::on(&device);
    let models = engine.models(config(), &["a", "b", "used"]);
    let mut used = models.handle("used").expect("known");
    double(&mut used, 1.0).expect("runs");
    models.load("a").expect("loads");
    models.load("b").expect("loads");
    assert_eq!(models.status_by_name("a").expect("known").accelerator.expect("loaded").ran, DeviceKind::Cuda);
    assert_eq!((device.free(), models.memory().device.used), (7000, 3000));
    models.tend();
    assert_eq!(loaded(&models), ["a", "b", "used"]);
    device.take(5500).expect("another program");
    models.tend();
    assert_eq!(loaded(&models), ["b", "used"], "8500 of 10000 were used: one is enough");
    device.take(1500).expect("another program");
    models.tend();
    assert_eq!(loaded(&models), ["used"]);
}

#[test]
fn the_limit_on_device_memory_holds_for_all_models_together() {
    let mut config = config();
    config.gpu.mem_limit = 2500;
    let engine = ScriptedEngine::on(&FakeDevice::new(1_000_000));
    let models = engine.models(config, &["a", "b", "c"]);
    let mut handles: Vec<_> = ["a", "b"].map(|name| models.handle(name).expect("known")).into();
    handles.iter_mut().for_each(|handle| double(handle, 1.0).expect("runs"));
    let error = models.load("c").expect_err("3000 of 2500");
    assert!(
        matches!(&error, ModelError::Memory { budget: "device memory", holders, .. } if holders.len() == 2)
    );
    assert_eq!(loaded(&models), ["a", "b"]);
    assert_eq!(models.memory().device.used, 2000, "what did not fit was put away again");
}

#[test]
fn loading_without_memory_is_tried_once_more_without_idle_models() {
    let device = FakeDevice::new(2500);
    let engine = ScriptedEngine::on(&device);
    let models = engine.models(config(), &["idle", "used", "new"]);
    let mut used = models.handle("used").expect("known");
    double(&mut used, 1.0).expect("runs");
    models.load("idle").expect("loads");
    device.take(300).expect("another program");
    models.load("new").expect("fits once the idle one has left");
    assert_eq!(loaded(&models), ["new", "used"]);
    assert_eq!(models.status_by_name("new").expect("known").degraded, None);
}

#[test]
fn a_model_that_never_fits_the_device_runs_on_the_cpu_if_that_is_allowed() {
    for (use_gpu, allowed) in [(UseGpu::Auto, true), (UseGpu::Required, false)] {
        let engine = ScriptedEngine::on(&FakeDevice::new(500));
        let models = engine.models(config_with(|c| c.use_gpu = use_gpu), &["a"]);
        let mut handle = models.handle("a").expect("known");
        match double(&mut handle, 1.0) {
            Ok(()) => {
                assert!(allowed);
                let status = models.status_by_name("a").expect("known");
                assert_eq!(status.accelerator.expect("loaded").ran, DeviceKind::Cpu);
                let problems: Vec<_> = models.problems().iter().map(ToString::to_string).collect();
                assert_eq!(
                    problems,
                    [
                        "model a: on the CPU because the device is out of memory: 1000 bytes asked for, 500 free"
                    ]
                );
            }
            Err(error) => {
                assert!(!allowed);
                assert!(matches!(error, ModelError::Engine { source: EngineError::OutOfMemory { .. }, .. }));
                assert_eq!(models.problems().len(), 1);
            }
        }
    }
}

#[test]
fn a_run_without_memory_is_repeated_once_without_idle_models() {
    let engine = ScriptedEngine::on(&FakeDevice::new(100_000));
    let models = engine.models(config(), &["a", "idle"]);
    models.load("idle").expect("loads");
    let mut handle = models.handle("a").expect("known");
    handle.load().expect("loads");
    engine.next_runs("a", [Act::OutOfMemory]);
    double(&mut handle, 3.0).expect("the second try works");
    assert_eq!(loaded(&models), ["a"]);
    assert!(models.problems().is_empty());
}

#[test]
fn a_model_whose_runs_do_not_fit_the_device_moves_to_the_cpu_for_everybody() {
    let device = FakeDevice::new(100_000);
    let engine = ScriptedEngine::on(&device);
    let models = engine.models(config(), &["a"]);
    let (mut one, mut other) = (models.handle("a").expect("known"), models.handle("a").expect("known"));
    double(&mut one, 1.0).expect("runs");
    double(&mut other, 1.0).expect("runs");
    engine.next_runs("a", [Act::OutOfMemory, Act::OutOfMemory]);
    double(&mut one, 2.0).expect("runs on the CPU");
    double(&mut other, 3.0).expect("there, too");
    let status = models.status_by_name("a").expect("known");
    assert_eq!((status.accelerator.expect("loaded").ran, engine.loads("a")), (DeviceKind::Cpu, 2));
    assert!(status.degraded.expect("a reason").contains("out of memory"));
    assert_eq!((device.free(), models.problems().len()), (100_000, 1));
    drop((one, other));
    assert!(models.problems().is_empty(), "nobody uses it");
    models.unload("a").expect("nobody uses it");
    models.load("a").expect("loads");
    let again = models.status_by_name("a").expect("known").accelerator.expect("loaded");
    assert_eq!(again.ran, DeviceKind::Cuda, "loaded anew, it may go to the device again");
}

#[test]
fn where_the_cpu_is_no_way_out_the_error_goes_to_the_processor() {
    for device in [Some(FakeDevice::new(100_000)), None] {
        let engine = device.as_ref().map_or_else(ScriptedEngine::new, ScriptedEngine::on);
        let use_gpu = if device.is_some() { UseGpu::Required } else { UseGpu::Auto };
        let models = engine.models(config_with(|c| c.use_gpu = use_gpu), &["a"]);
        let mut handle = models.handle("a").expect("known");
        handle.load().expect("loads");
        engine.next_runs("a", [Act::OutOfMemory, Act::OutOfMemory]);
        let error = double(&mut handle, 1.0).expect_err("no memory");
        assert!(matches!(error, ModelError::Engine { source: EngineError::OutOfMemory { .. }, .. }));
        double(&mut handle, 2.0).expect("the next frame may work");
        assert_eq!(engine.loads("a"), 1);
    }
}

#[test]
fn a_model_that_is_not_run_gives_memory_back() {
    let engine = ScriptedEngine::new();
    let models = engine.models(config_with(|c| c.rest_after = std::time::Duration::from_millis(5)), &["a"]);
    let mut handle = models.handle("a").expect("known");
    double(&mut handle, 1.0).expect("runs");
    wait_until("it rests", || engine.rests("a") == 1);
    double(&mut handle, 2.0).expect("runs again");
    wait_until("it rests again", || engine.rests("a") == 2);
}
