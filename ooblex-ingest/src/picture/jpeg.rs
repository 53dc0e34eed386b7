//! A walk over the markers of a JPEG file (ITU-T T.81 annex B), without touching its coefficients.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use memchr::memchr;
use ooblex_core::ImageCodec;

use super::exif::Orientation;
use super::{Parsed, PictureError, be16};

/// More marker segments than any encoder writes; a bound on what a hostile file can cost.
const MAX_SEGMENTS: usize = 4096;
/// More scans than any progressive encoder writes. Every scan of a progressive picture costs a viewer a pass over
/// all of its coefficients, so a small file could otherwise be made very expensive to show.
const MAX_SCANS: usize = 100;

const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;
const DQT: u8 = 0xDB;
const DHP: u8 = 0xDE;
const APP0: u8 = 0xE0;
const APP1: u8 = 0xE1;
const APP14: u8 = 0xEE;
const APP15: u8 = 0xEF;
const COM: u8 = 0xFE;
const TEM: u8 = 0x01;

/// Length of a JFIF segment without a thumbnail, its length field included (JFIF 1.02).
const JFIF_WITHOUT_THUMBNAIL: usize = 16;

fn truncated(offset: usize, what: impl Into<String>) -> PictureError {
    PictureError::Truncated { codec: ImageCodec::Jpeg, offset, what: what.into() }
}

fn corrupt(offset: usize, what: impl Into<String>) -> PictureError {
    PictureError::Corrupt { codec: ImageCodec::Jpeg, offset, what: what.into() }
}

fn unsupported(what: impl Into<String>) -> PictureError {
    PictureError::Unsupported { codec: ImageCodec::Jpeg, what: what.into() }
}

/// The frame header.
#[derive(Clone, Copy)]
struct Frame {
    width: u16,
    height: u16,
    showable: bool,
}

#[derive(Default)]
struct Walk {
    frame: Option<Frame>,
    quantized: bool,
    scans: usize,
    orientation: Option<Orientation>,
    /// Segments that must not travel on, in order, neighbours joined.
    dropped: Vec<Range<usize>>,
}

/// Checks the structure of `data`, which begins with the start-of-image marker, up to the end-of-image marker, and
/// cuts what does not belong to the picture: comments, every application segment but JFIF and Adobe, and whatever
/// follows the end. Without any of these the result shares the memory of `data`.
pub(super) fn parse(data: Bytes) -> Result<Parsed, PictureError> {
    let mut walk = Walk::default();
    let end = walk.run(&data)?;
    let Some(frame) = walk.frame else { return Err(corrupt(end, "no frame header")) };
    Ok(Parsed {
        width: frame.width.into(),
        height: frame.height.into(),
        orientation: walk.orientation.unwrap_or_default(),
        data: without(data, &walk.dropped, end),
        showable: frame.showable,
    })
}

fn without(data: Bytes, dropped: &[Range<usize>], end: usize) -> Bytes {
    if dropped.is_empty() {
        return data.slice(..end);
    }
    let gone: usize = dropped.iter().map(Range::len).sum();
    let mut kept = BytesMut::with_capacity(end - gone);
    let mut from = 0;
    for range in dropped {
        kept.extend_from_slice(&data[from..range.start]);
        from = range.end;
    }
    kept.extend_from_slice(&data[from..end]);
    kept.freeze()
}

impl Walk {
    /// Walks to the end-of-image marker; the offset behind it.
    fn run(&mut self, data: &[u8]) -> Result<usize, PictureError> {
        let mut at = 2;
        for _ in 0..MAX_SEGMENTS {
            let start = at;
            let marker = next_marker(data, &mut at)?;
            match marker {
                EOI if self.scans > 0 => return Ok(at),
                EOI => return Err(corrupt(start, "the picture ends before its first scan")),
                SOI => return Err(corrupt(start, "a second picture begins inside the first")),
                // These stand alone; outside of a scan they mean nothing and decoders skip them.
                TEM | 0xD0..=0xD7 => continue,
                _ => {}
            }
            let length = usize::from(be16(data, at).ok_or_else(|| cut_in(data, marker))?);
            if length < 2 {
                return Err(corrupt(at, format!("segment {marker:#04x} has the impossible length {length}")));
            }
            let segment = data.get(at..at + length).ok_or_else(|| cut_in(data, marker))?;
            let body = &segment[2..];
            at += length;
            match marker {
                SOS => {
                    self.begin_scan(start)?;
                    skip_scan(data, &mut at)?;
                }
                DQT => self.quantized = true,
                // Huffman tables, the reserved extension, and arithmetic conditioning lie between frame headers.
                0xC4 | 0xC8 | 0xCC => {}
                0xC0..=0xCF => self.frame_header(marker, body, start)?,
                DHP => return Err(unsupported("hierarchical")),
                APP0..=APP15 | COM => self.application(marker, body, start..at),
                _ => {}
            }
        }
        Err(corrupt(at, format!("more than {MAX_SEGMENTS} segments")))
    }

