//! Programs that report in lines of JSON and take commands in lines of JSON.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::PATIENCE;
use crate::server::collect;
use crate::tools::Process;

/// A running program. It is killed when this goes away; what it wrote to its standard error is printed when the test
/// failed.
#[derive(Debug)]
pub struct Child {
    /// What it is called in messages.
    pub name: String,
    process: Process,
    input: Option<ChildStdin>,
    told: Arc<(Mutex<Told>, Condvar)>,
    errors: Arc<Mutex<String>>,
}

#[derive(Debug, Default)]
struct Told {
    lines: Vec<Value>,
    ended: bool,
}

impl Child {
    /// Starts a program. Run it in a namespace by calling this from a thread that is in it.
    #[track_caller]
    pub fn start(name: &str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let told = Arc::new((Mutex::new(Told::default()), Condvar::new()));
        let output = BufReader::new(child.stdout.take().unwrap());
        let (reader, errors) = (Arc::clone(&told), Arc::new(Mutex::new(String::new())));
        collect(child.stderr.take().unwrap(), &errors);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                reader.0.lock().unwrap().lines.push(line);
                reader.1.notify_all();
            }
            reader.0.lock().unwrap().ended = true;
            reader.1.notify_all();
        });
        let input = child.stdin.take();
        Self { name: name.to_owned(), process: Process(child), input, told, errors }
    }

    /// Sends a command.
    #[track_caller]
    pub fn command(&mut self, command: &Value) {
        let input = self.input.as_mut().expect("its input is open");
        writeln!(input, "{command}").and_then(|()| input.flush()).unwrap_or_else(|error| {
            panic!("{} takes no command: {error}; {}", self.name, self.errors.lock().unwrap())
        });
    }

    /// The first line from number `from` on that satisfies the condition, and its number; waits for it.
    ///
    /// # Panics
    /// When it did not come in time or the program ended before.
    #[track_caller]
    pub fn line(&self, what: &str, from: usize, condition: impl Fn(&Value) -> bool) -> (usize, Value) {
        self.line_within(PATIENCE, from, condition).unwrap_or_else(|lines| {
            let events: Vec<&Value> = lines.iter().filter(|line| line["event"] != "sent").collect();
            panic!("{}: no {what}; it told {events:?} and wrote {}", self.name, self.errors.lock().unwrap())
        })
    }

    /// Like [`Child::line`], in a given time.
    ///
    /// # Errors
    /// All lines, when there was none.
    pub fn line_within(
        &self,
        patience: Duration,
        from: usize,
        condition: impl Fn(&Value) -> bool,
    ) -> Result<(usize, Value), Vec<Value>> {
        let end = Instant::now() + patience;
        let mut told = self.told.0.lock().unwrap();
        let mut at = from;
        loop {
            for (number, line) in told.lines.iter().enumerate().skip(at) {
                if condition(line) {
                    return Ok((number, line.clone()));
                }
            }
            at = told.lines.len().max(from);
            let left = end.saturating_duration_since(Instant::now());
            if told.ended || left.is_zero() {
                return Err(told.lines.clone());
            }
            told = self.told.1.wait_timeout(told, left).unwrap().0;
        }
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<Value> {
        self.told.0.lock().unwrap().lines.clone()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// What it wrote to its standard error so far.
    pub fn errors(&self) -> String {
        self.errors.lock().unwrap().clone()
    }

    /// Closes its input, which ends a well-behaved program, and answers its exit code.
    #[track_caller]
    pub fn finish(&mut self) -> i32 {
        drop(self.input.take());
        match crate::server::wait_for_exit(&mut self.process.0, PATIENCE) {
            Some(status) => status.code().unwrap_or(-1),
            None => panic!("{} did not end: {}", self.name, self.errors()),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- errors of {}\n{}---", self.name, self.errors());
        }
    }
}
