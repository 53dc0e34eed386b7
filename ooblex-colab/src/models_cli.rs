//! `ooblex-colab models`: what there is, whether it is right, where it lies, and fetching what is missing.

#[cfg(feature = "fetch")]
mod pull;

use std::io::{self, Write};
use std::path::Path;

use ooblex_models::manager::{
    FilePlace, FileStatus, ModelCard, ModelError, ModelFile, ModelState, ModelStatus, Models, sha256_of_file,
};

use crate::cli::{ModelsAction, ModelsArguments};
use crate::config::Config;

/// Does what was asked for; whether all is well.
///
/// # Errors
/// If it cannot be printed.
pub(crate) fn run(
    arguments: &ModelsArguments,
    config: &Config,
    models: &Models,
    out: &mut dyn Write,
) -> io::Result<bool> {
    if arguments.action == ModelsAction::Pull {
        return pull(arguments, config, models, out);
    }
    let chosen = match chosen(models, &arguments.names) {
        Ok(chosen) => chosen,
        Err(error) => return complain(out, &error.to_string()),
    };
    match arguments.action {
        ModelsAction::Verify => verify(models, &chosen, !arguments.names.is_empty(), out),
        ModelsAction::Path if arguments.names.is_empty() => folders(models, out),
        ModelsAction::Path => paths(&chosen, out),
        _ => list(&chosen, out),
    }
}

/// The models of these names, or all of them.
fn chosen(models: &Models, names: &[String]) -> Result<Vec<ModelStatus>, ModelError> {
    if names.is_empty() {
        Ok(models.status())
    } else {
        names.iter().map(|name| models.status_by_name(name)).collect()
    }
}

fn complain(out: &mut dyn Write, problem: &str) -> io::Result<bool> {
    writeln!(out, "error: {problem}")?;
    Ok(false)
}

fn list(chosen: &[ModelStatus], out: &mut dyn Write) -> io::Result<bool> {
    for model in chosen {
        let place = match model.files.first().map(|file| &file.place) {
            _ if model.state == ModelState::Missing => "missing",
            Some(FilePlace::Embedded) => "compiled in",
            _ => "found",
        };
        writeln!(out, "{:26} {place:12} {}", model.name, model.task)?;
        let formats: Vec<_> =
            formats(&model.files).map(|f| format!("{} {}", f.format.as_str(), size(f.bytes))).collect();
        writeln!(out, "    {}; {}", formats.join(", "), model.licence)?;
        writeln!(out, "    {}", model.origin)?;
    }
    let missing = chosen.iter().filter(|model| model.state == ModelState::Missing).count();
    if missing > 0 {
        writeln!(
            out,
            "\n{missing} missing; `models path` says where they are looked for, `models pull` fetches them"
        )?;
    }
    Ok(true)
}

/// The weights of each format, without what belongs to them.
fn formats(files: &[FileStatus]) -> impl Iterator<Item = &FileStatus> {
    files.iter().filter(|file| !file.name.ends_with(".json"))
}

fn size(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// `named`: these models were asked for, so they have to be there.
fn verify(models: &Models, chosen: &[ModelStatus], named: bool, out: &mut dyn Write) -> io::Result<bool> {
    let mut is_well = true;
    for model in chosen {
        is_well &= !named || model.state != ModelState::Missing;
        let card = models.card(&model.name).map_err(io::Error::other)?;
        for file in &model.files {
            let name = &file.name;
            let expected = sum_of(&card, name);
            match &file.place {
                FilePlace::Embedded => writeln!(out, "ok       {name} (compiled in)")?,
                FilePlace::Found(path) => is_well &= verify_file(out, name, path, expected)?,
                _ => writeln!(out, "missing  {name}")?,
            }
        }
    }
    Ok(is_well)
}

fn verify_file(out: &mut dyn Write, name: &str, path: &Path, expected: Option<&str>) -> io::Result<bool> {
    let shown = path.display();
    match (sha256_of_file(path), expected) {
        (Ok(found), Some(expected)) if found == expected => writeln!(out, "ok       {name} ({shown})")?,
        (Ok(_), None) => writeln!(out, "unknown  {name} ({shown}): no sum is known for it")?,
        (Ok(found), Some(expected)) => {
            writeln!(out, "BAD      {name} ({shown}): SHA-256 {found}, not {expected}")?;
            return Ok(false);
        }
        (Err(error), _) => {
            writeln!(out, "BAD      {error} ({shown})")?;
            return Ok(false);
        }
    }
    Ok(true)
}

fn sum_of<'a>(card: &'a ModelCard, name: &str) -> Option<&'a str> {
    let files = card.files.iter().flat_map(|file| std::iter::once(file).chain(file.beside.as_deref()));
    files.filter(|file| file.name == name).find_map(|file: &ModelFile| file.sha256.as_deref())
}

fn folders(models: &Models, out: &mut dyn Write) -> io::Result<bool> {
    for folder in models.config().path.folders() {
        let note = if folder.is_dir() { "" } else { "  (not there)" };
        writeln!(out, "{}{note}", folder.display())?;
    }
    Ok(true)
}

fn paths(chosen: &[ModelStatus], out: &mut dyn Write) -> io::Result<bool> {
    for file in chosen.iter().flat_map(|model| &model.files) {
        match &file.place {
            FilePlace::Embedded => writeln!(out, "{}  (compiled in)", file.name)?,
            FilePlace::Found(path) => writeln!(out, "{}", path.display())?,
            _ => writeln!(out, "{}  (missing)", file.name)?,
        }
    }
    Ok(chosen.iter().all(|model| model.state != ModelState::Missing))
}

#[cfg(feature = "fetch")]
use self::pull::pull;

#[cfg(not(feature = "fetch"))]
fn pull(_: &ModelsArguments, _: &Config, _: &Models, out: &mut dyn Write) -> io::Result<bool> {
    complain(out, "this build cannot fetch models; build with the feature `fetch`")
}

#[cfg(test)]
mod tests;
