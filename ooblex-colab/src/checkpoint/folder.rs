//! A folder of checkpoints that several servers may share.
//!
//! Every server writes files of its own, `ooblex-RUNTIME-SERIAL.checkpoint`, and holds a lock on `ooblex-RUNTIME.lock` as
//! long as it runs: nobody overwrites, removes or continues what a running server of this machine writes. The system
//! lets go of a lock when its process ends, however it ends.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::document::{Checkpoint, MAX_BYTES, Unreadable};
use super::usage::Usage;
use crate::nonce::nonce;

/// Files that a server keeps of its own: if the newest is damaged, there is one before it.
const KEEP_OWN: u64 = 3;
/// Servers of the past whose files are kept.
const KEEP_OTHERS: usize = 8;
const ENDING: &str = ".checkpoint";
const TEMPORARY: &str = ".tmp";
const LOCK: &str = ".lock";

/// The place where one server writes.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    runtime: String,
    /// Number of the newest file.
    serial: u64,
    /// Held until this goes away.
    _lock: Option<File>,
}

/// A checkpoint that may be continued: while this is held nobody else continues it.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) checkpoint: Checkpoint,
    /// The file's name.
    pub(super) file: String,
    _lock: Option<File>,
}

impl Folder {
    /// Makes the folder if there is none, and a name in it for this server.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let runtime = nonce::<8>().ok_or_else(|| io::Error::other("the system gives no random numbers"))?;
        // Locked before it has its name, so that nobody takes it for one that was left behind.
        let (new, lock) = (path.join(format!("ooblex-{runtime}{TEMPORARY}")), lock_path(path, &runtime));
        let file = OpenOptions::new().write(true).create_new(true).open(&new)?;
        let lock_held = match file.try_lock() {
            Ok(()) => Some(file),
            Err(error) => {
                tracing::warn!(%error, "this folder cannot lock; of two servers with --resume both may continue the same checkpoint");
                None
            }
        };
        std::fs::rename(&new, lock)?;
        Ok(Self { path: path.to_owned(), runtime, serial: 0, _lock: lock_held })
    }

    /// The name of this server here.
    pub(super) fn runtime(&self) -> &str {
        &self.runtime
    }

    /// Writes a checkpoint so that after a crash at any moment either it is there in full or the one before. Blocks.
    pub(super) fn write(&mut self, file: &[u8]) -> io::Result<()> {
        let serial = self.serial + 1;
        let name = file_name(&self.runtime, serial);
        let temporary = self.path.join(format!("{name}{TEMPORARY}"));
        let written = write_through(&temporary, file)
            .and_then(|()| std::fs::rename(&temporary, self.path.join(&name)))
            .and_then(|()| sync_folder(&self.path));
        if let Err(error) = written {
            // On a full disk the half of it is in the way.
            let _ = std::fs::remove_file(&temporary);
            return Err(error);
        }
        self.serial = serial;
        if let Some(old) = serial.checked_sub(KEEP_OWN) {
            // It may have been removed by hand.
            let _ = std::fs::remove_file(self.path.join(file_name(&self.runtime, old)));
        }
        if serial == 1
            && let Err(error) = self.tidy()
        {
            tracing::warn!(%error, "old checkpoints could not be removed");
        }
        Ok(())
    }

    /// Removes what servers of the past have left, but for the newest few. Blocks.
    fn tidy(&self) -> io::Result<()> {
        let mut entries = entries(&self.path)?;
        entries.retain(|entry| !entry.runtime.is_empty());
        let newest = |runtime: &str| {
            let of = entries.iter().filter(|e| e.runtime == runtime && e.serial.is_some());
            of.filter_map(|e| self.path.join(&e.name).metadata().and_then(|m| m.modified()).ok()).max()
        };
        // Of one that was killed while it started there is nothing but its lock.
        let mut runtimes: Vec<_> =
            entries.iter().map(|e| e.runtime.clone()).chain(locked(&self.path)?).collect();
        runtimes.sort();
        runtimes.dedup();
        runtimes.retain(|runtime| *runtime != self.runtime);
        runtimes.sort_by_cached_key(|runtime| std::cmp::Reverse(newest(runtime)));
        for runtime in runtimes.into_iter().skip(KEEP_OTHERS) {
            let Ok(_lock) = try_lock(&self.path, &runtime) else { continue };
            for entry in entries.iter().filter(|entry| entry.runtime == runtime) {
                std::fs::remove_file(self.path.join(&entry.name))?;
            }
            std::fs::remove_file(lock_path(&self.path, &runtime))?;
        }
        Ok(())
    }
}

