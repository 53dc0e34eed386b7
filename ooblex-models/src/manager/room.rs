//! Room in memory: what models may use, what they use, and who leaves when it gets tight.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::entry::{Entry, Stuck};
use super::error::ModelError;
use super::runner::Loaded;
use super::{Models, lock};
use crate::engine::UseGpu;

/// Above this many percent of a budget idle models leave.
const TIGHT_PERCENT: u128 = 80;
/// How long a thread may take to let go of a model.
pub(super) const LET_GO: Duration = Duration::from_secs(2);

/// Tells how much memory a device has.
pub trait DeviceMemory: fmt::Debug + Send + Sync + 'static {
    /// Its memory now; `None` if that cannot be told.
    fn read(&self) -> Option<DeviceUse>;

    /// What the device is called, if that is known.
    fn name(&self) -> Option<String> {
        None
    }
}

/// Memory of a device, whoever uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceUse {
    /// Bytes that nobody uses.
    pub free: u64,
    /// All bytes.
    pub total: u64,
}

/// A budget, and how much of it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Budget {
    /// Bytes that may be used.
    pub allowed: u64,
    /// Bytes that are used.
    pub used: u64,
}

impl Budget {
    /// Whether idle models have to leave before `more` bytes come.
    fn is_tight(self, more: u64) -> bool {
        100 * (u128::from(self.used) + u128::from(more)) > TIGHT_PERCENT * u128::from(self.allowed)
    }

    /// Whether `more` bytes do not fit.
    fn is_over(self, more: u64) -> bool {
        self.used.saturating_add(more) > self.allowed
    }
}

/// Memory that models use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// Models on the CPU.
    pub cpu: Budget,
    /// Models on the device.
    pub device: Budget,
    /// The whole device, whoever uses it, if it tells.
    pub whole_device: Option<DeviceUse>,
}

impl Memory {
    fn is_tight(&self, on_device: bool, more: u64) -> bool {
        if !on_device {
            return self.cpu.is_tight(more);
        }
        let whole =
            self.whole_device.map(|d| Budget { allowed: d.total, used: d.total.saturating_sub(d.free) });
        self.device.is_tight(more) || whole.is_some_and(|whole| whole.is_tight(more))
    }

    fn budget(&self, on_device: bool) -> Budget {
        if on_device { self.device } else { self.cpu }
    }
}

/// Bytes on the CPU that a model which is being loaded will need.
pub(super) struct Reservation<'a>(&'a Models, u64);

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        *lock(&self.0.0.reserved) -= self.1;
    }
}

impl Models {
    /// Memory that models use, and may use.
    pub fn memory(&self) -> Memory {
        self.memory_beside(*lock(&self.0.reserved))
    }

    fn memory_beside(&self, reserved: u64) -> Memory {
        let config = self.config();
        let (mut cpu, mut device) = (reserved, 0);
        for entry in self.entries() {
            let state = entry.state();
            cpu += state.holds(false);
            device += state.holds(true);
        }
        Memory {
            cpu: Budget { allowed: config.memory, used: cpu },
            device: Budget { allowed: config.gpu.mem_limit, used: device },
            whole_device: self.device_memory().and_then(|device| device.read()),
        }
    }

