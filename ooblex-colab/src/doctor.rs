//! `ooblex-colab doctor`: what was found, what is missing, and how to fix it.

mod models;
mod network;

use std::fmt::Write;
use std::io;
use std::net::{SocketAddr, TcpListener};

use ooblex_core::Registry;
use ooblex_models::manager::Models;

use crate::access::{Access, EXPOSURE_FIX};
use crate::cli::VERSION;
use crate::config::Loaded;
use crate::process::file_limit;

/// What `doctor` prints, and whether `serve` would work.
pub(crate) struct Report {
    pub(crate) text: String,
    pub(crate) can_serve: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Fine,
    Note,
    Bad,
}

#[derive(Default)]
struct Findings {
    text: String,
    bad: usize,
    notes: usize,
}

impl Findings {
    fn add(&mut self, verdict: Verdict, what: &str, found: &str, fix: &str) {
        let sign = match verdict {
            Verdict::Fine => "ok  ",
            Verdict::Note => "note",
            Verdict::Bad => "BAD ",
        };
        self.bad += usize::from(verdict == Verdict::Bad);
        self.notes += usize::from(verdict == Verdict::Note);
        let _ = writeln!(self.text, "{sign}  {what:14} {found}");
        if !fix.is_empty() {
            let _ = writeln!(self.text, "      {:14} -> {fix}", "");
        }
    }
}

/// Examines the machine for a server with this configuration; `models` are configured with it. Nothing outside is asked,
/// unless `ask_stun`.
pub(crate) fn examine(loaded: &Loaded, registry: &Registry, models: &Models, ask_stun: bool) -> Report {
    let mut findings = Findings::default();
    let _ = writeln!(
        findings.text,
        "ooblex-colab {VERSION}, {} {}\n",
        std::env::consts::OS,
        std::env::consts::ARCH
    );
    configuration(&mut findings, loaded);
    processor(&mut findings);
    codecs(&mut findings);
    let effects = registry.kinds().count();
    let needs = registry.kinds().filter(|k| k.needs_model.is_some()).count();
    let found = format!("{effects}, {needs} of them run models; `ooblex-colab effects` lists them");
    findings.add(Verdict::Fine, "effects", &found, "");
    self::models::models(&mut findings, models, loaded.config.use_gpu);
    files(&mut findings, loaded.config.max_viewers);
    ports(&mut findings, loaded);
    network::webrtc(&mut findings, &loaded.config, ask_stun);
    exposure(&mut findings, loaded);
    let summary = match (findings.bad, findings.notes) {
        (0, 0) => "everything is fine".to_owned(),
        (0, notes) => format!("the server will work; {notes} to look at"),
        (bad, _) => format!("the server will not work: {bad} to fix"),
    };
    let _ = writeln!(findings.text, "\n{summary}");
    Report { text: findings.text, can_serve: findings.bad == 0 }
}

fn configuration(findings: &mut Findings, loaded: &Loaded) {
    let given = loaded.origins.len();
    let found = match &loaded.file {
        Some(file) => format!("{}; {given} settings given", file.display()),
        None => format!("no file; {given} settings given"),
    };
    findings.add(Verdict::Fine, "configuration", &found, "");
}

fn processor(findings: &mut Findings) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let verdict = if cores < 2 { Verdict::Note } else { Verdict::Fine };
    let fix = if cores < 2 {
        "effects and viewers share one core; lower target_fps if pictures are dropped"
    } else {
        ""
    };
    findings.add(verdict, "processor", &format!("{cores} cores"), fix);
    let (verdict, found, fix) = instructions();
    findings.add(verdict, "instructions", &found, fix);
}

