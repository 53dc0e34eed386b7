//! Privacy fails closed: whatever happens to an effect that protects it, no unprocessed picture leaves by any route.
//!
//! The server runs in this process, because its effect is the test's own; everything goes through sockets all the same.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use ooblex_colab::App;
use ooblex_colab::config::Config;
use ooblex_core::prelude::*;
use ooblex_tests::http::send;
use ooblex_tests::publisher::{Plan, Publisher};
use ooblex_tests::spies::{SECRET, Seen, Shows, Spies, look};
use ooblex_tests::wait_for;
use serde_json::{Value, json};

use crate::marked;

/// What the effect `veil` does to a frame that it has not veiled yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Act {
    /// What it should.
    Veil,
    Panic,
    Fatal,
    OutOfMemory,
    Late,
    /// Does not return until something else is to be done, and then with the frame as it was.
    Hang,
}

struct State {
    act: Act,
    may_load: bool,
    hung: usize,
}

/// Decides what all processors of the effect do.
struct Script {
    state: Mutex<State>,
    changed: Condvar,
}

impl Script {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn act(&self, act: Act) {
        self.lock().act = act;
        self.changed.notify_all();
    }

    fn let_load(&self, may_load: bool) {
        self.lock().may_load = may_load;
        self.changed.notify_all();
    }
}

/// Makes pictures grey. Says nothing of privacy itself: its kind does.
struct Veil(Arc<Script>);

impl FrameProcessor for Veil {
    fn process(&mut self, frame: &mut Frame, _: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let mut state = self.0.lock();
        if state.act == Act::Veil {
            for mut plane in frame.image.make_i420()? {
                plane.fill(128);
            }
            return Ok(Verdict::Emit);
        }
        let secret = Annotation::new(AnnotationKind::Label, SECRET, 1.0, "veil");
        frame.annotations.push(secret);
        match state.act {
            Act::Panic => {
                drop(state);
                panic!("on purpose")
            }
            Act::Fatal => Err(ProcessError::Fatal("for good".into())),
            Act::OutOfMemory => Err("out of memory".into()),
            Act::Late => Err("past its deadline".into()),
            Act::Hang | Act::Veil => {
                state.hung += 1;
                let released = self.0.changed.wait_while(state, |s| s.act == Act::Hang).unwrap();
                drop(released);
                Ok(Verdict::Emit)
            }
        }
    }

    fn warm_up(&mut self) -> Result<(), BoxError> {
        drop(self.0.changed.wait_while(self.0.lock(), |s| !s.may_load).unwrap());
        Ok(())
    }
}

/// A server in this process with the effect `veil`.
struct Site {
    addr: SocketAddr,
    script: Arc<Script>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Site {
    fn start(effect: &str, may_load: bool) -> Self {
        let state = Mutex::new(State { act: Act::Veil, may_load, hung: 0 });
        let script = Arc::new(Script { state, changed: Condvar::new() });
        let (theirs, effect) = (script.clone(), effect.to_owned());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (started, addr) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.unwrap().block_on(async move {
                let mut config = Config::default();
                (config.mjpeg_port, config.model_name) = (0, effect);
                let register = move |registry: &mut Registry| {
                    let kind = KindSpec::new("veil", "makes pictures grey").needs_model("veil");
                    registry.add(kind.on_failure(FailurePolicy::Blank), move |_: &Options| {
                        Ok::<_, BoxError>(Veil(theirs.clone()))
                    });
                };
                let server = App::new().with(register).start(config).await.unwrap();
                started.send(server.addresses()[0]).unwrap();
                let _ = stopped.await;
                server.stop().await;
            });
        });
        let addr = addr.recv().expect("starts");
        Self { addr, script, stop: Some(stop), thread: Some(thread) }
    }

    fn get(&self, target: &str) -> Value {
        send(self.addr, "GET", target, &[], &[]).expect(200).json()
    }

    /// The entry of `/status`.
    fn stream(&self, id: &str) -> Option<Value> {
        self.get("/status")["streams"].as_array().unwrap().iter().find(|s| s["id"] == id).cloned()
    }

    fn wait_for_state(&self, id: &str, state: &str) -> Value {
        wait_for(state, || self.stream(id).filter(|s| s["effect_state"] == state))
    }

    fn publish(&self, stream: &str) -> Publisher {
        let publisher = Publisher::start(self.addr, stream, 1, Plan::default());
        wait_for("the stream", || self.stream(stream));
        publisher
    }

    fn upload(&self, stream: &str, counter: u32) {
        send(self.addr, "POST", &format!("/upload?stream={stream}"), &[], &marked(1, counter)).expect(200);
    }

    fn switch(&self, stream: &str, effect: &str) {
        let body = json!({ "effect": effect }).to_string();
        let target = format!("/streams/{stream}/effect");
        let json = [("Content-Type", "application/json")];
        send(self.addr, "POST", &target, &json, body.as_bytes()).expect(200);
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Nothing that the test holds up may hold up the end.
        self.script.act(Act::Veil);
        self.script.let_load(true);
        drop(self.stop.take());
        let ended = self.thread.take().map(std::thread::JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_some_and(|result| result.is_ok()));
    }
}

/// Waits until every route of pictures has shown this anew.
fn all_see(spies: &Spies, what: Shows) {
    let from = spies.seen().len();
    wait_for(&format!("{what:?} everywhere"), || spies.all_saw(from, |shows| shows == what).then_some(()));
}

fn nothing_leaked(seen: &[Seen]) {
    let leaks: Vec<_> = seen.iter().filter(|s| matches!(s.shows, Some(Shows::Mark(_)) | None)).collect();
    assert!(leaks.is_empty(), "{} of {} leaked: {:?}", leaks.len(), seen.len(), &leaks[..leaks.len().min(5)]);
}

