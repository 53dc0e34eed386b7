//! Where ONNX Runtime's library is looked for.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::version;

/// ONNX Runtime's library.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OnnxRuntime {
    /// The file.
    pub path: PathBuf,
    /// What it says its version is, such as `1.32.0`.
    pub version: String,
    /// Which of the places it was found in, in words.
    pub found: String,
}

/// Everything that the search depends on.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    /// Named by the user.
    pub(super) told: Option<PathBuf>,
    /// `ORT_DYLIB_PATH`.
    pub(super) ort_dylib_path: Option<PathBuf>,
    /// The program, with links resolved.
    pub(super) program: Option<PathBuf>,
    /// `VIRTUAL_ENV` and `CONDA_PREFIX`.
    pub(super) environments: Vec<PathBuf>,
    /// Folders of `PATH`.
    pub(super) commands: Vec<PathBuf>,
    /// Packages that `pip install --user` installs.
    pub(super) home: Option<PathBuf>,
    /// Where the program was started.
    pub(super) here: Option<PathBuf>,
    /// Folders of the system's libraries.
    pub(super) system: Vec<PathBuf>,
}

/// Where Debian, Fedora and source installations keep libraries.
const SYSTEM: [&str; 6] = [
    "/usr/local/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/opt/onnxruntime/lib",
];

impl Surroundings {
    /// Those of this process.
    pub(super) fn of_this_process(told: Option<&Path>) -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let folders = |value: Option<OsString>| -> Vec<PathBuf> {
            value.iter().flat_map(std::env::split_paths).filter(|folder| folder.is_absolute()).collect()
        };
        let mut system = folders(set("LD_LIBRARY_PATH"));
        system.extend(SYSTEM.map(PathBuf::from));
        Self {
            told: told.map(Path::to_path_buf),
            ort_dylib_path: set("ORT_DYLIB_PATH").map(PathBuf::from),
            program: std::env::current_exe().and_then(|exe| exe.canonicalize()).ok(),
            environments: ["VIRTUAL_ENV", "CONDA_PREFIX"]
                .into_iter()
                .filter_map(set)
                .map(PathBuf::from)
                .collect(),
            commands: folders(set("PATH")),
            home: set("HOME").map(PathBuf::from),
            here: std::env::current_dir().ok(),
            system,
        }
    }

    /// The folders, each with what it is, in the order in which they are looked at.
    fn folders(&self) -> Vec<(String, PathBuf)> {
        let mut all = Vec::new();
        let mut add = |what: &str, folder: PathBuf| {
            if !all.iter().any(|(_, known)| *known == folder) {
                all.push((what.to_owned(), folder));
            }
        };
        if let Some(home) = self.program.as_deref().and_then(Path::parent) {
            add("beside the program", home.to_path_buf());
            if let Some(above) = home.parent() {
                add("beside the program", above.join("lib"));
            }
        }
        let package = |site: &Path| site.join("onnxruntime/capi");
        for site in self.sites_of_the_program() {
            add("the Python environment of the program", package(&site));
        }
        for environment in &self.environments {
            sites(environment).for_each(|site| add("the active Python environment", package(&site)));
        }
        for prefix in self.prefixes_of_python() {
            sites(&prefix).for_each(|site| add("the environment of python3", package(&site)));
        }
        if let Some(home) = &self.home {
            sites(&home.join(".local")).for_each(|site| add("the user's Python packages", package(&site)));
        }
        if let Some(here) = &self.here {
            sites(&here.join(".venv")).for_each(|site| add("the Python environment .venv", package(&site)));
        }
        self.system.iter().for_each(|folder| add("the system's libraries", folder.clone()));
        all
    }

    /// Packages beside the program, where `pip` installed it: it lies among them, or in the environment's `bin`.
    fn sites_of_the_program(&self) -> Vec<PathBuf> {
        let Some(program) = &self.program else { return Vec::new() };
        let is_site = |folder: &&Path| {
            folder.file_name().is_some_and(|name| name == "site-packages" || name == "dist-packages")
        };
        let around = program.ancestors().skip(1).find(is_site).map(Path::to_path_buf);
        let prefix = program.parent().filter(|bin| bin.ends_with("bin")).and_then(Path::parent);
        around.into_iter().chain(prefix.into_iter().flat_map(sites)).collect()
    }

    /// Where `python3` of the path is installed: as it is called, which finds virtual environments, and behind its links.
    fn prefixes_of_python(&self) -> Vec<PathBuf> {
        let python =
            self.commands.iter().map(|folder| folder.join("python3")).find(|python| python.is_file());
        let real = python.as_deref().and_then(|python| python.canonicalize().ok());
        let prefix = |python: PathBuf| Some(python.parent()?.parent()?.to_path_buf());
        let mut prefixes: Vec<PathBuf> = python.into_iter().chain(real).filter_map(prefix).collect();
        // What pip installs for Debian's Python lies there.
        if prefixes.iter().any(|prefix| prefix == Path::new("/usr")) {
            prefixes.push(PathBuf::from("/usr/local"));
        }
        prefixes
    }
}

