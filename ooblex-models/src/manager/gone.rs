//! Waiting until a thread has let go of what it owned.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Whether what a thread owned has been dropped. Clones tell the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Gone(Arc<(Mutex<bool>, Condvar)>);

/// Kept beside what is owned, and dropped after it.
#[derive(Debug)]
pub(super) struct Tenant(Gone);

impl Gone {
    /// What the thread keeps.
    pub(super) fn tenant(&self) -> Tenant {
        Tenant(self.clone())
    }

    /// Waits for at most `limit`; whether it has been dropped.
    pub(super) fn wait(&self, limit: Duration) -> bool {
        let (gone, changed) = &*self.0;
        let gone = gone.lock().unwrap_or_else(PoisonError::into_inner);
        *changed.wait_timeout_while(gone, limit, |gone| !*gone).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Whether it has been dropped.
    pub(super) fn is_gone(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        let (gone, changed) = &*self.0.0;
        *gone.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }
}
