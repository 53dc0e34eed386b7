//! Where checkpoints and caches lie.

use std::path::{Path, PathBuf};

use crate::config::Config;

/// Where a Colab notebook that calls `drive.mount("/content/drive")` finds the user's files.
const DRIVE: &str = "/content/drive/MyDrive";
/// What `checkpoint_dir` and `cache_dir` say to switch the default off.
const NOWHERE: &str = "none";

/// A place that a setting names, or that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The setting names it: it is an error if it cannot be used.
    Given(PathBuf),
    /// A mounted Drive: where it cannot be used, that is said and the server runs without.
    Drive(PathBuf),
    /// None.
    Nowhere,
}

impl Place {
    /// Of checkpoints.
    pub(crate) fn of_checkpoints(config: &Config) -> Self {
        Self::of(config.checkpoint_dir.as_deref(), "checkpoints", Path::new(DRIVE))
    }

    /// Of what is expensive to get again.
    pub(crate) fn of_caches(config: &Config) -> Self {
        Self::of(config.cache_dir.as_deref(), "cache", Path::new(DRIVE))
    }

    fn of(setting: Option<&Path>, name: &str, drive: &Path) -> Self {
        match setting {
            Some(path) if path == Path::new(NOWHERE) => Self::Nowhere,
            Some(path) => Self::Given(path.to_owned()),
            None if drive.is_dir() => Self::Drive(drive.join("ooblex").join(name)),
            None => Self::Nowhere,
        }
    }

    /// The folder.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Given(path) | Self::Drive(path) => Some(path),
            Self::Nowhere => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mounted_drive_is_used_unless_a_setting_says_otherwise() {
        let drive = tempfile::tempdir().expect("a folder");
        let of = |setting: Option<&str>, drive: &Path| Place::of(setting.map(Path::new), "cache", drive);
        assert_eq!(of(None, drive.path()), Place::Drive(drive.path().join("ooblex/cache")));
        assert_eq!(of(None, &drive.path().join("not mounted")), Place::Nowhere);
        assert_eq!(of(Some("/srv"), drive.path()), Place::Given("/srv".into()));
        assert_eq!(of(Some("none"), drive.path()), Place::Nowhere);
    }
}