/// Folders of packages below the prefix of a Python installation; the newest Python first.
fn sites(prefix: &Path) -> impl Iterator<Item = PathBuf> {
    let mut pythons: Vec<(Vec<u32>, PathBuf)> = ["lib", "lib64"]
        .into_iter()
        .filter_map(|lib| std::fs::read_dir(prefix.join(lib)).ok())
        .flat_map(|entries| entries.flatten())
        .filter_map(|entry| {
            let name = entry.file_name();
            let number = name.to_str()?.strip_prefix("python")?;
            Some((numbers(number), entry.path()))
        })
        .collect();
    pythons.sort_by(|a, b| b.cmp(a));
    let kinds = ["site-packages", "dist-packages"];
    pythons
        .into_iter()
        .flat_map(move |(_, python)| kinds.map(|kind| python.join(kind)))
        .filter(|site| site.is_dir())
}

/// Libraries of ONNX Runtime in a folder; the highest number first, which is also the real file behind its links.
fn libraries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<(Vec<u32>, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let rest = name.to_str()?.strip_prefix("libonnxruntime.")?;
            let number = rest.strip_prefix("so").or_else(|| rest.strip_suffix("dylib"))?;
            let plain = number.chars().all(|c| c.is_ascii_digit() || c == '.');
            plain.then(|| (numbers(number), entry.path()))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, path)| path).collect()
}

fn numbers(text: &str) -> Vec<u32> {
    text.split('.').filter_map(|part| part.parse().ok()).collect()
}

/// The first library that can be used. One that the user named is the only one tried.
///
/// # Errors
/// What was named and cannot be used, and why; or every place that was looked in, and what to do.
pub(super) fn find(surroundings: &Surroundings) -> Result<OnnxRuntime, String> {
    let named = [
        (&surroundings.told, "named by --onnxruntime"),
        (&surroundings.ort_dylib_path, "named by ORT_DYLIB_PATH"),
    ];
    for (path, found) in named {
        let Some(path) = path else { continue };
        return match usable(path, found) {
            Ok(library) => Ok(library),
            Err(reason) => Err(format!("{} ({found}) {reason}", path.display())),
        };
    }
    let folders = surroundings.folders();
    let mut unusable = Vec::new();
    for (what, folder) in &folders {
        for path in libraries(folder) {
            match usable(&path, what) {
                Ok(library) => return Ok(library),
                Err(reason) => unusable.push(format!("{} {reason}", path.display())),
            }
        }
    }
    Err(not_found(&folders, &unusable))
}

fn usable(path: &Path, found: &str) -> Result<OnnxRuntime, String> {
    if !path.exists() {
        return Err("does not exist".into());
    }
    // Libraries beside it are found by its real place.
    let path = path.canonicalize().map_err(|e| format!("could not be resolved: {e}"))?;
    let version = version::of(&path)?;
    Ok(OnnxRuntime { path, version, found: found.to_owned() })
}

