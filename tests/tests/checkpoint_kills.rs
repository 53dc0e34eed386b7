//! Servers that are killed at moments that chance chooses: whatever was acknowledged is there afterwards.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ooblex_tests::PATIENCE;
use ooblex_tests::server::{self, Server};
use serde_json::{Value, json};

use crate::checkpoints::{resumed, start};

const KILLS: u64 = 50;
/// Longest time between the last request and the kill, in milliseconds: about what a switch and its checkpoint take.
const MOMENT_MS: u64 = 20;
/// After this long the server answers also where the disk does not: then nothing is promised.
const PROMISED_WITHIN: Duration = Duration::from_secs(2);
/// Protecting effects are acknowledged when they are in a checkpoint, the others may be lost.
const EFFECTS: [&str; 4] = ["pixelate_faces", "sepia", "pixelate_faces|sepia", "blur"];

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// What is known of the choices so far.
#[derive(Default)]
struct Known {
    /// By number, as the server answered.
    acknowledged: BTreeMap<u64, &'static str>,
    /// The oldest number that may be found.
    floor: u64,
    /// What was asked for last, perhaps without an answer.
    pending: &'static str,
    received: u64,
}

impl Known {
    fn switch(&mut self, server: &Server, effect: &'static str) {
        let asked = Instant::now();
        let answer = server.post_json("/effect", &json!({ "effect": effect })).expect(200).json();
        let generation = answer["generation"].as_u64().expect("a number");
        self.answered(generation, effect, asked.elapsed());
    }

    fn answered(&mut self, generation: u64, effect: &'static str, took: Duration) {
        self.acknowledged.insert(generation, effect);
        if effect.contains("pixelate_faces") && took < PROMISED_WITHIN {
            self.floor = generation;
        }
    }

    /// What the server says is in a file has to be found, too.
    fn note_saved(&mut self, server: &Server) {
        let checkpoint = &server.json("/status")["checkpoint"];
        self.floor = self.floor.max(checkpoint["saved_generation"].as_u64().unwrap_or(0));
        self.received = self.received.max(checkpoint["totals"]["received"].as_u64().unwrap_or(0));
    }

    #[track_caller]
    fn check(&mut self, server: &Server) {
        let status = server.json("/status");
        let found = resumed(&status);
        if self.floor == 0 && found.is_null() {
            return;
        }
        let generation =
            found["generation"].as_u64().unwrap_or_else(|| panic!("nothing to resume: {status}"));
        assert!(generation >= self.floor, "{generation} is older than {}: {found}", self.floor);
        let effect = found["effect"].as_str().unwrap_or_default();
        match self.acknowledged.get(&generation) {
            Some(chosen) => assert_eq!(effect, *chosen, "{found}"),
            None => assert!(generation == 0 || effect == self.pending, "{found} was never asked for"),
        }
        // What was lost is lost: its number goes to another choice.
        self.acknowledged.retain(|number, _| *number < generation);
        let known = EFFECTS.into_iter().find(|known| *known == effect);
        self.acknowledged.extend(known.map(|known| (generation, known)));
        if generation > 0 {
            assert_eq!((&status["effect"], &status["generation"]), (&found["effect"], &found["generation"]));
        }
        let totals = &status["checkpoint"]["totals"];
        assert!(totals.is_null() || totals["received"].as_u64() >= Some(self.received), "{totals}");
    }
}

/// Sends a request to switch and does not wait for the answer.
fn ask_only(server: &Server, effect: &str) -> TcpStream {
    let body = json!({ "effect": effect }).to_string();
    let mut socket = TcpStream::connect(server.addr).unwrap();
    let head = format!(
        "POST /effect HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        server.addr,
        body.len()
    );
    socket.write_all((head + &body).as_bytes()).unwrap();
    socket
}

fn kill(mut server: Server) {
    server.signal("KILL");
    assert!(server.wait_for_exit(PATIENCE).is_some());
}

#[test]
fn after_fifty_kills_at_random_what_was_acknowledged_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (mut dice, mut known) = (Dice(20), Known::default());
    for _ in 0..KILLS {
        if dice.roll(4) == 0 {
            // One that is killed while it starts must not take anything with it.
            let mut command = server::command();
            command.args(["--mjpeg-port=0", "--resume", "--checkpoint-dir"]).arg(folder.path());
            let mut child = command
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_millis(dice.roll(10 * MOMENT_MS)));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let server = start(folder.path(), &["--resume"]);
        known.check(&server);
        for _ in 0..dice.roll(3) {
            known.switch(&server, EFFECTS[dice.roll(4) as usize]);
        }
        known.note_saved(&server);
        let last = EFFECTS[dice.roll(4) as usize];
        known.pending = last;
        let asked = Instant::now();
        let mut socket = ask_only(&server, last);
        std::thread::sleep(Duration::from_millis(dice.roll(MOMENT_MS)));
        kill(server);
        let took = asked.elapsed();
        // An answer that came before the kill counts.
        let mut answer = String::new();
        let _ = socket.read_to_string(&mut answer);
        let body =
            answer.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str::<Value>(body).ok());
        if let Some(generation) = body.and_then(|body| body["generation"].as_u64()) {
            known.answered(generation, last, took);
        }
    }
    let server = start(folder.path(), &["--resume"]);
    known.check(&server);
    assert!(known.floor > 0, "nothing was acknowledged");
}
