//! JPEG files: encoding and decoding by libjpeg-turbo, and a look at their segments.

use turbojpeg::{Compressor, Decompressor, Image, PixelFormat, Subsamp};

use crate::mark::Rgb;

/// Encodes with 4:2:0 chroma.
pub fn encode(picture: &Rgb, quality: i32) -> Vec<u8> {
    encode_as(picture, quality, Subsamp::Sub2x2)
}

/// Encodes with the given chroma.
pub fn encode_as(picture: &Rgb, quality: i32, chroma: Subsamp) -> Vec<u8> {
    let mut compressor = Compressor::new().unwrap();
    compressor.set_quality(quality).unwrap();
    compressor.set_subsamp(chroma).unwrap();
    compressor.compress_to_vec(view(picture)).unwrap()
}

fn view(picture: &Rgb) -> Image<&[u8]> {
    Image {
        pixels: &picture.data,
        width: picture.width,
        pitch: picture.width * 3,
        height: picture.height,
        format: PixelFormat::RGB,
    }
}

/// Encodes a CMYK picture of one ink coverage (0 is full ink, as Adobe stores it).
pub fn encode_cmyk(width: usize, height: usize) -> Vec<u8> {
    let pixels = [30u8, 120, 200, 250].repeat(width * height);
    let image = Image { pixels: &pixels[..], width, pitch: width * 4, height, format: PixelFormat::CMYK };
    let mut compressor = Compressor::new().unwrap();
    compressor.set_subsamp(Subsamp::None).unwrap();
    compressor.compress_to_vec(image).unwrap()
}

/// Encodes progressively, or with arithmetic coding.
pub fn encode_unusual(picture: &Rgb, progressive: bool, arithmetic: bool) -> Vec<u8> {
    let mut compressor = Compressor::new().unwrap();
    compressor.set_subsamp(Subsamp::Sub2x2).unwrap();
    compressor.set_progressive(progressive).unwrap();
    compressor.set_arithmetic(arithmetic).unwrap();
    compressor.compress_to_vec(view(picture)).unwrap()
}

/// Decodes to RGB.
///
/// # Panics
/// When it is no whole JPEG.
#[track_caller]
pub fn decode(data: &[u8]) -> Rgb {
    try_decode(data).unwrap_or_else(|error| panic!("{} bytes are no JPEG: {error}", data.len()))
}

/// Decodes to RGB. A picture with a warning, such as a truncated one, is an error.
///
/// # Errors
/// What the decoder said.
pub fn try_decode(data: &[u8]) -> Result<Rgb, String> {
    let mut decompressor = Decompressor::new().map_err(|error| error.to_string())?;
    let header = decompressor.read_header(data).map_err(|error| error.to_string())?;
    let mut picture = Rgb::plain(header.width, header.height, [0; 3]);
    let output = Image {
        pixels: &mut picture.data[..],
        width: header.width,
        pitch: header.width * 3,
        height: header.height,
        format: PixelFormat::RGB,
    };
    decompressor.decompress(data, output).map_err(|error| error.to_string())?;
    Ok(picture)
}

/// The marker segments before the picture data, as (marker, payload), start of scan included.
///
/// # Panics
/// When the structure is broken.
#[track_caller]
pub fn segments(data: &[u8]) -> Vec<(u8, Vec<u8>)> {
    assert!(data.starts_with(&[0xFF, 0xD8]), "no start of image");
    let mut found = Vec::new();
    let mut at = 2;
    loop {
        assert_eq!(data[at], 0xFF, "no marker at {at}");
        let marker = data[at + 1];
        let length = usize::from(u16::from_be_bytes([data[at + 2], data[at + 3]]));
        found.push((marker, data[at + 4..at + 2 + length].to_vec()));
        at += 2 + length;
        if marker == 0xDA {
            return found;
        }
    }
}

