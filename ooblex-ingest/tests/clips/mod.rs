//! Reads the clips of this folder's neighbour `data`, and what another decoder made of them.

use std::path::PathBuf;

use ooblex_core::Image;

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "data", name].iter().collect()
}

/// The frames of an IVF file: a header of 32 bytes, then for each frame its length (4 bytes), its time (8) and its
/// data.
pub(crate) fn ivf(name: &str) -> Vec<(i64, Vec<u8>)> {
    let file = std::fs::read(path(name)).expect("a clip");
    let mut rest = file.strip_prefix(b"DKIF").expect("an IVF file").get(28..).expect("a whole header");
    let mut frames = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let (pts, tail) = tail.split_first_chunk::<8>().expect("a time");
        let (data, tail) = tail.split_at(u32::from_le_bytes(*length) as usize);
        frames.push((i64::from_le_bytes(*pts), data.to_vec()));
        rest = tail;
    }
    frames
}

/// What ffmpeg decoded: (time, Adler-32 of the packed planes) of each picture in the order of showing.
pub(crate) fn reference(name: &str) -> Vec<(i64, u32)> {
    let text = std::fs::read_to_string(path(name)).expect("a list of checksums");
    let line = |line: &str| {
        let (pts, sum) = line.split_once(" 0x")?;
        Some((pts.parse().ok()?, u32::from_str_radix(sum, 16).ok()?))
    };
    text.lines().map(|l| line(l).expect("time and checksum")).collect()
}

/// Adler-32 (RFC 1950 section 8.2) as ffmpeg's `framecrc` begins it: with 0 instead of 1.
pub(crate) fn checksum(image: &Image) -> u32 {
    let (mut a, mut b) = (0u32, 0u32);
    for &byte in &image.to_packed().expect("pixels") {
        a = (a + u32::from(byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    b << 16 | a
}
