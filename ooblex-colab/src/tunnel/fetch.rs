//! `ooblex-colab tunnel fetch-cloudflared`: the program of Cloudflare, of one version whose digest is known.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ooblex_models::manager::fetch::{FetchError, Fetcher, Progress, Pulled, Wanted};

use super::cloudflared;

/// Where releases lie.
const RELEASE: &str = "https://github.com/cloudflare/cloudflared/releases/download/2026.7.3/";
/// The file for Linux on x86-64: name, length and SHA-256. The program writes the same sum into its log when it starts.
const FILE: (&str, u64, &str) = (
    "cloudflared-linux-amd64",
    39_278_667,
    "9d71c677db00134c1bd4144b7783486b654ad281b1ea62b4972098d19f770f17",
);

/// Fetches the program and says where it is; whether it is there now.
///
/// # Errors
/// If it cannot be printed.
pub(crate) fn run(out: &mut dyn Write) -> io::Result<bool> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        writeln!(
            out,
            "error: there is no cloudflared here for {} on {}; install it and name it by --cloudflared-program",
            std::env::consts::OS,
            std::env::consts::ARCH
        )?;
        return Ok(false);
    }
    let Some(folder) = cloudflared::folder() else {
        writeln!(out, "error: there is no folder to put it into; set HOME or XDG_DATA_HOME")?;
        return Ok(false);
    };
    writeln!(out, "cloudflared 2026.7.3: Apache-2.0; {RELEASE}")?;
    let fetched = Wanted::new(FILE.0, FILE.1, FILE.2).and_then(|wanted| fetch(RELEASE, &wanted, &folder));
    match fetched {
        Ok(path) => writeln!(out, "    it is there: {}", path.display())?,
        Err(error) => {
            writeln!(out, "    error: {error}")?;
            return Ok(false);
        }
    }
    Ok(true)
}

/// Fetches a program into a folder, where it is then called `cloudflared` and may be run.
fn fetch(from: &str, wanted: &Wanted, folder: &Path) -> Result<PathBuf, FetchError> {
    let fetcher = Fetcher::new(from, folder)?;
    let said = &mut |progress: Progress| {
        if let Progress::Begun { total, .. } = progress {
            let _ = writeln!(io::stderr().lock(), "    {total} bytes");
        }
    };
    let file = match fetcher.pull(wanted, said)? {
        Pulled::WasThere(path) | Pulled::Came { path, .. } => path,
        _ => folder.join(&wanted.name),
    };
    let target = folder.join("cloudflared");
    let install = || -> io::Result<()> {
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        let beside = folder.join(".cloudflared.new");
        let _ = fs::remove_file(&beside);
        fs::hard_link(&file, &beside).or_else(|_| fs::copy(&file, &beside).map(drop))?;
        fs::rename(&beside, &target)
    };
    install().map_err(|error| FetchError::Write {
        name: wanted.name.clone(),
        folder: folder.to_owned(),
        reason: error.to_string(),
    })?;
    Ok(target)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use ooblex_models::manager::sha256;

    use super::*;

    /// Serves one file to everybody.
    fn serve(content: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let address = format!("http://{}/", listener.local_addr().expect("an address"));
        std::thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let mut head = [0; 4096];
                let _ = client.read(&mut head);
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    content.len()
                );
                let _ = client.write_all(head.as_bytes()).and_then(|()| client.write_all(content));
            }
        });
        address
    }

    #[test]
    fn the_program_is_checked_and_can_be_run() {
        let content = b"#!/bin/sh\necho it runs\n";
        let folder = tempfile::tempdir().expect("a folder");
        let wanted =
            |sum: &str| Wanted::new("cloudflared-linux-amd64", content.len() as u64, sum).expect("good");
        let from = serve(content);
        let wrong = fetch(&from, &wanted(FILE.2), folder.path()).expect_err("another file");
        assert!(matches!(wrong, FetchError::Changed { .. }), "{wrong}");
        assert!(!folder.path().join("cloudflared").exists());
        for _ in 0..2 {
            let path = fetch(&from, &wanted(&sha256(content)), folder.path()).expect("fetched");
            let output = std::process::Command::new(&path).output().expect("runs");
            assert_eq!(output.stdout, b"it runs\n");
        }
    }
}
