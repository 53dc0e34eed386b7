//! The seeds of the fuzz targets that take packets are our streams.

use std::path::Path;

use super::streams::{self, Stream};

/// Packets as the targets read them (fuzz/src/lib.rs): in order, or with every seventh lost and a wait after it.
fn packets(stream: &Stream, lossy: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut sent = 0;
    let mut lost = false;
    for frame in &stream.frames {
        for (at, payload) in frame.payloads.iter().enumerate() {
            sent += 1;
            if lossy && sent % 7 == 0 {
                lost = true;
                continue;
            }
            let last = at + 1 == frame.payloads.len();
            let skip = u8::from(std::mem::take(&mut lost));
            out.push(u8::from(last) | u8::from(at == 0) << 1 | skip << 2 | 1 << 4 | skip << 5);
            out.extend((payload.len() as u16).to_le_bytes());
            out.extend(payload);
        }
    }
    out
}

/// `OOBLEX_WRITE_SEEDS=1` writes them anew.
#[test]
fn seeds_are_up_to_date() {
    let cases = [
        ("rtp_vp8", "plain", streams::vp8(4)),
        ("rtp_vp8", "layers", streams::vp8_layers(6, 0x7FFE)),
        ("rtp_vp9", "flexible", streams::vp9_flexible(6, 0x7FFE)),
        ("rtp_vp9", "fixed", streams::vp9_fixed(6)),
        ("rtp_vp9", "spatial", streams::vp9_spatial(3)),
        ("rtp_h264", "plain", streams::h264(6)),
        ("rtp_av1", "plain", streams::av1(5)),
    ];
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (target, name, stream) in cases {
        for (lossy, suffix) in [(false, ""), (true, "_lossy")] {
            let file = corpus.join(target).join(format!("{name}{suffix}"));
            let data = packets(&stream, lossy);
            if std::env::var_os("OOBLEX_WRITE_SEEDS").is_some() {
                std::fs::write(&file, &data).unwrap();
            }
            assert!(std::fs::read(&file).unwrap() == data, "{} is old; see above", file.display());
        }
    }
}
