//! Where the tests' ONNX Runtime is.

use std::path::{Path, PathBuf};

/// ONNX Runtime of the tests' Python environment.
pub(crate) fn onnxruntime() -> Option<PathBuf> {
    let environments = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|above| above.join(".venv/lib"));
    let pythons = environments.filter_map(|lib| std::fs::read_dir(lib).ok()).flatten().flatten();
    let folders = pythons.map(|python| python.path().join("site-packages/onnxruntime/capi"));
    let files = folders.filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let library = |path: &PathBuf| path.to_string_lossy().contains("/libonnxruntime.so");
    files.map(|file| file.path()).find(library)
}
