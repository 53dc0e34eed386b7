#![no_main]

#[path = "../src/live.rs"]
mod live;

libfuzzer_sys::fuzz_target!(|data: &[u8]| live::live_message(data));
