//! The weights in the repository, and what is said about them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ooblex_models::manager::{ModelCard, ModelFile, Models, sha256, sha256_of_file};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("weights")
}

fn cards() -> Vec<ModelCard> {
    let models = Models::default();
    models.names().iter().map(|name| models.card(name).expect("named")).collect()
}

fn files(card: &ModelCard) -> impl Iterator<Item = &ModelFile> {
    card.files.iter().flat_map(|file| std::iter::once(file).chain(file.beside.as_deref()))
}

/// Names of what is in a folder, without folders.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let is_file = |entry: &fs::DirEntry| entry.file_type().expect("a type").is_file();
    entries.filter(is_file).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn the_catalogue_lists_what_is_there_and_nothing_else() {
    let mut listed = BTreeSet::from(["NOTICE".to_owned()]);
    for file in cards().iter().flat_map(files) {
        let path = folder().join(file.name.as_ref());
        assert_eq!(fs::metadata(&path).expect(&file.name).len(), file.bytes, "{}", file.name);
        assert_eq!(sha256_of_file(&path).ok().as_deref(), file.sha256.as_deref(), "{}", file.name);
        if let Some(content) = file.content {
            assert_eq!(
                Some(sha256(content).as_str()),
                file.sha256.as_deref(),
                "{} as compiled in",
                file.name
            );
        }
        listed.insert(file.name.to_string());
    }
    assert_eq!(listed, names(&folder()));
}

#[test]
fn four_small_models_are_compiled_in() {
    let embedded: Vec<_> = cards().into_iter().filter(|c| files(c).any(|f| f.content.is_some())).collect();
    assert_eq!(embedded.len(), 4);
    let bytes: u64 = embedded.iter().flat_map(files).filter_map(|f| f.content.map(|_| f.bytes)).sum();
    assert!(bytes < 2_100_000, "{bytes}");
    // A published crate holds no others.
    let package = fs::read_to_string(folder().join("../Cargo.toml")).expect("a package");
    for file in cards().iter().flat_map(files).filter(|file| file.content.is_none()) {
        let (stem, extension) = file.name.split_once('.').expect("an extension");
        let excluded = [format!("\"/weights/{stem}.{extension}\""), format!("\"/weights/*.{extension}\"")];
        assert!(excluded.iter().any(|pattern| package.contains(pattern)), "{} is published", file.name);
    }
}

#[test]
fn every_model_is_in_the_notice_and_every_text_it_names_is_there() {
    let notice = fs::read_to_string(folder().join("NOTICE")).expect("a notice");
    for card in cards() {
        let at = notice.find(&format!("\n{} ", card.name)).expect(&card.name);
        let section = &notice[at..];
        // Of the same section: up to its last line.
        let end = section.find("\n  Changed ").expect("tells what was changed");
        for part in ["  Licence ", "  From ", "  Notice ", "  Trained on "] {
            assert!(section[..end].contains(part), "{}: no {part}", card.name);
        }
        let licence = section.split("\n  Licence ").nth(1).expect("a licence").trim_start();
        assert!(licence.starts_with(card.licence.as_ref()), "{}: {licence:.40}", card.name);
    }
    let words = notice.split_whitespace().map(|word| word.trim_matches(|c| ";:,().".contains(c)));
    let texts = words.filter_map(|word| word.strip_prefix("licenses/")).filter(|name| !name.is_empty());
    let named: BTreeSet<String> = texts.map(str::to_owned).collect();
    assert_eq!(named, names(&folder().join("licenses")));
}
