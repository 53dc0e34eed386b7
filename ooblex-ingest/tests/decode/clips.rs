//! Reads the clips of the folder `data`, and what another decoder made of them.

use std::path::{Path, PathBuf};

use ooblex_core::Image;

/// A file of the folder `data`; an absolute path stays as it is.
fn path(name: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The frames of an IVF file: a header of 32 bytes, then for each frame its length (4 bytes), its time (8) and its
/// data.
pub(crate) fn ivf(name: impl AsRef<Path>) -> Vec<(i64, Vec<u8>)> {
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

/// One access unit of an H.264 clip.
pub(crate) struct Unit {
    pub(crate) pts: i64,
    pub(crate) key: bool,
    /// Annex B, parameter sets before key frames.
    pub(crate) data: Vec<u8>,
}

/// The access units of an MP4 file in the order of decoding.
pub(crate) fn h264(name: impl AsRef<Path>) -> Vec<Unit> {
    use re_mp4::StsdBoxContent;
    let file = std::fs::read(path(name)).expect("a clip");
    let mp4 = re_mp4::Mp4::read_bytes(&file).expect("an MP4 file");
    let track = mp4.tracks().values().next().expect("a track");
    let StsdBoxContent::Avc1(avc) = &track.trak(&mp4).mdia.minf.stbl.stsd.contents else { panic!("H.264") };
    let sets = avc.avcc.sequence_parameter_sets.iter().chain(&avc.avcc.picture_parameter_sets);
    let sets: Vec<u8> = sets.flat_map(|set| [&[0, 0, 0, 1], &set.bytes[..]].concat()).collect();
    let unit = |sample: &re_mp4::Sample| {
        let mut data = if sample.is_sync { sets.clone() } else { Vec::new() };
        let mut rest = &file[sample.offset as usize..][..sample.size as usize];
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let (nal, tail) = tail.split_at(u32::from_be_bytes(*length) as usize);
            data.extend_from_slice(&[0, 0, 0, 1]);
            data.extend_from_slice(nal);
            rest = tail;
        }
        Unit { pts: sample.composition_timestamp, key: sample.is_sync, data }
    };
    track.samples.iter().map(unit).collect()
}

/// Where the start codes of an access unit are (four bytes each, as [`h264`] makes them).
pub(crate) fn nal_starts(unit: &[u8]) -> Vec<usize> {
    unit.windows(4).enumerate().filter(|(_, w)| *w == [0, 0, 0, 1]).map(|(at, _)| at).collect()
}

/// The parameter sets at the beginning of a key frame.
pub(crate) fn parameter_sets(unit: &[u8]) -> Vec<u8> {
    let other = |at: &&usize| !matches!(unit[**at + 4] & 0x1F, 7 | 8);
    unit[..*nal_starts(unit).iter().find(other).expect("a slice")].to_vec()
}