fn not_found(folders: &[(String, PathBuf)], unusable: &[String]) -> String {
    let mut text = String::from("ONNX Runtime's library was not found; looked in ");
    let mut last = "";
    for (index, (what, folder)) in folders.iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        let what_of_it = if what == last { String::new() } else { format!("{what}: ") };
        text += &format!("{separator}{what_of_it}{}", folder.display());
        last = what;
    }
    for reason in unusable {
        text += &format!("; {reason}");
    }
    text + "; `pip install onnxruntime` brings it, --onnxruntime and ORT_DYLIB_PATH name it"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, "no library").expect("written");
    }

    /// The places in which something was found, without the temporary folder.
    fn order(surroundings: &Surroundings, root: &Path) -> Vec<String> {
        let short = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
        surroundings
            .folders()
            .iter()
            .flat_map(|(_, folder)| libraries(folder))
            .map(|path| short(&path))
            .collect()
    }

    #[test]
    fn places_come_in_order_and_the_newest_library_first() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path().canonicalize().expect("resolved");
        let python = "python3.11/site-packages/onnxruntime/capi";
        for path in [
            "opt/bin/ooblex",
            "opt/bin/libonnxruntime.so",
            "opt/lib/libonnxruntime.so.1.20.0",
            "opt/lib/libonnxruntime_providers_cuda.so",
            "opt/lib/libonnxruntime.so.bak",
            &format!("venv/lib/{python}/libonnxruntime.so.1.9.0"),
            &format!("venv/lib/{python}/libonnxruntime.so.1.32.0"),
            "venv/lib/python3.9/site-packages/onnxruntime/capi/libonnxruntime.so.1.17.0",
            &format!("real/lib/{python}/libonnxruntime.so.1.23.0"),
            "real/bin/python3.11",
            &format!("work/.venv/lib/{python}/libonnxruntime.so.1.21.0"),
            "system/libonnxruntime.1.22.0.dylib",
        ] {
            touch(&root.join(path));
        }
        std::fs::create_dir_all(root.join("commands")).expect("made");
        std::os::unix::fs::symlink("../real/bin/python3.11", root.join("commands/python3")).expect("linked");
        let surroundings = Surroundings {
            program: Some(root.join("opt/bin/ooblex")),
            environments: vec![root.join("venv")],
            commands: vec![root.join("nothing"), root.join("commands")],
            here: Some(root.join("work")),
            system: vec![root.join("system")],
            ..Surroundings::default()
        };
        let expected = [
            "opt/bin/libonnxruntime.so".to_owned(),
            "opt/lib/libonnxruntime.so.1.20.0".to_owned(),
            format!("venv/lib/{python}/libonnxruntime.so.1.32.0"),
            format!("venv/lib/{python}/libonnxruntime.so.1.9.0"),
            "venv/lib/python3.9/site-packages/onnxruntime/capi/libonnxruntime.so.1.17.0".to_owned(),
            format!("real/lib/{python}/libonnxruntime.so.1.23.0"),
            format!("work/.venv/lib/{python}/libonnxruntime.so.1.21.0"),
            "system/libonnxruntime.1.22.0.dylib".to_owned(),
        ];
        assert_eq!(order(&surroundings, &root), expected);
    }

    #[test]
    fn a_program_that_pip_installed_finds_the_package_beside_it() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path().canonicalize().expect("resolved");
        let capi = root.join("lib/python3.12/site-packages/onnxruntime/capi/libonnxruntime.so.1.30.0");
        touch(&capi);
        for program in ["bin/ooblex", "lib/python3.12/site-packages/ooblex/ooblex"] {
            let surroundings = Surroundings { program: Some(root.join(program)), ..Surroundings::default() };
            let found =
                surroundings.folders().iter().flat_map(|(_, folder)| libraries(folder)).collect::<Vec<_>>();
            assert_eq!(found, std::slice::from_ref(&capi), "{program}");
        }
    }

    #[test]
    fn what_is_named_is_the_only_one_tried_and_what_is_unusable_is_told() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path().canonicalize().expect("resolved");
        touch(&root.join("libonnxruntime.so"));
        let none = Surroundings { system: vec![root.clone()], ..Surroundings::default() };
        let error = find(&none).expect_err("no library");
        assert!(error.contains("the system's libraries: ") && error.contains("pip install"), "{error}");
        assert!(error.contains("libonnxruntime.so is no library"), "{error}");
        let told = Surroundings { told: Some(root.join("missing.so")), ..none.clone() };
        let error = find(&told).expect_err("missing");
        assert!(error.ends_with("missing.so (named by --onnxruntime) does not exist"), "{error}");
        let variable = Surroundings { ort_dylib_path: Some(root.join("libonnxruntime.so")), ..none };
        let error = find(&variable).expect_err("no library");
        assert!(error.contains("(named by ORT_DYLIB_PATH) is no library"), "{error}");
    }
}
