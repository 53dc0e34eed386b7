//! Programs that people read streams with, and small parsers.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::mark::Rgb;
use crate::server::root;

/// The path of a program, if it is installed.
pub fn find(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// The Python with OpenCV that `scripts/setup.sh test` installs, if it is there.
pub fn python() -> Option<PathBuf> {
    Some(root().join(".venv/bin/python")).filter(|path| path.exists())
}

/// User and system time of a process in seconds (proc(5): fields 14 and 15 of `stat`, in hundredths).
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    Some((fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?) / 100.0)
}

/// A process that is killed when this goes away.
#[derive(Debug)]
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program; its output goes to files in `folder`, `NAME.out` and `NAME.err`.
#[track_caller]
pub fn start(command: &mut Command, folder: &Path, name: &str) -> Process {
    let file = |ending: &str| std::fs::File::create(folder.join(format!("{name}.{ending}"))).unwrap();
    let child = command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err")).spawn();
    Process(child.unwrap_or_else(|error| panic!("{command:?}: {error}")))
}

impl Process {
    /// Waits for the end of the program.
    ///
    /// # Panics
    /// When it does not end in time; prints its output then.
    #[track_caller]
    pub fn finish(&mut self, patience: Duration, folder: &Path, name: &str) -> i32 {
        match crate::server::wait_for_exit(&mut self.0, patience) {
            Some(status) => status.code().unwrap_or(-1),
            None => panic!("{name} did not end in {patience:?}:\n{}", output(folder, name)),
        }
    }
}

/// What a program started by [`start`] wrote.
pub fn output(folder: &Path, name: &str) -> String {
    let read = |ending: &str| std::fs::read(folder.join(format!("{name}.{ending}"))).unwrap_or_default();
    format!("{}{}", String::from_utf8_lossy(&read("out")), String::from_utf8_lossy(&read("err")))
}

