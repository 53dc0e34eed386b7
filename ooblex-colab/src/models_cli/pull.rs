//! `models pull`.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ooblex_models::engine::Format;
use ooblex_models::manager::fetch::{FetchError, Fetcher, Manifest, Progress, Pulled, Wanted};
use ooblex_models::manager::{Models, sha256_of_file, user_folder};

use super::complain;
use crate::checkpoint::place;
use crate::cli::ModelsArguments;
use crate::config::Config;

/// How often the bar is drawn.
const REDRAW: Duration = Duration::from_millis(100);
const BAR: usize = 30;
const NO_URL: &str = "it is not said where models are to be fetched from: give --model-url, or set model_url. Nothing is \
    published by Ooblex yet; all models lie in ooblex-models/weights of its source tree, and --model-dir names a folder \
    that holds them";

/// What is to be fetched for one model.
struct Order {
    model: String,
    licence: String,
    origin: String,
    files: Vec<Wanted>,
}

/// Fetches the models that were named; whether all of them are there.
pub(super) fn pull(
    arguments: &ModelsArguments,
    config: &Config,
    models: &Models,
    out: &mut dyn Write,
) -> io::Result<bool> {
    if arguments.names.is_empty() != arguments.all {
        return complain(out, "say which models to fetch, or --all; `models list` lists them");
    }
    let Some(url) = &config.model_url else { return complain(out, NO_URL) };
    let Some(folder) = place::of_models(config).or_else(user_folder) else {
        return complain(out, "there is no folder to put models into; name one by --model-dir");
    };
    let prepared = prepare(arguments, models, url.as_str(), folder);
    let (fetcher, orders) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return complain(out, &error),
    };
    let mut is_well = true;
    for order in orders {
        writeln!(out, "{}: {}; {}", order.model, order.licence, order.origin)?;
        if order.files.is_empty() {
            writeln!(out, "    compiled in")?;
        }
        for wanted in &order.files {
            is_well &= pull_one(&fetcher, models, wanted, out)?;
        }
    }
    Ok(is_well)
}

fn prepare(
    arguments: &ModelsArguments,
    models: &Models,
    url: &str,
    folder: PathBuf,
) -> Result<(Fetcher, Vec<Order>), String> {
    let engine = models.engine().map_err(|error| error.to_string())?;
    let fetcher = Fetcher::new(url, folder).map_err(|error| error.to_string())?;
    let manifest = fetcher.manifest().map_err(|error| error.to_string())?;
    let names = match arguments.all {
        true => all(models, manifest.as_ref(), engine.kind().format()),
        false => arguments.names.clone(),
    };
    let order = |name: &String| order(name, models, manifest.as_ref(), engine.kind().format());
    Ok((fetcher, names.iter().map(order).collect::<Result<_, _>>()?))
}

/// Every model that the engine can load, and every one that the manifest lists besides.
fn all(models: &Models, manifest: Option<&Manifest>, format: Format) -> Vec<String> {
    let loadable = |name: &String| models.card(name).is_ok_and(|card| card.file_for(format).is_some());
    let mut names: Vec<String> = models.names().iter().map(ToString::to_string).filter(loadable).collect();
    let listed = manifest.iter().flat_map(|manifest| &manifest.models).map(|model| model.name.clone());
    let new: Vec<String> = listed.filter(|name| models.card(name).is_err()).collect();
    names.extend(new);
    names
}

/// What is known of a model beforehand counts; a manifest adds models, and says where files lie.
fn order(name: &str, models: &Models, manifest: Option<&Manifest>, format: Format) -> Result<Order, String> {
    let listed = manifest.and_then(|manifest| manifest.models.iter().find(|model| model.name == name));
    match (models.card(name), listed) {
        (Ok(card), _) => {
            let file = card.file_for(format);
            let file = file.ok_or_else(|| format!("{name} has no weights that the engine can load"))?;
            Ok(Order {
                model: name.to_owned(),
                licence: card.licence.to_string(),
                origin: card.origin.to_string(),
                files: Wanted::of(file).map_err(|error| error.to_string())?,
            })
        }
        (Err(_), Some(listed)) => Ok(Order {
            model: name.to_owned(),
            licence: listed.licence.clone(),
            origin: listed.origin.clone(),
            files: listed.files.clone(),
        }),
        (Err(error), None) => Err(error.to_string()),
    }
}