/// The same picture with one more segment after the start of image.
pub fn with_segment(data: &[u8], marker: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 2).unwrap();
    let mut out = vec![0xFF, 0xD8, 0xFF, marker];
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(payload);
    out.extend_from_slice(&data[2..]);
    out
}

/// An EXIF payload (APP1) with an orientation, a GPS position and a camera name.
pub fn exif(orientation: u16) -> Vec<u8> {
    let mut out = b"Exif\0\0II*\0\x08\0\0\0".to_vec();
    let entry = |out: &mut Vec<u8>, tag: u16, kind: u16, count: u32, value: [u8; 4]| {
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&value);
    };
    // The first directory: 3 entries from offset 8, so the GPS directory is at 8 + 2 + 3 * 12 + 4.
    out.extend_from_slice(&3u16.to_le_bytes());
    entry(&mut out, 0x010F, 2, 4, *b"CAM\0");
    let [low, high] = orientation.to_le_bytes();
    entry(&mut out, 0x0112, 3, 1, [low, high, 0, 0]);
    entry(&mut out, 0x8825, 4, 1, 50u32.to_le_bytes());
    out.extend_from_slice(&0u32.to_le_bytes());
    out.extend_from_slice(&2u16.to_le_bytes());
    entry(&mut out, 0x0001, 2, 2, *b"N\0\0\0");
    entry(&mut out, 0x0002, 5, 3, 80u32.to_le_bytes());
    out.extend_from_slice(&0u32.to_le_bytes());
    for (value, of) in [(52u32, 1u32), (31, 1), (SECRET_SECONDS, 100)] {
        out.extend_from_slice(&value.to_le_bytes());
        out.extend_from_slice(&of.to_le_bytes());
    }
    out
}

/// A number in the GPS position of [`exif`] that must never leave the server.
pub const SECRET_SECONDS: u32 = 0x5EC2_E701;

/// Cuts the picture data in half and leaves the rest out, the end marker included.
pub fn truncated(data: &[u8]) -> Vec<u8> {
    data[..data.len() / 2].to_vec()
}

/// Declares other dimensions in the frame header, as a decompression bomb does.
pub fn with_dimensions(data: &[u8], width: u16, height: u16) -> Vec<u8> {
    let mut out = data.to_vec();
    let at = frame_header(data);
    out[at + 5..at + 7].copy_from_slice(&height.to_be_bytes());
    out[at + 7..at + 9].copy_from_slice(&width.to_be_bytes());
    out
}

/// Declares 12 bits a sample in the frame header.
pub fn with_twelve_bits(data: &[u8]) -> Vec<u8> {
    let mut out = data.to_vec();
    let at = frame_header(data);
    out[at + 1] = 0xC1;
    out[at + 4] = 12;
    out
}

fn frame_header(data: &[u8]) -> usize {
    let mut at = 2;
    while !matches!(data[at + 1], 0xC0..=0xC2) {
        at += 2 + usize::from(u16::from_be_bytes([data[at + 2], data[at + 3]]));
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exif_block_points_where_it_should() {
        let exif = exif(6);
        let gps = u32::from_le_bytes(exif[6 + 8 + 2 + 24 + 8..][..4].try_into().unwrap()) as usize;
        assert_eq!(u16::from_le_bytes(exif[6 + gps..][..2].try_into().unwrap()), 2);
        let position = u32::from_le_bytes(exif[6 + gps + 2 + 12 + 8..][..4].try_into().unwrap()) as usize;
        assert_eq!(u32::from_le_bytes(exif[6 + position..][..4].try_into().unwrap()), 52);
        assert_eq!(exif.len(), 6 + position + 24);
    }

    #[test]
    fn a_truncated_picture_does_not_decode() {
        let jpeg = encode(&Rgb::plain(64, 48, [200, 10, 10]), 85);
        assert!(try_decode(&jpeg).is_ok());
        assert!(try_decode(&truncated(&jpeg)).is_err());
    }
}
