//! A walk over the chunks of a WebP file (RFC 9649), without decoding anything.

use bytes::Bytes;
use ooblex_core::ImageCodec;

use super::exif::Orientation;
use super::{Parsed, PictureError, le32};

fn truncated(offset: usize, what: impl Into<String>) -> PictureError {
    PictureError::Truncated { codec: ImageCodec::WebP, offset, what: what.into() }
}

fn corrupt(offset: usize, what: impl Into<String>) -> PictureError {
    PictureError::Corrupt { codec: ImageCodec::WebP, offset, what: what.into() }
}

/// Checks the structure of `data`, which begins with a RIFF header of form type `WEBP`, and cuts what follows the
/// announced end.
pub(super) fn parse(data: Bytes) -> Result<Parsed, PictureError> {
    let announced = le32(&data, 4).map_or(usize::MAX, |size| size as usize).saturating_add(8);
    if announced > data.len() {
        return Err(truncated(data.len(), format!("{announced} bytes were announced")));
    }
    let data = data.slice(..announced);
    let (mut canvas, mut pixels, mut orientation) = (None, None, Orientation::UPRIGHT);
    let mut at = 12;
    while at < data.len() {
        let Some(size) = le32(&data, at + 4) else {
            return Err(corrupt(at, "a chunk header is cut by the announced end"));
        };
        let name = &data[at..at + 4];
        let start = at + 8;
        let body = start.checked_add(size as usize).and_then(|end| data.get(start..end));
        let Some(body) = body else {
            return Err(corrupt(
                at,
                format!("chunk {} reaches beyond the announced end", name.escape_ascii()),
            ));
        };
        match name {
            b"VP8X" => canvas = Some(canvas_size(body, at)?),
            b"VP8 " => pixels = pixels.or(Some(lossy_size(body, at)?)),
            b"VP8L" => pixels = pixels.or(Some(lossless_size(body, at)?)),
            b"ANMF" => pixels = pixels.or(canvas),
            b"EXIF" => orientation = Orientation::from_tiff(body.strip_prefix(b"Exif\0\0").unwrap_or(body)),
            _ => {}
        }
        // Chunks are padded to an even length; the last padding byte is often missing.
        at = start + body.len().next_multiple_of(2);
    }
    let Some(size) = pixels else {
        return Err(corrupt(data.len(), "the picture ends without any pixel data"));
    };
    let (width, height) = canvas.unwrap_or(size);
    Ok(Parsed { width, height, orientation, data, showable: true })
}

/// `VP8X`: flags, then width and height less one in 24 bits each.
fn canvas_size(body: &[u8], at: usize) -> Result<(u32, u32), PictureError> {
    let [_, _, _, _, w0, w1, w2, h0, h1, h2, ..] = *body else {
        return Err(corrupt(at, "the VP8X chunk is too short"));
    };
    Ok((u32::from_le_bytes([w0, w1, w2, 0]) + 1, u32::from_le_bytes([h0, h1, h2, 0]) + 1))
}

/// `VP8 `: the frame header of RFC 6386 section 9.1; only key frames can stand alone.
fn lossy_size(body: &[u8], at: usize) -> Result<(u32, u32), PictureError> {
    let [tag, _, _, 0x9D, 0x01, 0x2A, w0, w1, h0, h1, ..] = *body else {
        return Err(corrupt(at, "no VP8 key frame begins here"));
    };
    let size = |lo, hi| u32::from(u16::from_le_bytes([lo, hi]) & 0x3FFF);
    let (width, height) = (size(w0, w1), size(h0, h1));
    if tag & 1 != 0 || width == 0 || height == 0 {
        return Err(corrupt(at, "no VP8 key frame begins here"));
    }
    Ok((width, height))
}

/// `VP8L`: a signature byte, then width and height less one in 14 bits each.
fn lossless_size(body: &[u8], at: usize) -> Result<(u32, u32), PictureError> {
    let bits = match body {
        [0x2F, ..] => le32(body, 1),
        _ => None,
    };
    let Some(bits) = bits else { return Err(corrupt(at, "no lossless bitstream begins here")) };
    Ok(((bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1))
}
