//! A program that runs for as long as it is wanted: its output in lines, and its end.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::sync::{mpsc, oneshot, watch};

use super::die_with_parent;

/// Lines that wait to be read; a program that says more than is read has to wait.
const WAITING_LINES: usize = 256;
/// Longer lines are cut into several.
const LONGEST_LINE: u64 = 4096;
/// Between the signal that asks a program to end and the one that ends it.
const GRACE: Duration = Duration::from_secs(1);

/// A running program, in a process group of its own. It is killed when this is dropped, and with this process.
pub(super) struct Child {
    group: Group,
    lines: mpsc::Receiver<String>,
    ended: watch::Receiver<Option<ExitStatus>>,
}

/// The process group, as long as its number is surely its own.
#[derive(Clone)]
struct Group(Arc<Mutex<Option<Pid>>>);

impl Group {
    fn lock(&self) -> MutexGuard<'_, Option<Pid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = *self.lock() {
            // A group without members is what is wanted.
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Child {
    /// Starts a program. Its standard input stays open and silent.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) async fn start(mut command: Command) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        die_with_parent::arrange(&mut command);
        let (started, starting) = oneshot::channel();
        let (tell, ended) = watch::channel(None);
        let (send, lines) = mpsc::channel(WAITING_LINES);
        // The program lives as long as this thread, which therefore waits for it.
        thread::Builder::new().name("ooblex-tunnel".into()).spawn(move || {
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(error) => return drop(started.send(Err(error))),
            };
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            let group = Group(Arc::new(Mutex::new(pid)));
            let output = child.stdout.take().map(|out| forward(out, send.clone()));
            let errors = child.stderr.take().map(|err| forward(err, send));
            let refused = [output, errors].into_iter().flatten().find_map(Result::err);
            if let Some(error) = refused {
                group.signal(Signal::KILL);
                let _ = child.wait();
                return drop(started.send(Err(error)));
            }
            if started.send(Ok(group.clone())).is_err() {
                group.signal(Signal::KILL);
            }
            if let Some(pid) = pid {
                // The number stays taken until the program is reaped, so whoever is left in its group can be found by it.
                let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
                group.signal(Signal::KILL);
                *group.lock() = None;
            }
            tell.send_replace(child.wait().ok());
        })?;
        let group = starting.await.map_err(io::Error::other)??;
        Ok(Self { group, lines, ended })
    }

    /// The next line of its output or its errors; `None` when it has ended and said everything. Safe to cancel.
    pub(super) async fn line(&mut self) -> Option<String> {
        self.lines.recv().await
    }

    /// Waits for its end and says how that came.
    pub(super) async fn end(&mut self) -> String {
        match self.ended.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(status)) => in_words(*status),
            _ => "it has ended".to_owned(),
        }
    }

    /// Ends it: asks first, then makes it. Takes a second at most.
    pub(super) async fn stop(mut self) {
        self.group.signal(Signal::TERM);
        let _ = tokio::time::timeout(GRACE, self.end()).await;
        self.group.signal(Signal::KILL);
        let _ = tokio::time::timeout(GRACE, self.end()).await;
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.group.signal(Signal::KILL);
    }
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with status {code}"),
        (None, Some(signal)) => format!("it was ended by signal {signal}"),
        (None, None) => "it ended".to_owned(),
    }
}

/// Passes on what comes, line by line, until nothing comes any more.
fn forward(from: impl Read + Send + 'static, to: mpsc::Sender<String>) -> io::Result<()> {
    let reading = move || {
        let mut from = BufReader::new(from);
        let mut bytes = Vec::new();
        // After an error nothing comes any more either.
        while let Ok(1..) = from.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut bytes) {
            let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            bytes.clear();
            if !line.is_empty() && to.blocking_send(line).is_err() {
                // Nobody reads, but a program whose output is not taken would stand still.
                let _ = io::copy(&mut from, &mut io::sink());
                return;
            }
        }
    };
    thread::Builder::new().name("ooblex-tunnel-out".into()).spawn(reading).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    /// Whether a process is there and not just waiting to be reaped.
    fn is_alive(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
    }

    async fn gone(pid: &str) {
        for _ in 0..500 {
            if !is_alive(pid) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{pid} is still there");
    }

    #[tokio::test]
    async fn lines_and_the_end_are_told() {
        let mut child = Child::start(shell("echo one; echo two >&2; exit 3")).await.expect("starts");
        let mut lines = vec![child.line().await, child.line().await];
        lines.sort();
        assert_eq!(lines, [Some("one".to_owned()), Some("two".to_owned())]);
        assert_eq!(child.line().await, None);
        assert_eq!(child.end().await, "it ended with status 3");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_an_error() {
        let error = Child::start(Command::new("/nowhere/at/all")).await.err().expect("not there");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn whatever_it_started_ends_with_it() {
        let mut child =
            Child::start(shell("sleep 600 & echo $!; trap '' TERM; sleep 600")).await.expect("starts");
        let grandchild = child.line().await.expect("a number");
        assert!(is_alive(&grandchild));
        drop(child);
        gone(&grandchild).await;
        // Also where the program itself ends first.
        let mut child = Child::start(shell("sleep 600 & echo $!; exit 0")).await.expect("starts");
        let grandchild = child.line().await.expect("a number");
        assert_eq!(child.end().await, "it ended with status 0");
        gone(&grandchild).await;
    }

    #[tokio::test]
    async fn a_program_that_does_not_listen_is_ended_all_the_same() {
        let mut child =
            Child::start(shell("trap '' TERM; echo $$; while :; do sleep 1; done")).await.expect("starts");
        let pid = child.line().await.expect("a number");
        child.stop().await;
        gone(&pid).await;
    }

    #[tokio::test]
    async fn long_lines_are_cut() {
        let script = "head -c 10000 /dev/zero | tr '\\0' x; echo; echo end";
        let mut child = Child::start(shell(script)).await.expect("starts");
        let mut lengths = Vec::new();
        while let Some(line) = child.line().await {
            lengths.push(line.len());
        }
        assert_eq!(lengths, [4096, 4096, 1808, 3]);
    }
}