/// Waits until a file has at least so many bytes.
///
/// # Panics
/// When it has not in time.
#[track_caller]
pub fn wait_for_bytes(path: &Path, bytes: u64, patience: Duration) {
    let start = Instant::now();
    while path.metadata().map_or(0, |data| data.len()) < bytes {
        assert!(start.elapsed() < patience, "{} has no {bytes} bytes after {patience:?}", path.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Pictures in a file of raw RGB.
pub fn raw_pictures(data: &[u8], width: usize, height: usize) -> Vec<Rgb> {
    data.chunks_exact(width * height * 3).map(|data| Rgb { width, height, data: data.to_vec() }).collect()
}

/// One sample of a Prometheus text exposition.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The series.
    pub name: String,
    /// Its labels.
    pub labels: Vec<(String, String)>,
    /// Its value.
    pub value: f64,
}

/// Reads a Prometheus text exposition and checks what promtool checks: names, labels, help and type before the first
/// sample of a family, each family once and in one piece, no sample twice, counters that end with `_total`, histograms
/// with rising buckets up to `+Inf`.
///
/// # Panics
/// When it breaks a rule.
#[track_caller]
pub fn parse_metrics(text: &str) -> Vec<Sample> {
    assert!(text.ends_with('\n'), "the last line has no end");
    let mut samples: Vec<Sample> = Vec::new();
    let mut kinds: Vec<(String, String)> = Vec::new();
    let mut helped: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            assert!(!help.is_empty() && !helped.iter().any(|seen| seen == name), "{line}");
            helped.push(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            assert!(["counter", "gauge", "histogram", "summary", "untyped"].contains(&kind), "{line}");
            assert!(!kinds.iter().any(|(seen, _)| seen == name), "a family in two pieces: {line}");
            assert!(kind != "counter" || name.ends_with("_total"), "{line}");
            kinds.push((name.to_owned(), kind.to_owned()));
        } else if !line.starts_with('#') {
            let sample = parse_sample(line);
            let (family, kind) = kinds.last().unwrap_or_else(|| panic!("a sample before any type: {line}"));
            let suffix = sample
                .name
                .strip_prefix(family.as_str())
                .unwrap_or_else(|| panic!("not of {family}: {line}"));
            match kind.as_str() {
                "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
                "summary" => assert!(["", "_sum", "_count"].contains(&suffix), "{line}"),
                _ => assert_eq!(suffix, "", "{line}"),
            }
            assert!(helped.contains(family), "no help for {family}");
            assert!(
                !samples.iter().any(|seen| seen.name == sample.name && seen.labels == sample.labels),
                "twice: {line}"
            );
            samples.push(sample);
        }
    }
    check_histograms(&samples, &kinds);
    samples
}

fn parse_sample(line: &str) -> Sample {
    let name_end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line}"));
    let name = &line[..name_end];
    assert!(is_name(name), "{line}");
    let mut labels = Vec::new();
    let mut rest = &line[name_end..];
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (key, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            assert!(is_name(key) && !key.contains(':'), "{line}");
            let mut value = String::new();
            let mut characters = after.char_indices();
            let end = loop {
                match characters.next().unwrap_or_else(|| panic!("{line}")) {
                    (at, '"') => break at,
                    (_, '\\') => match characters.next().unwrap_or_else(|| panic!("{line}")).1 {
                        'n' => value.push('\n'),
                        escaped @ ('\\' | '"') => value.push(escaped),
                        _ => panic!("escape: {line}"),
                    },
                    (_, character) => value.push(character),
                }
            };
            labels.push((key.to_owned(), value));
            rest = &after[end + 1..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
    let value = match value {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        "NaN" => f64::NAN,
        number => number.parse().unwrap_or_else(|_| panic!("{line}")),
    };
    labels.sort();
    Sample { name: name.to_owned(), labels, value }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

fn check_histograms(samples: &[Sample], kinds: &[(String, String)]) {
    for (family, _) in kinds.iter().filter(|(_, kind)| kind == "histogram") {
        let bucket = format!("{family}_bucket");
        let mut series: Vec<Vec<(String, String)>> = Vec::new();
        for sample in samples.iter().filter(|sample| sample.name == bucket) {
            let rest: Vec<_> = sample.labels.iter().filter(|(key, _)| key != "le").cloned().collect();
            if !series.contains(&rest) {
                series.push(rest);
            }
        }
        for labels in series {
            let of = |sample: &&Sample| {
                labels.iter().all(|label| sample.labels.contains(label))
                    && sample.labels.iter().filter(|(key, _)| key != "le").count() == labels.len()
            };
            let buckets: Vec<(f64, f64)> = samples
                .iter()
                .filter(|sample| sample.name == bucket)
                .filter(of)
                .map(|sample| {
                    let bound = &sample.labels.iter().find(|(key, _)| key == "le").expect("a bound").1;
                    (
                        if bound == "+Inf" { f64::INFINITY } else { bound.parse().expect("a number") },
                        sample.value,
                    )
                })
                .collect();
            assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{family} {labels:?}: {buckets:?}");
            let last = buckets.last().expect("a bucket");
            assert_eq!(last.0, f64::INFINITY, "{family} {labels:?}");
            for name in ["_sum", "_count"] {
                let name = format!("{family}{name}");
                let total = samples.iter().filter(|sample| sample.name == name).find(of);
                let total = total.unwrap_or_else(|| panic!("no {name} {labels:?}"));
                assert!(!name.ends_with("_count") || total.value == last.1, "{name} {labels:?}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exposition_is_read() {
        let text = "# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"y\\\"z\",b=\"c\"} 3\na_total 4\n\
            # HELP h Times.\n# TYPE h histogram\nh_bucket{le=\"0.1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 0.3\nh_count 2\n";
        let samples = parse_metrics(text);
        assert_eq!(samples.len(), 6);
        assert_eq!(samples[0].labels, [("b".into(), "c".into()), ("x".into(), "y\"z".into())]);
        assert_eq!(samples[1].value, 4.0);
    }

    #[test]
    fn broken_expositions_are_refused() {
        for text in [
            "a 1\n",
            "# HELP a A.\n# TYPE a counter\na 1\n",
            "# HELP a A.\n# TYPE a gauge\na 1\na 2\n",
            "# HELP a A.\n# TYPE a gauge\na{b=c} 1\n",
            "# HELP a A.\n# TYPE a gauge\na 1",
            "# HELP a A.\n# TYPE a gauge\na x\n",
            "# TYPE a gauge\na 1\n",
            "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1\n",
            "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"1\"} 3\nh_bucket{le=\"+Inf\"} 2\nh_sum 1\nh_count 2\n",
        ] {
            assert!(std::panic::catch_unwind(|| parse_metrics(text)).is_err(), "{text}");
        }
    }
}