/// The instruction set that effects use where there is one.
#[cfg(target_arch = "x86_64")]
fn instructions() -> (Verdict, String, &'static str) {
    match std::arch::is_x86_feature_detected!("avx2") {
        true => (Verdict::Fine, "AVX2".into(), ""),
        false => {
            (Verdict::Note, "no AVX2".into(), "effects run about half as fast; virtual machines may hide it")
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn instructions() -> (Verdict, String, &'static str) {
    (Verdict::Fine, "what the compiler assumes for this architecture".into(), "")
}

fn codecs(findings: &mut Findings) {
    findings.add(Verdict::Fine, "JPEG", "libjpeg-turbo with SIMD (the build refuses to go on without)", "");
    match assembly_of_openh264() {
        _ if !cfg!(feature = "h264") => {
            let fix = "build with the feature `h264` for clips, the demo, and publishers like OBS";
            findings.add(Verdict::Note, "H.264", "not in this build", fix);
        }
        Some(true) => findings.add(Verdict::Fine, "H.264", "OpenH264 with assembly", ""),
        Some(false) => findings.add(
            Verdict::Note,
            "H.264",
            "OpenH264 without assembly: video costs about twice the time",
            "install nasm, then: cargo clean --release -p openh264-sys2, and build again",
        ),
        None => findings.add(
            Verdict::Fine,
            "H.264",
            "OpenH264 (this binary does not tell whether with assembly)",
            "",
        ),
    }
    match cfg!(feature = "vpx") {
        true => findings.add(Verdict::Fine, "VP8, VP9", "the system's libvpx", ""),
        false => {
            let fix = "build with the feature `vpx` for browsers that prefer them";
            findings.add(Verdict::Note, "VP8, VP9", "not in this build", fix);
        }
    }
}

/// Whether OpenH264's assembly is in this program, judging by the names in its symbol table; `None` if that was
/// stripped or cannot be read.
fn assembly_of_openh264() -> Option<bool> {
    let program = std::fs::read(std::env::current_exe().ok()?).ok()?;
    let has = |name: &str| memchr::memmem::find(&program, name.as_bytes()).is_some();
    // The first names are put together so that they do not find themselves.
    let decoder = ["WelsCreate", "Decoder\0"].concat();
    let assembly = [["WelsCopy16x16_", "sse2\0"], ["WelsCopy16x16_", "AArch64_neon\0"]];
    has(&decoder).then(|| assembly.iter().any(|name| has(&name.concat())))
}

/// Files a server needs beside those of its viewers.
const OTHER_FILES: u64 = 600;

fn files(findings: &mut Findings, max_viewers: usize) {
    let limit = file_limit();
    let needed = max_viewers as u64 + OTHER_FILES;
    let show = |n: Option<u64>| n.map_or("unlimited".to_owned(), |n| n.to_string());
    let found = format!("{} now, raised to {} at start; {needed} needed", show(limit.soft), show(limit.hard));
    match limit.hard {
        Some(hard) if hard < needed => {
            let fix = format!("raise it (ulimit -Hn {needed}) or lower max_viewers");
            findings.add(Verdict::Note, "open files", &found, &fix);
        }
        _ => findings.add(Verdict::Fine, "open files", &found, ""),
    }
}

fn ports(findings: &mut Findings, loaded: &Loaded) {
    let config = &loaded.config;
    let ports = [("mjpeg_port", Some(config.mjpeg_port)), ("webrtc_port", config.webrtc_port)];
    for (setting, port) in ports.into_iter().filter_map(|(s, p)| p.map(|p| (s, p))) {
        let address = SocketAddr::new(config.bind, port);
        match TcpListener::bind(address) {
            Ok(_) => findings.add(Verdict::Fine, setting, &format!("{address} is free"), ""),
            Err(error) => {
                let reason = if error.kind() == io::ErrorKind::AddrInUse {
                    "in use".to_owned()
                } else {
                    error.to_string()
                };
                let fix =
                    format!("stop what uses it, or choose another by --{} N", setting.replace('_', "-"));
                findings.add(Verdict::Bad, setting, &format!("{address}: {reason}"), &fix);
            }
        }
    }
}

fn exposure(findings: &mut Findings, loaded: &Loaded) {
    let mut config = loaded.config.clone();
    if let Err(error) = config.make_tokens() {
        return findings.add(
            Verdict::Bad,
            "tokens",
            &error.to_string(),
            "start where /dev/urandom can be read",
        );
    }
    let access = Access::new(&config);
    match access.exposure(&config) {
        Some(found) => findings.add(Verdict::Note, "exposure", &found, EXPOSURE_FIX),
        None if !config.reachable_from_outside() => {
            findings.add(Verdict::Fine, "exposure", "this machine only", "")
        }
        None => findings.add(Verdict::Fine, "exposure", "everything needs a token", ""),
    }
}
