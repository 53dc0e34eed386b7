//! Publishers of other makes: aiortc, GStreamer's webrtcbin, FFmpeg's WHIP muxer and Chromium.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::child::Child;
use crate::server::root;
use crate::tools::{find, python};

fn script(name: &str) -> PathBuf {
    root().join("tests/python").join(name)
}

/// aiortc with these arguments (see `python/publish_aiortc.py`), the address first.
///
/// # Errors
/// Why it cannot run, for the line of a skipped test.
#[track_caller]
pub fn aiortc(arguments: &[&str]) -> Result<Child, String> {
    let python = has_aiortc()?;
    Ok(Child::start("aiortc", Command::new(python).arg(script("publish_aiortc.py")).args(arguments)))
}

/// aiortc as a viewer with these arguments (see `python/watch_aiortc.py`), the address first.
///
/// # Errors
/// Why it cannot run, for the line of a skipped test.
#[track_caller]
pub fn watch_aiortc(arguments: &[&str]) -> Result<Child, String> {
    let python = has_aiortc()?;
    Ok(Child::start("aiortc viewer", Command::new(python).arg(script("watch_aiortc.py")).args(arguments)))
}

/// The Python that has aiortc.
///
/// # Errors
/// Why there is none, for the line of a skipped test.
pub fn has_aiortc() -> Result<PathBuf, String> {
    let python = python().ok_or("the Python environment is not installed")?;
    // What is asked is where it lies, not whether it works: importing takes a second.
    let ask = "import importlib.util as u, sys; sys.exit(u.find_spec('aiortc') is None)";
    let there = Command::new(&python).args(["-c", ask]).status().is_ok_and(|status| status.success());
    there.then_some(python).ok_or_else(|| "aiortc is not installed".into())
}

/// webrtcbin with these arguments (see `python/publish_gst.py`), the address first.
///
/// # Errors
/// Why it cannot run, for the line of a skipped test.
#[track_caller]
pub fn webrtcbin(arguments: &[&str]) -> Result<Child, String> {
    // The system's Python: bindings for GStreamer are no wheel.
    let python = Path::new("/usr/bin/python3");
    let ask = "import gi; gi.require_version('GstWebRTC', '1.0'); gi.require_version('Gst', '1.0')\n\
        from gi.repository import Gst; Gst.init(None); import sys; sys.exit(Gst.ElementFactory.find('webrtcbin') is None)";
    if !Command::new(python).args(["-c", ask]).status().is_ok_and(|status| status.success()) {
        return Err("GStreamer's webrtcbin or python3-gi is not installed".into());
    }
    Ok(Child::start("webrtcbin", Command::new(python).arg(script("publish_gst.py")).args(arguments)))
}

/// An FFmpeg that has the WHIP muxer.
///
/// # Errors
/// Why there is none, for the line of a skipped test.
pub fn ffmpeg_with_whip() -> Result<PathBuf, String> {
    let from_wheel = || {
        let ask = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())";
        let output = Command::new(python()?).args(["-c", ask]).output().ok()?;
        Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
    };
    let has_whip = |path: &PathBuf| {
        let output = Command::new(path).args(["-hide_banner", "-muxers"]).output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(" whip "))
    };
    from_wheel()
        .filter(has_whip)
        .or_else(|| find("ffmpeg").filter(has_whip))
        .ok_or_else(|| "no ffmpeg with a WHIP muxer".into())
}

/// What Chromium's page does to publish.
pub const PUBLISH_JS: &str =
    concat!(include_str!("mark.js"), include_str!("look.js"), include_str!("publish.js"));

/// What Chromium's page does to watch.
pub const WATCH_JS: &str =
    concat!(include_str!("mark.js"), include_str!("look.js"), include_str!("watch.js"));

/// Publishes the camera of a page with the options that `publish.js` describes; answers what it tells.
#[track_caller]
pub fn publish_from(browser: &Browser, url: &str, options: &Value) -> Value {
    browser.run(&format!("{PUBLISH_JS}; return publish({}, {options})", json!(url)))
}

/// Runs an expression in which `publisher` is what [`publish_from`] made: `pc`, `sender`, `track`, `session`.
#[track_caller]
pub fn with_publisher(browser: &Browser, expression: &str) -> Value {
    browser.run(&format!("const publisher = window.publisher; return (async () => {{ {expression} }})()"))
}