    /// Makes room for a model that will need about `bytes`.
    ///
    /// # Errors
    /// [`ModelError::Memory`] if it is certain to run on the CPU and does not fit even without the idle models. Where it
    /// may run on a device, only loading tells; see [`settle`](Self::settle).
    pub(super) fn make_room(
        &self,
        entry: &Entry,
        bytes: u64,
        use_gpu: UseGpu,
    ) -> Result<Reservation<'_>, ModelError> {
        let on_cpu = use_gpu == UseGpu::Off || self.device_memory().is_none();
        // One at a time: two who look at once would both take the same room.
        let mut reserved = lock(&self.0.reserved);
        self.relieve(entry, false, bytes, *reserved);
        let memory = self.memory_beside(*reserved);
        if on_cpu && memory.cpu.is_over(bytes) {
            return Err(self.does_not_fit(entry, bytes, memory.cpu, false));
        }
        if !on_cpu {
            self.relieve(entry, true, bytes, *reserved);
        }
        *reserved += bytes;
        Ok(Reservation(self, bytes))
    }

    /// Looks once more when a model is in memory and it is known what it takes.
    ///
    /// # Errors
    /// [`ModelError::Memory`] if that is too much even without the idle models. The model is to be put away then.
    pub(super) fn settle(&self, entry: &Entry, loaded: &Loaded) -> Result<(), ModelError> {
        let on_device = loaded.is_on_device();
        let reserved = lock(&self.0.reserved);
        self.relieve(entry, on_device, 0, *reserved);
        let budget = self.memory_beside(*reserved).budget(on_device);
        if !budget.is_over(0) {
            return Ok(());
        }
        Err(self.does_not_fit(entry, loaded.memory_bytes(), budget, on_device))
    }

    fn does_not_fit(&self, entry: &Entry, needs: u64, budget: Budget, on_device: bool) -> ModelError {
        let others = self.entries().into_iter().filter(|other| !std::ptr::eq(entry, &**other));
        let holding = |other: Arc<Entry>| (other.name.to_string(), other.state().holds(on_device));
        let mut holders: Vec<_> = others.map(holding).filter(|(_, bytes)| *bytes > 0).collect();
        holders.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        ModelError::Memory {
            model: entry.name.to_string(),
            needs,
            budget: if on_device { "device memory" } else { "CPU memory" },
            allowed: budget.allowed,
            holders,
        }
    }

    /// Puts idle models away, the one first whose last use is longest ago, while memory is tight. `except` stays.
    fn relieve(&self, except: &Entry, on_device: bool, more: u64, reserved: u64) {
        while self.memory_beside(reserved).is_tight(on_device, more)
            && self.evict(Some(except), Some(on_device))
        {}
    }

    /// Puts away the idle model whose last use is longest ago; `false` if there is none.
    fn evict(&self, except: Option<&Entry>, on_device: Option<bool>) -> bool {
        let mut idle: Vec<_> = self.entries();
        idle.retain(|entry| {
            let state = entry.state();
            let is_there = |l: &Arc<Loaded>| on_device.is_none_or(|device| l.is_on_device() == device);
            let other = except.is_none_or(|except| !std::ptr::eq(except, &**entry));
            other && entry.is_idle(&state) && state.loaded.as_ref().is_some_and(is_there)
        });
        idle.sort_by_key(|entry| entry.last_use());
        idle.iter().any(|entry| self.retire_if_idle(entry, "put away to make room"))
    }

    /// Puts away every idle model but this one; whether there was any.
    pub(super) fn evict_all(&self, except: &Entry) -> bool {
        let mut any = false;
        while self.evict(Some(except), None) {
            any = true;
        }
        any
    }

    /// Puts idle models away while memory is tight, for example because other programs need more of the device.
    /// Called now and then by the owner.
    pub fn tend(&self) {
        if !self.is_in_use() {
            return;
        }
        let reserved = *lock(&self.0.reserved);
        for on_device in [false, true] {
            while self.memory_beside(reserved).is_tight(on_device, 0) && self.evict(None, Some(on_device)) {}
        }
    }

    /// Puts a model away unless it has found a user meanwhile; whether it did so.
    fn retire_if_idle(&self, entry: &Entry, reason: &str) -> bool {
        let loaded = {
            let mut state = entry.state();
            if entry.is_idle(&state) { state.take() } else { None }
        };
        loaded.is_some_and(|loaded| {
            retire(entry, &loaded, reason);
            true
        })
    }
}

/// Ends the thread of a model that its entry has forgotten, and waits until its memory is free.
pub(super) fn retire(entry: &Entry, loaded: &Loaded, reason: &str) {
    loaded.end(reason);
    tracing::info!(model = %entry.name, reason, "model unloaded");
    if !loaded.gone().wait(LET_GO) {
        tracing::warn!(model = %entry.name, "its thread does not end");
        watch(entry, loaded);
    }
}

/// Keeps count of what a thread that was given up still holds.
pub(super) fn watch(entry: &Entry, loaded: &Loaded) {
    let (bytes, on_device) = (loaded.memory_bytes(), loaded.is_on_device());
    entry.state().watch(Stuck { gone: loaded.gone().clone(), bytes, on_device });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tight_is_above_80_percent() {
        let budget = |used| Budget { allowed: 1000, used };
        assert!(!budget(800).is_tight(0) && !budget(500).is_tight(300));
        assert!(budget(801).is_tight(0) && budget(500).is_tight(301) && budget(0).is_tight(u64::MAX));
        assert!(!budget(800).is_over(200) && budget(800).is_over(201));
    }

    #[test]
    fn a_device_is_also_tight_when_others_fill_it() {
        let memory = |free| Memory {
            cpu: Budget { allowed: 100, used: 100 },
            device: Budget { allowed: 4000, used: 100 },
            whole_device: Some(DeviceUse { free, total: 1000 }),
        };
        assert!(memory(100).is_tight(true, 0) && !memory(900).is_tight(true, 0));
        assert!(memory(900).is_tight(true, 800), "with what is to come");
        assert!(memory(900).is_tight(false, 0), "the CPU's own budget");
    }
}
