#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ooblex_fuzz::decode_vp8(data));
