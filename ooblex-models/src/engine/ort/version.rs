//! Asks a library whether it is ONNX Runtime, and which one, before anything else is done with it.
#![allow(unsafe_code)] // Loading a library, and three calls into it.

use std::error::Error;
use std::ffi::CStr;
use std::path::Path;

use ort::sys::OrtApiBase;

/// The version of the library at `path`, such as `1.32.0`. A library that can be used stays loaded.
///
/// # Errors
/// A sentence about the library: it cannot be loaded, is another one, or too old.
pub(super) fn of(path: &Path) -> Result<String, String> {
    // SAFETY: loading runs the library's initialisers. The user named it, or it lies where ONNX Runtime's library does
    // under that library's name, so it is trusted as much as the program's other libraries.
    let library = unsafe { libloading::Library::new(path) }
        .map_err(|e| format!("is no library that can be loaded: {}", cause(&e)))?;
    // SAFETY: ONNX Runtime has declared this function so ever since 1.0 (onnxruntime_c_api.h); no other library is known
    // to export the name.
    let base = unsafe { library.get::<unsafe extern "C" fn() -> *const OrtApiBase>(b"OrtGetApiBase\0") }
        .map_err(|_| "is not ONNX Runtime: it lacks OrtGetApiBase")?;
    // SAFETY: the function takes nothing and gives null or a table that lives as long as the library.
    let base = unsafe { base().as_ref() }.ok_or("is not ONNX Runtime: OrtGetApiBase gives nothing")?;
    // SAFETY: the table's second entry, a function without arguments.
    let text = unsafe { (base.GetVersionString)() };
    if text.is_null() {
        return Err("does not tell its version".into());
    }
    // SAFETY: a string constant of the library, ended by zero.
    let version = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    recent_enough(&version)?;
    // SAFETY: the table's first entry; it gives null for a version of the interface that the library lacks.
    if unsafe { (base.GetApi)(ort::MINOR_VERSION) }.is_null() {
        return Err(format!(
            "is ONNX Runtime {version}, which lacks version {} of its interface",
            ort::MINOR_VERSION
        ));
    }
    // Loading it takes longer than everything else here, and it is about to be loaded again.
    std::mem::forget(library);
    Ok(version)
}

/// What the dynamic linker said.
fn cause(error: &libloading::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// Interfaces are numbered like minor versions, and every version keeps the earlier ones.
fn recent_enough(version: &str) -> Result<(), String> {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(1), Some(minor)) if minor >= ort::MINOR_VERSION => Ok(()),
        (Some(1), Some(_)) => Err(format!(
            "is ONNX Runtime {version}, which is too old; 1.{} or newer is needed",
            ort::MINOR_VERSION
        )),
        _ => Err(format!(
            "has the unknown version {version:?}; ONNX Runtime 1.{} or newer is needed",
            ort::MINOR_VERSION
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        for good in ["1.17.0", "1.32.0", "1.100.1"] {
            assert_eq!(recent_enough(good), Ok(()), "{good}");
        }
        for bad in ["1.16.3", "1.9.0", "0.5.0", "2.0.0", "", "1", "newest"] {
            assert!(recent_enough(bad).is_err(), "{bad}");
        }
    }

    /// Builds libraries that claim to be ONNX Runtime.
    #[test]
    fn other_libraries_and_old_ones_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let base = |version: &str, table: &str| {
            format!(
                "struct base {{ void *(*api)(unsigned); const char *(*version)(void); }};
                 static void *api(unsigned number) {{ return 0; }}
                 static const char *version(void) {{ return {version}; }}
                 static const struct base table = {{ api, version }};
                 const struct base *OrtGetApiBase(void) {{ return {table}; }}"
            )
        };
        for (name, source, expected) in [
            ("other", "int something_else;".to_owned(), "is not ONNX Runtime: it lacks OrtGetApiBase"),
            ("empty", base("0", "0"), "is not ONNX Runtime: OrtGetApiBase gives nothing"),
            ("silent", base("0", "&table"), "does not tell its version"),
            (
                "old",
                base("\"1.9.1\"", "&table"),
                "is ONNX Runtime 1.9.1, which is too old; 1.17 or newer is needed",
            ),
            (
                "hollow",
                base("\"1.40.0\"", "&table"),
                "is ONNX Runtime 1.40.0, which lacks version 17 of its interface",
            ),
        ] {
            let (code, library) =
                (folder.path().join(format!("{name}.c")), folder.path().join(format!("{name}.so")));
            std::fs::write(&code, source).expect("written");
            let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&code).status();
            assert!(built.expect("a C compiler").success(), "{name}");
            assert_eq!(of(&library), Err(expected.to_owned()), "{name}");
        }
        let error = of(&folder.path().join("old.c")).expect_err("no library");
        assert!(
            error.starts_with("is no library that can be loaded: ") && error.contains("old.c"),
            "{error}"
        );
    }
}
