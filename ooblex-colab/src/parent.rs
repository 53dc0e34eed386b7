//! Stopping with the program that started this one.

use std::io;
use std::thread;

use tokio::sync::oneshot;

/// Watches standard input, which ends when whoever holds its other end closes it or is gone, killed or not. What comes by
/// it is thrown away. The receiver resolves at the end.
///
/// # Errors
/// If no thread can be started for it.
pub(crate) fn watch_stdin() -> io::Result<oneshot::Receiver<()>> {
    let (reading, ended) = oneshot::channel::<()>();
    // A thread of its own, because reading cannot be broken off; the process does not wait for it.
    thread::Builder::new().name("ooblex-stdin".into()).spawn(move || {
        // A failure is an end, too.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        drop(reading);
    })?;
    Ok(ended)
}
