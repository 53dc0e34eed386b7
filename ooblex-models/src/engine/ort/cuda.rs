//! CUDA and TensorRT: their libraries, and the options that they are used with.

use std::path::{Path, PathBuf};

use ort::ep::{self, ArenaExtendStrategy, ExecutionProviderDispatch};

use super::elf;
use crate::engine::GpuOptions;

/// Providers to try, the fastest first, each with its name; `engines` is where TensorRT keeps what it builds.
#[cfg_attr(not(feature = "onnx-tensorrt"), allow(unused_variables))]
pub(super) fn attempts(
    options: GpuOptions,
    engines: impl FnOnce() -> Option<PathBuf>,
) -> Vec<(&'static str, Vec<ExecutionProviderDispatch>)> {
    vec![
        // What TensorRT does not take it hands to CUDA.
        #[cfg(feature = "onnx-tensorrt")]
        ("TensorRT", vec![tensorrt(options, engines()), cuda(options)]),
        ("CUDA", vec![cuda(options)]),
    ]
}

/// What they are told, for the report.
pub(super) fn describe(options: GpuOptions) -> String {
    let megabytes = options.mem_limit >> 20;
    format!(
        "device {}, an arena of at most {megabytes} MB that grows as requested and shrinks at rest, heuristic \
         convolution search",
        options.device
    )
}

/// Memory grows by what is asked for, so that the limit means something; algorithms are chosen by cuDNN's heuristics,
/// since trying them all takes seconds for every new size of picture.
fn cuda(options: GpuOptions) -> ExecutionProviderDispatch {
    ep::CUDA::default()
        .with_device_id(options.device.try_into().unwrap_or(i32::MAX))
        .with_memory_limit(limit(options))
        .with_arena_extend_strategy(ArenaExtendStrategy::SameAsRequested)
        .with_conv_algorithm_search(ep::cuda::ConvAlgorithmSearch::Heuristic)
        .build()
        .error_on_failure()
}

#[cfg(feature = "onnx-tensorrt")]
fn tensorrt(options: GpuOptions, engines: Option<PathBuf>) -> ExecutionProviderDispatch {
    let provider = ep::TensorRT::default()
        .with_device_id(options.device.try_into().unwrap_or(i32::MAX))
        .with_max_workspace_size(limit(options));
    let provider = match engines {
        None => provider,
        Some(folder) => provider
            .with_engine_cache(true)
            .with_engine_cache_path(folder.display())
            .with_timing_cache(true)
            .with_timing_cache_path(folder.display()),
    };
    provider.build().error_on_failure()
}

fn limit(options: GpuOptions) -> usize {
    usize::try_from(options.mem_limit).unwrap_or(usize::MAX)
}

/// Loads the CUDA libraries that came with the Python environment in which ONNX Runtime's `library` lies, those that its
/// provider needs and no others; the dynamic linker would not look there. Gives CUDA's major number, which the provider
/// was built for: 12 up to ONNX Runtime 1.26 of PyPI, 13 from 1.27 on.
pub(super) fn preload(library: &Path) -> Option<u32> {
    let needed = elf::needed(&library.with_file_name("libonnxruntime_providers_cuda.so"));
    let major = major(&needed)?;
    let folders = library.ancestors().nth(3).map(nvidia_folders).unwrap_or_default();
    for name in needed.into_iter().filter(|name| name.starts_with("libcu")).chain(loaded_later(major)) {
        let Some(path) = folders.iter().map(|folder| folder.join(&name)).find(|path| path.is_file()) else {
            continue;
        };
        if let Err(error) = ort::util::preload_dylib(&path) {
            tracing::debug!(path = %path.display(), %error, "a CUDA library could not be loaded");
        }
    }
    Some(major)
}

fn major(needed: &[String]) -> Option<u32> {
    needed.iter().find_map(|name| name.strip_prefix("libcudart.so.")?.split('.').next()?.parse().ok())
}

/// What the provider and cuDNN load by name when they first need it.
fn loaded_later(major: u32) -> Vec<String> {
    let cudnn = [
        "",
        "_graph",
        "_ops",
        "_heuristic",
        "_adv",
        "_cnn",
        "_engines_precompiled",
        "_engines_runtime_compiled",
    ];
    let mut names = vec![format!("libnvrtc.so.{major}"), format!("libcufft.so.{}", major.saturating_sub(1))];
    names.extend(cudnn.map(|part| format!("libcudnn{part}.so.9")));
    names
}

/// `nvidia/*/lib` beside the package.
fn nvidia_folders(site: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(site.join("nvidia")).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> =
        entries.map(|entry| entry.path().join("lib")).filter(|lib| lib.is_dir()).collect();
    folders.sort();
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_number_is_read_from_the_provider() {
        let needed = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(major(&needed(&["libcublasLt.so.12", "libcudart.so.12", "libc.so.6"])), Some(12));
        assert_eq!(major(&needed(&["libcurand.so.10", "libcudart.so.13"])), Some(13));
        assert_eq!(major(&needed(&["libc.so.6"])), None);
        assert!(loaded_later(12).contains(&"libcufft.so.11".to_owned()));
        assert_eq!(preload(Path::new("/nowhere/onnxruntime/capi/libonnxruntime.so.1.32.0")), None);
    }

    #[test]
    fn options_are_told() {
        let told = describe(GpuOptions::default());
        assert!(
            told.contains("device 0") && told.contains("4096 MB") && told.contains("heuristic"),
            "{told}"
        );
        assert_eq!(attempts(GpuOptions::default(), || None).last().map(|(name, _)| *name), Some("CUDA"));
    }

    #[test]
    fn folders_of_the_nvidia_packages_are_found() {
        let site = tempfile::tempdir().expect("a folder");
        for folder in ["nvidia/cublas/lib", "nvidia/cu13/lib", "nvidia/cudnn/include", "other/lib"] {
            std::fs::create_dir_all(site.path().join(folder)).expect("made");
        }
        let expected = ["nvidia/cu13/lib", "nvidia/cublas/lib"].map(|folder| site.path().join(folder));
        assert_eq!(nvidia_folders(site.path()), expected);
    }
}
