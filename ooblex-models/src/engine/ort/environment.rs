//! The one thing of ONNX Runtime that a process has once: its environment, and with it the library.
//!
//! The `ort` crate keeps library and environment in statics and refuses a second of either, even after the first is
//! gone. So this static is forced on us, and nothing else in the engines is global. Whoever opens the engine again
//! gets the same environment; with another library that is an error which says so.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

static MADE: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

thread_local! {
    /// Errors that were logged on this thread since [`with_errors`] began.
    static ERRORS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// The environment of the library at `path`.
///
/// # Errors
/// The library cannot be loaded, or the process uses another one already.
pub(super) fn of(path: &Path) -> Result<Environment, String> {
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    match &*made {
        Some((other, environment)) if other == path => Ok(environment.clone()),
        Some((other, _)) => {
            Err(format!("this process uses {} already; it cannot change to another", other.display()))
        }
        None => {
            let builder = ort::init_from(path).map_err(|e| e.to_string())?;
            let builder = builder.with_name("ooblex").with_telemetry(false).with_logger(Arc::new(log));
            let environment = builder.build().map_err(|e| e.to_string())?;
            // Below that it explains every decision about every node.
            environment.set_log_level(LogLevel::Warning);
            *made = Some((path.to_path_buf(), environment.clone()));
            Ok(environment)
        }
    }
}

/// Whatever it has to say is for people who look into a problem, so all of it is logged as `debug`; what matters to
/// others comes back as an error or in the report of the accelerator.
fn log(level: LogLevel, _category: &str, _id: &str, place: &str, message: &str) {
    tracing::debug!(target: "onnxruntime", ?level, place, "{}", message.trim_end());
    if level >= LogLevel::Error {
        ERRORS.with_borrow_mut(|errors| errors.iter_mut().for_each(|errors| errors.push(message.to_owned())));
    }
}

/// Runs `work`, and gives with its result the errors that the library logged meanwhile on this thread. Why a provider
/// could not be loaded is said there alone.
#[cfg(any(feature = "onnx-cuda", test))]
pub(super) fn with_errors<T>(work: impl FnOnce() -> T) -> (T, Vec<String>) {
    ERRORS.set(Some(Vec::new()));
    let result = work();
    (result, ERRORS.take().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_collected_while_asked_for_and_on_this_thread_alone() {
        log(LogLevel::Error, "", "", "", "before");
        let (value, errors) = with_errors(|| {
            log(LogLevel::Warning, "", "", "", "a warning");
            log(LogLevel::Error, "", "", "", "an error");
            std::thread::spawn(|| log(LogLevel::Error, "", "", "", "elsewhere")).join().expect("ends");
            7
        });
        log(LogLevel::Error, "", "", "", "after");
        assert_eq!((value, errors), (7, vec!["an error".to_owned()]));
        assert_eq!(with_errors(|| ()).1, Vec::<String>::new());
    }
}
