//! Where models run, and what is said about it.

use std::fmt;
use std::str::FromStr;

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
