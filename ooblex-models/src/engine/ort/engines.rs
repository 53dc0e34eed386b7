//! Where TensorRT keeps the engines that it builds, which takes it minutes.
//!
//! ONNX Runtime names them by ONNX Runtime's, CUDA's and TensorRT's versions, the kind of GPU and the names within the
//! model, but by nothing that changes with the weights alone. So every file of weights has a folder of its own.

use std::path::{Path, PathBuf};

use crate::manager::sha256;

/// Digits of the weights' SHA-256 in a folder's name.
const DIGITS: usize = 16;

/// The folder for the engines of these weights, which is made if there is none; `None` if it cannot be.
pub(super) fn folder(cache: &Path, version: &str, weights: &[u8]) -> Option<PathBuf> {
    let folder = path(cache, version, weights);
    match std::fs::create_dir_all(&folder) {
        Ok(()) => Some(folder),
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "engines of TensorRT are not kept");
            None
        }
    }
}

fn path(cache: &Path, version: &str, weights: &[u8]) -> PathBuf {
    cache.join(format!("onnxruntime-{version}")).join(&sha256(weights)[..DIGITS])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_weights_never_share_engines() {
        let cache = tempfile::tempdir().expect("a folder");
        let first = folder(cache.path(), "1.26.0", b"weights").expect("made");
        assert!(first.is_dir());
        assert_eq!(Some(&first), folder(cache.path(), "1.26.0", b"weights").as_ref());
        assert_ne!(first, path(cache.path(), "1.27.0", b"weights"));
        assert_ne!(first, path(cache.path(), "1.26.0", b"weights of the next version"));
        let file = first.join("file");
        std::fs::write(&file, "").expect("written");
        assert_eq!(folder(&file, "1.26.0", b"weights"), None, "a file is no folder");
    }
}
