//! A tunnel as a program, for tests: `flawed-tunnel PORT FLAW CONTROL` leads from a free port to the given one and prints
//! its address. What is written into the file CONTROL it does: `move` takes another port and prints that, `drop` ends it.

// A helper of tests.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use ooblex_tests::tunnel::{self, Flaw};

const LOOK_AGAIN: Duration = Duration::from_millis(20);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, flaw, control] = arguments.as_slice() else { panic!("PORT FLAW CONTROL") };
    let server = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
    let flaw = Flaw::named(flaw).expect("a flaw");
    println!("see https://docs.example.org for help");
    println!("forwarding http://{}/ to {server}", tunnel::start(server, flaw));
    let mut done = std::fs::read_to_string(control).unwrap_or_default().lines().count();
    loop {
        let wishes = std::fs::read_to_string(control).unwrap_or_default();
        for wish in wishes.lines().skip(done) {
            done += 1;
            match wish {
                "move" => println!("forwarding http://{}/ to {server}", tunnel::start(server, flaw)),
                "drop" => {
                    println!("the connection broke off");
                    std::process::exit(7);
                }
                other => panic!("{other:?}"),
            }
        }
        sleep(LOOK_AGAIN);
    }
}