/// The newest checkpoint that nobody uses, and why others were left alone. Blocks.
pub(super) fn newest(path: &Path) -> io::Result<(Option<Claim>, Vec<String>)> {
    let mut ignored = Vec::new();
    let mut good: Vec<(u64, String)> = Vec::new();
    for entry in entries(path)? {
        if entry.name.ends_with(TEMPORARY) {
            // Of a running server it will be.
            if try_lock(path, &entry.runtime).is_ok() {
                ignored.push(format!("{}: it was not written to its end", entry.name));
            }
            continue;
        }
        match read(&path.join(&entry.name)) {
            Ok(checkpoint) if entry.serial.is_some() => good.push((checkpoint.saved_ms, entry.runtime)),
            Ok(_) => ignored.push(format!("{}: its name is not that of a checkpoint", entry.name)),
            Err(reason) => ignored.push(format!("{}: {reason}", entry.name)),
        }
    }
    good.sort_by(|a, b| b.cmp(a));
    let mut asked: Vec<String> = Vec::new();
    for (_, runtime) in good {
        if asked.contains(&runtime) {
            continue;
        }
        let lock = match try_lock(path, &runtime) {
            Ok(lock) => lock,
            Err(reason) => {
                ignored.push(format!("those of {runtime}: {reason}"));
                asked.push(runtime);
                continue;
            }
        };
        // Its server may have written another one before it ended.
        let own = entries(path)?.into_iter().filter(|e| e.runtime == runtime).collect();
        let found = last_good(path, own);
        if let Some((checkpoint, file)) = found {
            return Ok((Some(Claim { checkpoint, file, _lock: lock }), ignored));
        }
        asked.push(runtime);
    }
    Ok((None, ignored))
}

/// What all servers together, those that run included, have used of their tunnels. Blocks.
pub(super) fn usage_of_all(path: &Path) -> io::Result<Usage> {
    let mut by_runtime: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for entry in entries(path)?.into_iter().filter(|entry| entry.serial.is_some()) {
        by_runtime.entry(entry.runtime.clone()).or_default().push(entry);
    }
    let mut usage = Usage::default();
    for (checkpoint, _) in by_runtime.into_values().filter_map(|own| last_good(path, own)) {
        usage.merge(checkpoint.tunnels);
    }
    Ok(usage)
}

/// The newest of one server's files that can be read, and its name.
fn last_good(path: &Path, mut own: Vec<Entry>) -> Option<(Checkpoint, String)> {
    own.sort_by_key(|entry| entry.serial);
    own.into_iter().rev().find_map(|entry| Some((read(&path.join(&entry.name)).ok()?, entry.name)))
}

/// A file in the folder.
#[derive(Debug)]
struct Entry {
    name: String,
    /// Empty if the name does not tell.
    runtime: String,
    /// `None` if it was not written to its end, or its name does not tell.
    serial: Option<u64>,
}

fn entries(path: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        let named = name.strip_suffix(ENDING).map(|stem| parse(stem).map(|(r, s)| (r, Some(s))));
        let half = name.strip_suffix(TEMPORARY).and_then(|n| n.strip_suffix(ENDING)).and_then(parse);
        match (named, half) {
            (Some(known), _) => {
                let (runtime, serial) = known.unwrap_or_default();
                entries.push(Entry { name, runtime, serial });
            }
            (None, Some((runtime, _))) => entries.push(Entry { name, runtime, serial: None }),
            (None, None) => {}
        }
    }
    Ok(entries)
}

fn file_name(runtime: &str, serial: u64) -> String {
    format!("ooblex-{runtime}-{serial:010}{ENDING}")
}

/// The runtime and the serial number in a file's name without its ending.
fn parse(stem: &str) -> Option<(String, u64)> {
    let (runtime, serial) = stem.strip_prefix("ooblex-")?.split_once('-')?;
    Some((runtime.to_owned(), serial.parse().ok()?)).filter(|_| is_runtime(runtime))
}

