//! Where checkpoints and caches lie.

use std::path::{Path, PathBuf};

use crate::config::Config;

/// Where a Colab notebook that calls `drive.mount("/content/drive")` finds the user's files.
const DRIVE: &str = "/content/drive/MyDrive";
/// What `checkpoint_dir` and `cache_dir` say to switch the default off.
const NOWHERE: &str = "none";

/// The folder of checkpoints: the one of the setting, else one on a mounted Drive.
pub(crate) fn of_checkpoints(config: &Config) -> Option<PathBuf> {
    chosen(config.checkpoint_dir.as_deref(), "checkpoints", Path::new(DRIVE))
}

/// The folder in which models are looked for first, and into which they are fetched.
pub(crate) fn of_models(config: &Config) -> Option<PathBuf> {
    config.model_dir.clone().or_else(|| Some(of_caches(config)?.join("models")))
}

/// The folder of engines that TensorRT has built.
pub(crate) fn of_engines(config: &Config) -> Option<PathBuf> {
    Some(of_caches(config)?.join("engines"))
}

fn of_caches(config: &Config) -> Option<PathBuf> {
    chosen(config.cache_dir.as_deref(), "", Path::new(DRIVE))
}

fn chosen(setting: Option<&Path>, name: &str, drive: &Path) -> Option<PathBuf> {
    match setting {
        Some(path) => (path != Path::new(NOWHERE)).then(|| path.to_owned()),
        None => drive.is_dir().then(|| drive.join("ooblex").join(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mounted_drive_is_used_unless_a_setting_says_otherwise() {
        let drive = tempfile::tempdir().expect("a folder");
        let of = |setting: Option<&str>, drive: &Path| chosen(setting.map(Path::new), "checkpoints", drive);
        assert_eq!(of(None, drive.path()), Some(drive.path().join("ooblex/checkpoints")));
        assert_eq!(of(None, &drive.path().join("not mounted")), None);
        assert_eq!(of(Some("/srv"), drive.path()), Some("/srv".into()));
        assert_eq!(of(Some("none"), drive.path()), None);
    }

    #[test]
    fn models_and_engines_share_a_folder_unless_models_have_their_own() {
        let mut config = Config { cache_dir: Some("/srv".into()), ..Config::default() };
        assert_eq!(of_models(&config), Some("/srv/models".into()));
        config.model_dir = Some("/models".into());
        assert_eq!(
            (of_models(&config), of_engines(&config)),
            (Some("/models".into()), Some("/srv/engines".into()))
        );
    }
}
