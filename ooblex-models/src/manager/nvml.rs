//! Memory of an NVIDIA GPU, by NVIDIA's management library, which is loaded at run time.

use std::ffi::OsStr;
use std::sync::Arc;

use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use super::room::{DeviceMemory, DeviceUse};

/// What the library is called where only the driver is installed, as in containers.
const LIBRARY: &str = "libnvidia-ml.so.1";

#[derive(Debug)]
struct NvidiaGpu {
    nvml: Nvml,
    name: Name,
}

/// How the library finds a device.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Index(u32),
    Uuid(String),
}

/// The device that CUDA calls number `device`, if there is one.
pub(super) fn open(device: u32) -> Option<Arc<dyn DeviceMemory>> {
    let by_version = || Nvml::builder().lib_path(OsStr::new(LIBRARY)).init();
    let nvml = match by_version().or_else(|_| Nvml::init()) {
        Ok(nvml) => nvml,
        Err(error) => {
            tracing::debug!(%error, "no NVIDIA GPU to ask for its memory");
            return None;
        }
    };
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    let gpu = NvidiaGpu { nvml, name: name_of(device, visible.as_deref())? };
    gpu.read()?;
    Some(Arc::new(gpu))
}

/// CUDA numbers the devices that `CUDA_VISIBLE_DEVICES` lists, in that order; this library numbers all of them. Without
/// the list both agree for GPUs of one kind (with several kinds CUDA puts the fastest first).
fn name_of(device: u32, visible: Option<&str>) -> Option<Name> {
    let Some(visible) = visible else { return Some(Name::Index(device)) };
    let text = visible.split(',').nth(device as usize)?.trim();
    match text.parse() {
        Ok(index) => Some(Name::Index(index)),
        Err(_) if text.starts_with("GPU-") || text.starts_with("MIG-") => Some(Name::Uuid(text.to_owned())),
        Err(_) => None,
    }
}

impl NvidiaGpu {
    fn device(&self) -> Result<Device<'_>, NvmlError> {
        match &self.name {
            Name::Index(index) => self.nvml.device_by_index(*index),
            Name::Uuid(uuid) => self.nvml.device_by_uuid(uuid.as_str()),
        }
    }
}

impl DeviceMemory for NvidiaGpu {
    fn read(&self) -> Option<DeviceUse> {
        let memory = self.device().and_then(|device| device.memory_info());
        memory.ok().map(|memory| DeviceUse { free: memory.free, total: memory.total })
    }

    fn name(&self) -> Option<String> {
        self.device().and_then(|device| device.name()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_numbered_as_cuda_does() {
        assert_eq!(name_of(1, None), Some(Name::Index(1)));
        assert_eq!(name_of(0, Some("3, 1")), Some(Name::Index(3)));
        assert_eq!(name_of(1, Some("3, 1")), Some(Name::Index(1)));
        assert_eq!(name_of(0, Some("GPU-8f6a")), Some(Name::Uuid("GPU-8f6a".into())));
        for hidden in ["", "-1", "3"] {
            assert_eq!(name_of(1, Some(hidden)), None, "{hidden:?}");
        }
    }

    #[test]
    fn a_machine_without_a_gpu_is_no_error() {
        // Where there is one, it tells something sensible.
        if let Some(gpu) = open(0) {
            let memory = gpu.read().expect("it told once");
            assert!(memory.free <= memory.total && memory.total > 0, "{memory:?}");
        }
    }
}