#[test]
fn from_the_start_and_while_the_effect_is_loaded() {
    let site = Site::start("veil", false);
    assert_eq!(site.get("/health")["status"], "healthy", "it did not wait for the model");
    let publisher = site.publish("cam");
    let spies = Spies::on(site.addr, "cam");
    all_see(&spies, Shows::Black);
    let status = site.wait_for_state("cam", "loading");
    assert_eq!((&status["effect"], &status["failure"]), (&json!("veil"), &Value::Null));
    site.script.let_load(true);
    all_see(&spies, Shows::Grey);
    site.wait_for_state("cam", "running");
    // And while it is loaded anew, between two generations of itself.
    for _ in 0..5 {
        site.switch("cam", "veil|none");
        all_see(&spies, Shows::Grey);
        site.switch("cam", "veil");
    }
    wait_for("enough pictures", || site.stream("cam").filter(|s| s["processed"].as_u64() > Some(30)));
    assert!(spies.live_saw(Shows::Black) && spies.live_saw(Shows::Grey));
    nothing_leaked(&spies.stop());
    assert!(publisher.stop().len() > 30);
}

#[test]
fn after_each_kind_of_failure_until_it_is_built_again() {
    let site = Site::start("veil", true);
    for act in [Act::Panic, Act::Fatal, Act::OutOfMemory, Act::Late] {
        let name = format!("{act:?}");
        let publisher = site.publish(&name);
        let spies = Spies::on(site.addr, &name);
        all_see(&spies, Shows::Grey);
        site.script.act(act);
        all_see(&spies, Shows::Black);
        let status = site.wait_for_state(&name, "failed");
        let failure = status["failure"].as_str().expect("a reason").to_owned();
        assert!(failure.starts_with("its effect failed: "), "{failure}");
        assert_eq!(site.get("/health")["status"], "degraded");
        site.script.act(Act::Veil);
        all_see(&spies, Shows::Grey);
        site.wait_for_state(&name, "running");
        nothing_leaked(&spies.stop());
        drop(publisher);
    }
}

#[test]
fn while_it_hangs_and_when_it_comes_back_late() {
    let site = Site::start("none", true);
    let (publisher, other) = (site.publish("cam"), site.publish("other"));
    site.switch("cam", "veil");
    let spies = Spies::on(site.addr, "cam");
    all_see(&spies, Shows::Grey);
    site.script.act(Act::Hang);
    wait_for("the hang", || (site.script.lock().hung > 0).then_some(()));
    // Meanwhile the other stream goes on.
    let processed = |id: &str| site.stream(id).map_or(0, |s| s["processed"].as_u64().unwrap());
    let (before, others) = (processed("cam"), processed("other"));
    wait_for("frames of the other stream", || (processed("other") > others + 30).then_some(()));
    assert_eq!(processed("cam"), before, "it still hangs");
    let status = site.wait_for_state("cam", "failed");
    let failure = status["failure"].as_str().expect("a reason");
    assert!(failure.contains("it did not return within 10s"), "{failure}");
    all_see(&spies, Shows::Black);
    // The frame comes back as it was; the effect is built again.
    site.script.act(Act::Veil);
    all_see(&spies, Shows::Grey);
    nothing_leaked(&spies.stop());
    drop((publisher, other));
}

#[test]
fn pictures_from_before_the_switch_are_not_shown_again() {
    let site = Site::start("none", true);
    // A stream that stands still, whose last picture is kept and repeated.
    site.upload("cam", 7);
    let spies = Spies::on(site.addr, "cam");
    all_see(&spies, Shows::Mark(7));
    site.switch("cam", "veil");
    let routes =
        ["snapshot.jpg", "snapshot.jpg?width=160", "snapshot.png"].map(|r| format!("/streams/cam/{r}"));
    for route in &routes {
        assert_eq!(look(site.addr, route), None, "{route}");
    }
    let after = Spies::on(site.addr, "cam");
    wait_for("the placeholder", || after.seen().iter().any(|s| s.shows == Some(Shows::Other)).then_some(()));
    site.upload("cam", 8);
    all_see(&after, Shows::Grey);
    nothing_leaked(&after.stop());
    // Those who watched before see the old picture no more once they have seen something else.
    let seen = spies.stop();
    assert!(!seen.iter().any(|s| s.shows == Some(Shows::Mark(8))));
    for route in seen.iter().map(|s| s.route.clone()).collect::<std::collections::BTreeSet<_>>() {
        let mut here = seen.iter().filter(|s| s.route == route).map(|s| s.shows);
        here.find(|shows| !matches!(shows, Some(Shows::Mark(7))));
        assert!(!here.any(|shows| matches!(shows, Some(Shows::Mark(_)))), "{route}");
    }
}

#[test]
fn pictures_that_arrive_after_a_switch_are_never_shown_bare() {
    let site = Site::start("none", true);
    let publisher = site.publish("cam");
    let spies = Spies::on(site.addr, "cam");
    for _ in 0..10 {
        let marks = spies.seen().len();
        wait_for("bare pictures", || {
            spies.all_saw(marks, |shows| matches!(shows, Shows::Mark(_))).then_some(())
        });
        site.switch("cam", "veil");
        let uploaded = publisher.accepted();
        let after = Spies::on(site.addr, "cam");
        all_see(&after, Shows::Grey);
        nothing_leaked(&after.stop());
        let bare = spies.seen().iter().any(|s| matches!(s.shows, Some(Shows::Mark(n)) if n > uploaded));
        assert!(
            !bare,
            "one that came after number {uploaded}, which was under way when the switch was answered"
        );
        site.switch("cam", "none");
    }
    spies.stop();
    drop(publisher);
}
