//! One answer to what runs the models, out of what was seen of each.

use super::Models;
use crate::engine::{Accelerator, DeviceKind, EngineKind, UseGpu};

/// What runs the models: only what a probe inference of a loaded model has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcceleratorReport {
    /// What was asked for.
    pub requested: UseGpu,
    /// What the models that are in memory ran on; where they differ, the accelerator. The CPU as long as none has run.
    pub ran: DeviceKind,
    /// The engine that runs them, once there is one.
    pub engine: Option<EngineKind>,
    /// Version of the engine's library.
    pub version: Option<String>,
    /// Why that device and that engine: where an accelerator was wanted and did not run, what is missing.
    pub reason: String,
    /// Name of the GPU, if it ran.
    pub gpu_name: Option<String>,
}

impl Models {
    /// What runs the models. Loads nothing and opens no library.
    pub fn accelerator(&self) -> AcceleratorReport {
        let seen: Vec<_> = self
            .named()
            .iter()
            .filter_map(|entry| {
                let loaded = entry.state().loaded.clone()?;
                Some((entry.name.to_string(), loaded.accelerator().clone()))
            })
            .collect();
        let (requested, choice) = if self.is_in_use() {
            (self.config().use_gpu, self.0.engine.get().cloned())
        } else {
            (UseGpu::default(), None)
        };
        let (engine, version, why_engine) = match choice {
            Some(Ok(choice)) => {
                let report = choice.report;
                let why = format!("{} {} ({})", report.kind, report.version, report.reason);
                (Some(report.kind), Some(report.version), why)
            }
            Some(Err(error)) => (None, None, error.to_string()),
            None => (None, None, String::new()),
        };
        let (ran, why_device) = summary(requested, &seen);
        let gpu = (ran != DeviceKind::Cpu).then(|| self.device_memory()).flatten();
        let gpu_name = gpu.and_then(|gpu| gpu.name());
        let reason = if why_engine.is_empty() { why_device } else { format!("{why_device}; {why_engine}") };
        AcceleratorReport { requested, ran, engine, version, reason, gpu_name }
    }
}

/// The device to name, and why, out of what each model ran on.
fn summary(requested: UseGpu, seen: &[(String, Accelerator)]) -> (DeviceKind, String) {
    let accelerated: Vec<_> = seen.iter().filter(|(_, a)| a.ran != DeviceKind::Cpu).collect();
    let on_cpu: Vec<_> = seen.iter().filter(|(_, a)| a.ran == DeviceKind::Cpu).collect();
    match (accelerated.first(), on_cpu.first()) {
        (None, None) if requested == UseGpu::Off => (DeviceKind::Cpu, "switched off".into()),
        (None, None) => (DeviceKind::Cpu, "no model has run yet".into()),
        (None, Some((_, cpu))) => (DeviceKind::Cpu, cpu.reason.clone()),
        (Some((_, gpu)), None) => (gpu.ran, gpu.reason.clone()),
        (Some((_, gpu)), Some((model, cpu))) => {
            let others =
                if on_cpu.len() > 1 { format!(" and {} more", on_cpu.len() - 1) } else { String::new() };
            (gpu.ran, format!("{}; {model}{others} on the CPU: {}", gpu.reason, cpu.reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(model: &str, reason: &str) -> (String, Accelerator) {
        (model.into(), Accelerator::cpu(UseGpu::Auto, reason))
    }

    fn cuda(model: &str) -> (String, Accelerator) {
        (model.into(), Accelerator::on(UseGpu::Auto, DeviceKind::Cuda, "the probe ran there"))
    }

    #[test]
    fn only_what_ran_is_reported() {
        let auto = |seen: &[_]| summary(UseGpu::Auto, seen);
        assert_eq!(auto(&[]), (DeviceKind::Cpu, "no model has run yet".into()));
        assert_eq!(summary(UseGpu::Off, &[]), (DeviceKind::Cpu, "switched off".into()));
        assert_eq!(auto(&[cpu("a", "no libcublas")]), (DeviceKind::Cpu, "no libcublas".into()));
        assert_eq!(auto(&[cuda("a")]), (DeviceKind::Cuda, "the probe ran there".into()));
        let mixed = auto(&[cpu("a", "out of memory"), cuda("b"), cpu("c", "odd")]);
        assert_eq!(
            mixed,
            (DeviceKind::Cuda, "the probe ran there; a and 1 more on the CPU: out of memory".into())
        );
    }

    #[test]
    fn nothing_is_opened_for_a_report() {
        let models = Models::default();
        let report = models.accelerator();
        assert_eq!((report.ran, report.engine, report.gpu_name), (DeviceKind::Cpu, None, None));
        models.configure(super::super::ModelsConfig::default()).expect("still to be configured");
    }

    #[cfg(feature = "rten")]
    #[test]
    fn the_engine_that_ran_is_named() {
        let config = super::super::ModelsConfig { engine: Some(EngineKind::Rten), ..Default::default() };
        let models = Models::new(config);
        models.load(super::super::BLAZEFACE).expect("loads");
        let report = models.accelerator();
        assert_eq!((report.engine, report.ran), (Some(EngineKind::Rten), DeviceKind::Cpu));
        assert!(report.reason.starts_with("rten runs on the CPU alone; rten "), "{}", report.reason);
    }
}