fn is_runtime(name: &str) -> bool {
    name.len() == 16 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

fn lock_path(folder: &Path, runtime: &str) -> PathBuf {
    folder.join(format!("ooblex-{runtime}{LOCK}"))
}

/// Every server that has left a lock.
fn locked(folder: &Path) -> io::Result<Vec<String>> {
    let names = std::fs::read_dir(folder)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let runtime = |name: String| {
        let runtime = name.strip_prefix("ooblex-")?.strip_suffix(LOCK)?;
        is_runtime(runtime).then(|| runtime.to_owned())
    };
    Ok(names.filter_map(runtime).collect())
}

/// The lock of a server that has ended, or why it cannot be had. `None` where a folder has no locks.
fn try_lock(folder: &Path, runtime: &str) -> Result<Option<File>, String> {
    let path = lock_path(folder, runtime);
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    let file = file.map_err(|error| format!("its lock cannot be opened: {error}"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err("another server uses it".into()),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// Writes a file and waits until the disk has it.
fn write_through(path: &Path, data: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(data)?;
    file.sync_all()
}

fn read(path: &Path) -> Result<Checkpoint, String> {
    let read = || {
        let mut data = Vec::new();
        File::open(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut data)?;
        Ok(data)
    };
    let data: io::Result<Vec<u8>> = read();
    let data = data.map_err(|error| format!("it cannot be read: {error}"))?;
    Checkpoint::decode(&data).map_err(|error: Unreadable| error.to_string())
}

/// Has the system note the new name on the disk. File systems in user space, such as that of a mounted Drive, may not
/// know this; their own order of writing is all there is then.
fn sync_folder(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Ok(())
        }
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::usage::tests::example;

    fn checkpoint(saved_ms: u64) -> Checkpoint {
        Checkpoint { saved_ms, ..Checkpoint::default() }
    }

    fn write(folder: &mut Folder, saved_ms: u64) {
        folder.write(&checkpoint(saved_ms).encode().expect("small")).expect("written");
    }

    fn names(path: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(path).expect("a folder");
        let mut names: Vec<_> =
            entries.map(|e| e.expect("one").file_name().into_string().expect("text")).collect();
        names.sort();
        names
    }

    #[test]
    fn the_newest_good_one_is_continued_and_the_others_are_named() {
        let temp = tempfile::tempdir().expect("a folder");
        let mut past = Folder::open(temp.path()).expect("opened");
        (1..=5).for_each(|n| write(&mut past, n * 10));
        assert_eq!(names(temp.path()).len(), 3 + 1, "three and the lock: {:?}", names(temp.path()));
        let last = temp.path().join(file_name(past.runtime(), 5));
        let whole = std::fs::read(&last).expect("there");
        std::fs::write(&last, &whole[..whole.len() / 2]).expect("cut");
        std::fs::write(temp.path().join("notes.checkpoint"), "mine").expect("written");
        drop(past);
        let (claim, mut ignored) = newest(temp.path()).expect("read");
        assert_eq!(claim.expect("one is good").checkpoint, checkpoint(40));
        ignored.sort();
        assert!(ignored[0].starts_with("notes.checkpoint: it does not begin"), "{ignored:?}");
        assert!(ignored[1].ends_with("not written to its end"), "{ignored:?}");
        assert_eq!(ignored.len(), 2);
    }

    #[test]
    fn what_a_running_server_writes_is_neither_continued_nor_removed() {
        let temp = tempfile::tempdir().expect("a folder");
        let mut first = Folder::open(temp.path()).expect("opened");
        let mut second = Folder::open(temp.path()).expect("opened");
        write(&mut first, 10);
        write(&mut second, 20);
        let (claim, ignored) = newest(temp.path()).expect("read");
        assert!(claim.is_none() && ignored.len() == 2, "{ignored:?}");
        assert!(ignored.iter().all(|reason| reason.ends_with("another server uses it")), "{ignored:?}");
        drop(first);
        let (claim, _) = newest(temp.path()).expect("read");
        let claim = claim.expect("that of the first");
        assert_eq!(claim.checkpoint.saved_ms, 10);
        // What one continues, nobody else does.
        assert!(newest(temp.path()).expect("read").0.is_none());
    }

    #[test]
    fn what_tunnels_have_used_is_the_most_that_anybody_has_kept_last() {
        let temp = tempfile::tempdir().expect("a folder");
        let mut folders = [(); 2].map(|()| Folder::open(temp.path()).expect("opened"));
        let used = |bytes| Checkpoint { tunnels: example(bytes), ..Checkpoint::default() };
        for (folder, bytes) in [(0, 10), (0, 30), (1, 20)] {
            folders[folder].write(&used(bytes).encode().expect("small")).expect("written");
        }
        assert_eq!(usage_of_all(temp.path()).expect("read"), example(30), "also of those that run");
        std::fs::write(temp.path().join(file_name(folders[0].runtime(), 2)), "damaged").expect("written");
        assert_eq!(usage_of_all(temp.path()).expect("read"), example(20));
        assert!(usage_of_all(&temp.path().join("nowhere")).is_err());
    }

    #[test]
    fn old_files_are_bounded() {
        let temp = tempfile::tempdir().expect("a folder");
        let mut running = Folder::open(temp.path()).expect("opened");
        write(&mut running, 1);
        for n in 0..20 {
            drop(Folder::open(temp.path()).expect("one that was killed while it started"));
            let mut past = Folder::open(temp.path()).expect("opened");
            write(&mut past, n);
            std::fs::write(temp.path().join(file_name(past.runtime(), 2) + TEMPORARY), "half")
                .expect("written");
        }
        let now = Folder::open(temp.path()).expect("opened");
        now.tidy().expect("tidied");
        let names = names(temp.path());
        let count = |ending: &str| names.iter().filter(|name| name.ends_with(ending)).count();
        assert!(count(ENDING) <= KEEP_OTHERS + 1, "{names:?}");
        assert!(count(TEMPORARY) <= KEEP_OTHERS, "{names:?}");
        assert!(count(LOCK) <= KEEP_OTHERS + 2, "{names:?}");
        assert!(names.contains(&file_name(running.runtime(), 1)), "a running one's is kept");
    }
}