    fn begin_scan(&mut self, start: usize) -> Result<(), PictureError> {
        if self.frame.is_none() {
            return Err(corrupt(start, "a scan begins before the frame header"));
        }
        if !self.quantized {
            return Err(corrupt(start, "a scan begins before any quantization table"));
        }
        self.scans += 1;
        if self.scans > MAX_SCANS {
            return Err(unsupported(format!("more than {MAX_SCANS} scans")));
        }
        Ok(())
    }

    fn frame_header(&mut self, marker: u8, body: &[u8], start: usize) -> Result<(), PictureError> {
        if self.frame.is_some() {
            return Err(corrupt(start, "a second frame header"));
        }
        let [precision, _, _, _, _, components, specs @ ..] = body else {
            return Err(corrupt(start, "the frame header is too short"));
        };
        if specs.len() != 3 * usize::from(*components) {
            let what = format!("the frame header is {} bytes long for {components} components", body.len());
            return Err(corrupt(start, what));
        }
        match marker {
            0xC3 => return Err(unsupported("lossless (SOF3)")),
            0xC5..=0xC7 => return Err(unsupported("hierarchical")),
            0xCB | 0xCD..=0xCF => return Err(unsupported("lossless or hierarchical with arithmetic coding")),
            _ => {}
        }
        if *precision != 8 {
            return Err(unsupported(format!("{precision} bits a sample; send 8")));
        }
        let (Some(height), Some(width)) = (be16(body, 1), be16(body, 3)) else {
            return Err(corrupt(start, "the frame header is too short"));
        };
        if width == 0 {
            return Err(corrupt(start, "the width is 0"));
        }
        if height == 0 {
            return Err(unsupported("the height comes only after the picture (DNL)"));
        }
        if !matches!(components, 1 | 3 | 4) {
            return Err(unsupported(format!("{components} components")));
        }
        for spec in specs.chunks_exact(3) {
            if !(1..=4).contains(&(spec[1] >> 4)) || !(1..=4).contains(&(spec[1] & 15)) {
                return Err(corrupt(start, format!("sampling factors {:#04x}", spec[1])));
            }
        }
        // Browsers show baseline, extended and progressive pictures of one or three components.
        let showable = matches!(marker, 0xC0..=0xC2) && *components != 4;
        self.frame = Some(Frame { width, height, showable });
        Ok(())
    }

    fn application(&mut self, marker: u8, body: &[u8], whole: Range<usize>) {
        if let (APP1, Some(tiff), None) = (marker, body.strip_prefix(b"Exif\0\0"), self.orientation) {
            self.orientation = Some(Orientation::from_tiff(tiff));
        }
        let keep = match marker {
            // A thumbnail may show what was later cropped away; viewers do well without the whole segment.
            APP0 => body.starts_with(b"JFIF\0") && body.len() + 2 <= JFIF_WITHOUT_THUMBNAIL,
            APP14 => body.starts_with(b"Adobe"),
            _ => false,
        };
        if keep {
            return;
        }
        match self.dropped.last_mut() {
            Some(last) if last.end == whole.start => last.end = whole.end,
            _ => self.dropped.push(whole),
        }
    }
}

/// Reads the marker at `at`, with any fill bytes before it, and moves behind it.
fn next_marker(data: &[u8], at: &mut usize) -> Result<u8, PictureError> {
    let end = || truncated(data.len(), "before the end-of-image marker");
    match data.get(*at) {
        Some(0xFF) => {}
        Some(other) => return Err(corrupt(*at, format!("{other:#04x} where a marker has to begin"))),
        None => return Err(end()),
    }
    while data.get(*at) == Some(&0xFF) {
        *at += 1;
    }
    let marker = *data.get(*at).ok_or_else(end)?;
    *at += 1;
    if marker == 0 {
        return Err(corrupt(*at - 2, "coded data where a marker has to begin"));
    }
    Ok(marker)
}

fn cut_in(data: &[u8], marker: u8) -> PictureError {
    truncated(data.len(), format!("inside segment {marker:#04x}"))
}

/// Moves from the beginning of entropy-coded data to the marker that ends it.
fn skip_scan(data: &[u8], at: &mut usize) -> Result<(), PictureError> {
    loop {
        let found = data.get(*at..).and_then(|rest| memchr(0xFF, rest)).map(|n| *at + n);
        let Some(ff) = found.filter(|ff| ff + 1 < data.len()) else {
            return Err(truncated(data.len(), "inside a scan"));
        };
        match data[ff + 1] {
            // A stuffed zero, or a restart marker.
            0x00 | 0xD0..=0xD7 => *at = ff + 2,
            0xFF => *at = ff + 1,
            _ => {
                *at = ff;
                return Ok(());
            }
        }
    }
}
