//! A walk over the chunks of a PNG file (ISO/IEC 15948), without inflating anything.

use bytes::Bytes;
use ooblex_core::ImageCodec;

use super::exif::Orientation;
use super::{Parsed, PictureError, be32};
use crate::crc::crc32;

const SIGNATURE: &[u8; 8] = b"\x89PNG\r\n\x1a\n";
/// Length, type and checksum around a chunk's data.
const CHUNK_OVERHEAD: usize = 12;

fn truncated(offset: usize, what: impl Into<String>) -> PictureError {
    PictureError::Truncated { codec: ImageCodec::Png, offset, what: what.into() }
}

fn corrupt(offset: usize, what: impl Into<String>) -> PictureError {
    PictureError::Corrupt { codec: ImageCodec::Png, offset, what: what.into() }
}

/// Checks the structure up to the `IEND` chunk and cuts what follows. The header's checksum is verified; those of
/// the pixel data are the decoder's business.
pub(super) fn parse(data: Bytes) -> Result<Parsed, PictureError> {
    if !data.starts_with(SIGNATURE) {
        return Err(if SIGNATURE.starts_with(&data) {
            truncated(data.len(), "inside the signature")
        } else {
            corrupt(4, "the signature is damaged, as by a transfer in text mode")
        });
    }
    let (mut size, mut has_pixels, mut orientation) = (None, false, Orientation::UPRIGHT);
    let mut at = SIGNATURE.len();
    loop {
        let Some(length) = be32(&data, at) else {
            return Err(truncated(data.len(), "before the IEND chunk"));
        };
        let name = data.get(at + 4..at + 8).ok_or_else(|| truncated(data.len(), "inside a chunk header"))?;
        let shown = name.escape_ascii().to_string();
        if length > i32::MAX as u32 || !name.iter().all(u8::is_ascii_alphabetic) {
            return Err(corrupt(at, format!("chunk {shown} of {length} bytes")));
        }
        let end = at + CHUNK_OVERHEAD + length as usize;
        if end > data.len() {
            return Err(truncated(data.len(), format!("inside chunk {shown}")));
        }
        let body = &data[at + 8..end - 4];
        match name {
            b"IHDR" if size.is_none() => size = Some(header(body, &data[at..end], at)?),
            _ if size.is_none() => return Err(corrupt(at, format!("chunk {shown} before the header"))),
            b"IHDR" => return Err(corrupt(at, "a second header")),
            b"IDAT" => has_pixels = true,
            b"eXIf" => orientation = Orientation::from_tiff(body),
            b"IEND" => {
                at = end;
                break;
            }
            _ => {}
        }
        at = end;
    }
    let Some((width, height)) = size.filter(|_| has_pixels) else {
        return Err(corrupt(at, "the picture ends without any pixel data"));
    };
    Ok(Parsed { width, height, orientation, data: data.slice(..at), showable: true })
}

fn header(body: &[u8], chunk: &[u8], at: usize) -> Result<(u32, u32), PictureError> {
    let (Some(width), Some(height), 13) = (be32(body, 0), be32(body, 4), body.len()) else {
        return Err(corrupt(at, format!("the header is {} bytes long, not 13", body.len())));
    };
    let stored = be32(chunk, chunk.len() - 4);
    if stored != Some(crc32(&chunk[4..chunk.len() - 4])) {
        return Err(corrupt(at, "the header's checksum is wrong"));
    }
    if width == 0 || height == 0 {
        return Err(corrupt(at, format!("the size is {width}x{height}")));
    }
    Ok((width, height))
}
