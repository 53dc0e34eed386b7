//! Where models run, and what is said about it.

use std::fmt;
use std::str::FromStr;

use super::EngineError;

/// Whether an accelerator is to be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UseGpu {
    /// If a probe inference runs on one.
    #[default]
    Auto,
    /// Never.
    Off,
    /// Loading fails without one.
    Required,
}

impl UseGpu {
    /// `auto`, `off` or `required`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Off => "off",
            Self::Required => "required",
        }
    }
}

impl fmt::Display for UseGpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for UseGpu {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" | "true" => Ok(Self::Auto),
            "off" | "false" => Ok(Self::Off),
            "required" => Ok(Self::Required),
            _ => Err(format!("{text:?} is none of auto, off, required")),
        }
    }
}

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceKind {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU by CUDA.
    Cuda,
    /// An NVIDIA GPU by TensorRT.
    TensorRt,
}

impl DeviceKind {
    /// `cpu`, `cuda` or `tensorrt`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was asked for, what really ran, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accelerator {
    /// What was asked for.
    pub requested: UseGpu,
    /// What a probe inference ran on.
    pub ran: DeviceKind,
    /// Why that: where an accelerator was wanted and did not run, what is missing, by name.
    pub reason: String,
}

impl Accelerator {
    /// A model that runs on the CPU.
    pub fn cpu(requested: UseGpu, reason: impl Into<String>) -> Self {
        Self { requested, ran: DeviceKind::Cpu, reason: reason.into() }
    }

    /// A model that ran on an accelerator.
    pub fn on(requested: UseGpu, ran: DeviceKind, reason: impl Into<String>) -> Self {
        Self { requested, ran, reason: reason.into() }
    }
}

/// A model on an accelerator, after a probe inference.
#[derive(Debug)]
pub(super) struct Probed<S> {
    /// The model.
    pub(super) session: S,
    /// What the probe found to have run it.
    pub(super) ran: DeviceKind,
    /// How that was found out, or what it ran instead.
    pub(super) reason: String,
}

/// Decides where a model runs: tries the accelerator unless it is switched off, believes nothing but the probe, and
/// falls back to the CPU, with the reason, unless an accelerator is required.
///
/// # Errors
/// [`EngineError::NoAccelerator`] if one is required and did not run; [`EngineError::OutOfMemory`] of the accelerator,
/// which the caller can do something about; and whatever `on_cpu` says.
pub(super) fn decide<S>(
    requested: UseGpu,
    accelerated: impl FnOnce() -> Result<Probed<S>, EngineError>,
    on_cpu: impl FnOnce() -> Result<S, EngineError>,
) -> Result<(S, Accelerator), EngineError> {
    if requested == UseGpu::Off {
        return Ok((on_cpu()?, Accelerator::cpu(requested, "switched off")));
    }
    let reason = match accelerated() {
        Ok(Probed { session, ran, reason }) if ran != DeviceKind::Cpu => {
            return Ok((session, Accelerator::on(requested, ran, reason)));
        }
        // Dropped: on the CPU alone it would hold device memory for nothing.
        Ok(Probed { reason, .. }) | Err(EngineError::NoAccelerator { reason }) => reason,
        Err(error @ EngineError::OutOfMemory { .. }) => return Err(error),
        Err(error) => error.to_string(),
    };
    if requested == UseGpu::Required {
        return Err(EngineError::NoAccelerator { reason });
    }
    Ok((on_cpu()?, Accelerator::cpu(requested, reason)))
}

/// What an accelerator may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GpuOptions {
    /// Number of the device.
    pub device: u32,
    /// Most device memory of one model's arena, in bytes.
    pub mem_limit: u64,
}

impl Default for GpuOptions {
    /// The first device, 4096 MB.
    fn default() -> Self {
        Self { device: 0, mem_limit: 4096 << 20 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probed(ran: DeviceKind) -> Result<Probed<&'static str>, EngineError> {
        Ok(Probed { session: "accelerated", ran, reason: format!("found {ran}") })
    }

    fn run(
        requested: UseGpu,
        accelerated: Result<Probed<&'static str>, EngineError>,
    ) -> Result<(&'static str, Accelerator), EngineError> {
        decide(requested, || accelerated, || Ok("plain"))
    }

    #[test]
    fn the_probe_alone_decides() {
        for ran in [DeviceKind::Cuda, DeviceKind::TensorRt] {
            for requested in [UseGpu::Auto, UseGpu::Required] {
                let (session, accelerator) = run(requested, probed(ran)).expect("loads");
                assert_eq!(
                    (session, accelerator.ran, accelerator.requested),
                    ("accelerated", ran, requested)
                );
            }
        }
        // It loaded, it ran, but on the CPU: that is no accelerator.
        let (session, accelerator) = run(UseGpu::Auto, probed(DeviceKind::Cpu)).expect("loads");
        assert_eq!((session, accelerator), ("plain", Accelerator::cpu(UseGpu::Auto, "found cpu")));
        let error = run(UseGpu::Required, probed(DeviceKind::Cpu)).expect_err("none");
        assert_eq!(error, EngineError::NoAccelerator { reason: "found cpu".into() });
    }

    #[test]
    fn a_missing_accelerator_is_told_and_refused_where_it_is_required() {
        let missing = || Err(EngineError::NoAccelerator { reason: "libcublasLt.so.12 was not found".into() });
        let (session, accelerator) = run(UseGpu::Auto, missing()).expect("loads");
        assert_eq!((session, accelerator.ran), ("plain", DeviceKind::Cpu));
        assert_eq!(accelerator.reason, "libcublasLt.so.12 was not found");
        let error = run(UseGpu::Required, missing()).expect_err("none");
        assert_eq!(error.to_string(), "an accelerator is required, but libcublasLt.so.12 was not found");
        let failed = || Err(EngineError::Run { reason: "CUDA failure 700".into() });
        assert!(matches!(run(UseGpu::Required, failed()), Err(EngineError::NoAccelerator { .. })));
        assert!(run(UseGpu::Auto, failed()).expect("loads").1.reason.contains("CUDA failure 700"));
    }

    #[test]
    fn a_full_device_is_not_hidden_behind_the_cpu() {
        let full = || Err(EngineError::OutOfMemory { reason: "CUDA failure 2".into() });
        for requested in [UseGpu::Auto, UseGpu::Required] {
            assert!(matches!(run(requested, full()), Err(EngineError::OutOfMemory { .. })));
        }
    }

    #[test]
    fn switched_off_means_not_even_tried() {
        let tried = || -> Result<Probed<&str>, EngineError> { panic!("tried") };
        let (session, accelerator) = decide(UseGpu::Off, tried, || Ok("plain")).expect("loads");
        assert_eq!((session, accelerator), ("plain", Accelerator::cpu(UseGpu::Off, "switched off")));
    }
}
