//! Children that end with this process, whatever ends it.
#![allow(
    unsafe_code,
    reason = "what runs between fork and exec is bound by rules that the compiler does not know"
)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Has the system kill the child when the thread that starts it ends; also by SIGKILL of this process, which nothing else
/// could act on. The caller keeps that thread for as long as the child.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn arrange(command: &mut Command) {
    use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

    let parent = getpid();
    let before_exec = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have ended before the line above; then nobody would tell.
        match getppid() {
            Some(now) if now == parent => Ok(()),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    };
    // SAFETY: between fork and exec only async-signal-safe functions may be called. The closure makes two system calls
    // (prctl and getppid), allocates nothing, takes no lock and cannot panic; an `io::Error` of a kind or of a system
    // error number does not allocate.
    unsafe { command.pre_exec(before_exec) };
}

/// Elsewhere the children are ended when this process is told to stop.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn arrange(_: &mut Command) {}
