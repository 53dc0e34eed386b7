//! How the settings have models run.

use ooblex_models::engine::{GpuOptions, UseGpu};
use ooblex_models::manager::{ModelsConfig, SearchPath};

use crate::checkpoint::place;
use crate::config::{self, Config};

/// A megabyte of the settings.
const MB: u64 = 1 << 20;

/// How models are to be run.
pub(crate) fn models_config(config: &Config) -> ModelsConfig {
    let mut models = ModelsConfig::default();
    models.engine = config.engine.kind();
    models.use_gpu = match config.use_gpu {
        config::UseGpu::Auto => UseGpu::Auto,
        config::UseGpu::Off => UseGpu::Off,
        config::UseGpu::Required => UseGpu::Required,
    };
    let mut gpu = GpuOptions::default();
    gpu.mem_limit = config.gpu_mem_limit * MB;
    models.gpu = gpu;
    models.threads = config.model_threads;
    models.onnxruntime = config.onnxruntime.clone();
    models.path = SearchPath::standard(place::of_models(config));
    models.engine_cache = place::of_engines(config);
    models.memory = config.model_memory * MB;
    models.hang_after = config.model_timeout;
    models
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ooblex_models::engine::EngineKind;

    use super::*;
    use crate::cli::Arguments;
    use crate::config::load;

    #[test]
    fn every_setting_reaches_the_models() {
        let flags = [
            "--no-config",
            "--engine=rten",
            "--use-gpu=off",
            "--gpu-mem-limit=100",
            "--model-threads=3",
            "--onnxruntime=/opt/ort.so",
            "--model-dir=/srv/models",
            "--cache-dir=/srv/cache",
            "--model-memory=200",
            "--model-timeout=7",
        ];
        let arguments = Arguments::parse(flags.map(Into::into)).expect("good flags");
        let models = models_config(&load(&arguments, []).expect("good settings").config);
        assert_eq!((models.engine, models.use_gpu), (Some(EngineKind::Rten), UseGpu::Off));
        assert_eq!((models.gpu.mem_limit, models.memory), (100 << 20, 200 << 20));
        assert_eq!((models.threads, models.hang_after), (3, Duration::from_secs(7)));
        assert_eq!(models.onnxruntime.as_deref(), Some("/opt/ort.so".as_ref()));
        assert_eq!(models.engine_cache.as_deref(), Some("/srv/cache/engines".as_ref()));
        assert_eq!(models.path.folders().first().map(|f| f.as_path()), Some("/srv/models".as_ref()));
    }
}
