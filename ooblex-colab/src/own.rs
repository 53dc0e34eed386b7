//! What the operator brings: models with a manifest, and pictures for backgrounds.

use std::path::{Path, PathBuf};

use ooblex_core::{BufferPool, Registry};
use ooblex_ingest::picture::{self, PictureLimits};
use ooblex_models::manager::Models;
use ooblex_models::processors::{Backgrounds, register_backgrounds, register_segmentation};

use crate::config::Config;

/// Pictures of a folder that are offered; each is held in memory.
const MOST_PICTURES: usize = 64;
const ENDINGS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// What is wrong with something that the operator brings: the setting, and why.
pub(crate) type Wrong = (&'static str, String);

/// Adds the operator's models and pictures to what there is.
///
/// # Errors
/// Everything that cannot be used.
pub(crate) fn register(config: &Config, registry: &mut Registry, models: &Models) -> Result<(), Vec<Wrong>> {
    let mut wrong = Vec::new();
    for manifest in &config.model_manifest {
        if let Err(error) = register_segmentation(registry, models, manifest) {
            wrong.push(("model_manifest", error.to_string()));
        }
    }
    if let Some(folder) = &config.backgrounds {
        match read_backgrounds(folder, config) {
            Ok(backgrounds) => register_backgrounds(registry, models, &backgrounds),
            Err(error) => wrong.push(("backgrounds", error)),
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// The pictures of a folder, by the names of their files without ending.
fn read_backgrounds(folder: &Path, config: &Config) -> Result<Backgrounds, String> {
    let failed = |path: &Path, reason: &dyn std::fmt::Display| format!("{}: {reason}", path.display());
    let entries = std::fs::read_dir(folder).map_err(|e| failed(folder, &e))?;
    let ending = |path: &Path| path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| ending(path).is_some_and(|ending| ENDINGS.contains(&&*ending)))
        .collect();
    paths.sort();
    if paths.is_empty() || paths.len() > MOST_PICTURES {
        let count = paths.len();
        return Err(failed(
            folder,
            &format!("{count} pictures; put 1 to {MOST_PICTURES} there, JPEG, PNG or WebP"),
        ));
    }
    let limits = PictureLimits { max_bytes: config.max_body_bytes, max_pixels: config.max_pixels };
    let mut backgrounds = Backgrounds::new();
    for path in paths {
        let data = std::fs::read(&path).map_err(|e| failed(&path, &e))?;
        let mut picture =
            picture::accept(data.into(), &limits, &BufferPool::new(0)).map_err(|e| failed(&path, &e))?;
        let image = picture.pixels().map_err(|e| failed(&path, &e))?.clone();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        backgrounds.add(&name, image).map_err(|e| failed(&path, &e))?;
    }
    Ok(backgrounds)
}

#[cfg(test)]
mod tests {
    use ooblex_core::{Options, ParamType};

    use super::*;

    fn jpeg() -> Vec<u8> {
        let image = ooblex_core::Image::black(32, 24, &BufferPool::new(0)).expect("a picture");
        let mut encoder = ooblex_mjpeg::encode::jpeg_encoder().expect("an encoder");
        encoder.encode(&image, 80).expect("encodes").to_vec()
    }

    fn config(folder: &Path) -> Config {
        Config { backgrounds: Some(folder.to_path_buf()), ..Config::default() }
    }

    #[test]
    fn pictures_are_offered_by_the_names_of_their_files() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("Beach.JPG"), jpeg()).expect("writes");
        std::fs::write(folder.path().join("notes.txt"), "no picture").expect("writes");
        let (mut registry, models) = (Registry::new(), Models::default());
        register(&config(folder.path()), &mut registry, &models).expect("fits");
        let kind = registry.resolve("background_replace").expect("a kind");
        let image = kind.params.iter().flatten().find(|p| p.name == "image").expect("a parameter");
        let ParamType::Choice(words) = &image.kind else { panic!("{:?}", image.kind) };
        assert!(words.contains(&"beach".to_owned()), "{words:?}");
        registry.build("background_replace", &Options::new().with("image", "beach")).expect("builds");
        assert!(registry.build("background_replace", &Options::new().with("image", "sea")).is_err());
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let wrong = |config: &Config| {
            let (mut registry, models) = (Registry::new(), Models::default());
            register(config, &mut registry, &models).expect_err("wrong").remove(0)
        };
        assert!(wrong(&config(folder.path())).1.contains("0 pictures"));
        assert!(wrong(&config(&folder.path().join("absent"))).1.contains("absent"));
        std::fs::write(folder.path().join("broken.jpg"), "this is no picture").expect("writes");
        let (setting, reason) = wrong(&config(folder.path()));
        assert!(setting == "backgrounds" && reason.contains("broken.jpg"), "{reason}");
        let manifest = folder.path().join("model.json");
        std::fs::write(&manifest, r#"{"name": "Road Scene"}"#).expect("writes");
        let config = Config { model_manifest: vec![manifest], ..Config::default() };
        let (setting, reason) = wrong(&config);
        assert!(setting == "model_manifest" && reason.contains("manifest field"), "{reason}");
    }
}