fn pull_one(fetcher: &Fetcher, models: &Models, wanted: &Wanted, out: &mut dyn Write) -> io::Result<bool> {
    let there = models.config().path.find(&wanted.name).ok();
    if let Some(path) = there.filter(|path| sha256_of_file(path).is_ok_and(|sum| sum == wanted.sha256)) {
        writeln!(out, "    {} is there: {}", wanted.name, path.display())?;
        return Ok(true);
    }
    let mut meter = Meter::new(&wanted.name);
    let pulled = fetcher.pull(wanted, &mut |progress| meter.show(progress));
    meter.end();
    match pulled {
        Ok(Pulled::Came { path, resumed_from }) => {
            let took = meter.begun.elapsed().as_secs_f64();
            let speed = (wanted.bytes - resumed_from) as f64 / 1e6 / took.max(1e-3);
            writeln!(
                out,
                "    {} came, {} bytes in {took:.1} s ({speed:.1} MB/s): {}",
                wanted.name,
                wanted.bytes,
                path.display()
            )?;
        }
        Ok(Pulled::WasThere(path)) => writeln!(out, "    {} is there: {}", wanted.name, path.display())?,
        Ok(_) => writeln!(out, "    {} is there", wanted.name)?,
        Err(error) => {
            writeln!(out, "    error: {}", fix(error))?;
            return Ok(false);
        }
    }
    Ok(true)
}

fn fix(error: FetchError) -> String {
    match &error {
        FetchError::Write { .. } => format!("{error}; --model-dir names another folder"),
        _ => error.to_string(),
    }
}

/// Shows how far a file is: a bar on a terminal, else a line at the beginning.
struct Meter<'a> {
    name: &'a str,
    is_terminal: bool,
    begun: Instant,
    drawn: Option<Instant>,
    from: u64,
}

impl<'a> Meter<'a> {
    fn new(name: &'a str) -> Self {
        Self { name, is_terminal: io::stderr().is_terminal(), begun: Instant::now(), drawn: None, from: 0 }
    }

    fn show(&mut self, progress: Progress) {
        let line = match progress {
            Progress::Waiting => "waiting for another pull into this folder".to_owned(),
            Progress::Begun { from, total } => {
                (self.from, self.begun) = (from, Instant::now());
                let rest = if from > 0 { format!(", {from} of them there already") } else { String::new() };
                format!("{total} bytes{rest}")
            }
            Progress::Got { done, total } if self.is_terminal => {
                if done < total && self.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW) {
                    return;
                }
                let bar = bar(done, total, done - self.from, self.begun.elapsed());
                self.drawn = Some(Instant::now());
                // Nobody is there to read it if this fails.
                let _ = write!(io::stderr().lock(), "\r    {} {bar} ", self.name);
                return;
            }
            _ => return,
        };
        let _ = writeln!(io::stderr().lock(), "    {}: {line}", self.name);
    }

    fn end(&self) {
        if self.drawn.is_some() {
            let _ = writeln!(io::stderr().lock());
        }
    }
}

/// `[#####.....]  50 %  3.6 of 7.3 MB  2.1 MB/s`.
fn bar(done: u64, total: u64, came: u64, took: Duration) -> String {
    let total_or_one = total.max(1);
    let filled = (done.min(total_or_one) as usize * BAR) / total_or_one as usize;
    let percent = 100 * done.min(total_or_one) / total_or_one;
    let speed = came as f64 / 1e6 / took.as_secs_f64().max(1e-3);
    format!(
        "[{}{}] {percent:3} %  {:.1} of {:.1} MB  {speed:.1} MB/s",
        "#".repeat(filled),
        ".".repeat(BAR - filled),
        done as f64 / 1e6,
        total as f64 / 1e6
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_bytes_and_speed() {
        let second = Duration::from_secs(1);
        assert_eq!(
            bar(3_650_000, 7_300_000, 2_100_000, second),
            "[###############...............]  50 %  3.6 of 7.3 MB  2.1 MB/s"
        );
        assert!(
            bar(7_300_000, 7_300_000, 0, Duration::ZERO).starts_with(&format!("[{}] 100 %", "#".repeat(BAR)))
        );
        assert!(bar(0, 0, 0, Duration::ZERO).contains("  0 %"));
    }
}
