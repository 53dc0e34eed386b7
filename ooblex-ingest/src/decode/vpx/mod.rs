//! VP8 and VP9 by libvpx.

mod ffi;
mod header;

use ooblex_core::{BufferPool, ColorMatrix, ColorRange, ColorSpace, Image, PixelFormat};

use self::ffi::{Interface, Library, Picture};
use super::{Decoded, LIVE_COLOR, VideoCodec, VideoDecoder, VideoError};

/// Decodes VP8, or VP9 of profile 0, to I420 by libvpx, on the calling thread alone.
///
/// An access unit is one VP8 frame, or one VP9 frame or superframe, of which the last visible picture comes out;
/// frames that are never shown yield nothing. Planes are copied once, into pool memory.
///
/// Nothing is shown that was made from damaged data or from a damaged reference: after [`VideoError::Corrupt`] every
/// access unit up to the next key frame is refused with that error, too. Sizes are read from the headers and checked
/// before the library allocates anything. The size may change with any key frame (VP9: any frame).
///
/// VP8 says nothing about colours (RFC 6386 section 9.2), VP9 may: pictures that are not described are tagged
/// limited-range BT.601 or as [`assume_color`](VideoDecoder::assume_color) said last.
pub struct VpxDecoder {
    interface: Interface,
    /// `None` until a key frame comes, and again after damage: a decoder that starts anew refers to nothing broken.
    library: Option<Library>,
    pool: BufferPool,
    assumed: ColorSpace,
    /// A VP9 frame with an index added.
    unit: Vec<u8>,
}

impl VpxDecoder {
    /// A decoder for `codec`, which gives its pictures memory from `pool`.
    ///
    /// # Errors
    /// [`VideoError::Unsupported`] if `codec` is neither VP8 nor VP9, or if the installed libvpx does not fit.
    pub fn new(codec: VideoCodec, pool: BufferPool) -> Result<Self, VideoError> {
        let interface = match codec {
            VideoCodec::Vp8 => Interface::Vp8,
            VideoCodec::Vp9 => Interface::Vp9,
            other => return Err(VideoError::Unsupported(format!("{other} by libvpx (VP8 and VP9 are)"))),
        };
        let library = Some(Library::new(interface).map_err(VideoError::Unsupported)?);
        // What was opened to learn whether it works has seen no key frame, so it is not kept.
        drop(library);
        Ok(Self { interface, library: None, pool, assumed: LIVE_COLOR, unit: Vec::new() })
    }

    /// Whether the access unit begins with a key frame; every header in it is checked.
    fn inspect<'a>(
        interface: Interface,
        unit: &'a [u8],
        scratch: &'a mut Vec<u8>,
    ) -> Result<(bool, &'a [u8]), VideoError> {
        if interface == Interface::Vp8 {
            return Ok((header::check_vp8(unit)?, unit));
        }
        let split = header::split_vp9(unit)?;
        let mut key = false;
        for (n, frame) in split.frames[..split.count].iter().enumerate() {
            let is_key = header::check_vp9(frame)?;
            key |= n == 0 && is_key;
        }
        if split.indexed {
            return Ok((key, unit));
        }
        // Without an index the library takes whatever follows a frame for another one, whose header nobody has
        // checked. An index of one frame (4 bytes a size, annex B) forbids that.
        const MARKER: u8 = 0xC0 | 3 << 3;
        let size =
            u32::try_from(unit.len()).map_err(|_| VideoError::Corrupt("a frame beyond 4 GB".into()))?;
        scratch.clear();
        scratch.extend_from_slice(unit);
        scratch.push(MARKER);
        scratch.extend_from_slice(&size.to_le_bytes());
        scratch.push(MARKER);
        Ok((key, scratch))
    }

    fn decode_unit(&mut self, unit: &[u8], pts: i64, out: &mut Vec<Decoded>) -> Result<(), VideoError> {
        let Self { interface, library, pool, assumed, unit: scratch } = self;
        let (key, unit) = Self::inspect(*interface, unit, scratch)?;
        if key && library.is_none() {
            *library = Some(Library::new(*interface).map_err(VideoError::Unsupported)?);
        }
        let library =
            library.as_mut().ok_or_else(|| VideoError::Corrupt("it waits for a key frame".into()))?;
        library.decode(unit).map_err(|e| VideoError::Corrupt(e.into()))?;
        let image = match library.picture().map_err(VideoError::Unsupported)? {
            Some(picture) => Some(copy(*interface, &picture, *assumed, pool)?),
            None => None,
        };
        // VP9 reports damage of hidden frames as an error, and answers this question for shown ones only.
        if (image.is_some() || *interface == Interface::Vp8) && library.is_corrupted() {
            return Err(VideoError::Corrupt("the frame or one that it refers to is damaged".into()));
        }
        out.extend(image.map(|image| Decoded { image, pts }));
        Ok(())
    }
}

impl VideoDecoder for VpxDecoder {
    fn decode(&mut self, access_unit: &[u8], pts: i64, out: &mut Vec<Decoded>) -> Result<(), VideoError> {
        let result = self.decode_unit(access_unit, pts, out);
        if result.is_err() {
            self.library = None;
        }
        result
    }

    fn assume_color(&mut self, color: ColorSpace) {
        self.assumed = color;
    }

    /// Nothing is ever held back.
    fn flush(&mut self, _out: &mut Vec<Decoded>) -> Result<(), VideoError> {
        Ok(())
    }
}

fn copy(
    interface: Interface,
    picture: &Picture<'_>,
    assumed: ColorSpace,
    pool: &BufferPool,
) -> Result<Image, VideoError> {
    let color = match interface {
        Interface::Vp8 => assumed,
        Interface::Vp9 => vp9_color(picture.space, picture.full_range, assumed),
    };
    Image::from_planes(PixelFormat::I420, picture.width, picture.height, color, &picture.planes, pool)
        .map_err(|e| VideoError::Corrupt(e.into()))
}

/// `color_space` of VP9 (section 7.2.2) is numbered as libvpx numbers it. Encoders that do not know the space do not know
/// the range either, and the format makes them say "limited".
fn vp9_color(space: u32, full_range: bool, assumed: ColorSpace) -> ColorSpace {
    let matrix = match space {
        // BT.601, SMPTE 170M, which is the same, and SMPTE 240M, which is closer to it than to BT.709.
        1 | 3 | 4 => ColorMatrix::Bt601,
        // BT.709, and BT.2020, which is closer to it than to BT.601.
        2 | 5 => ColorMatrix::Bt709,
        _ if !full_range => return assumed,
        _ => assumed.matrix,
    };
    ColorSpace { range: if full_range { ColorRange::Full } else { ColorRange::Limited }, matrix }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vp9_colour_is_what_the_stream_says_or_assumed() {
        let full = ColorSpace { range: ColorRange::Full, ..ColorSpace::BT709 };
        assert_eq!(vp9_color(1, true, ColorSpace::BT709), ColorSpace::JPEG);
        assert_eq!(vp9_color(2, false, ColorSpace::JPEG), ColorSpace::BT709);
        assert_eq!(vp9_color(5, false, ColorSpace::JPEG), ColorSpace::BT709);
        assert_eq!(vp9_color(0, false, full), full);
        assert_eq!(vp9_color(0, true, ColorSpace::BT601), ColorSpace::JPEG);
    }

    #[test]
    fn other_codecs_and_frames_before_a_key_frame_are_refused() {
        let pool = BufferPool::new(0);
        assert!(matches!(VpxDecoder::new(VideoCodec::H264, pool.clone()), Err(VideoError::Unsupported(_))));
        let mut decoder = VpxDecoder::new(VideoCodec::Vp8, pool).expect("opens");
        let inter = decoder.decode(&[0x31, 0, 0, 1, 2, 3], 0, &mut Vec::new());
        assert!(matches!(inter, Err(VideoError::Corrupt(_))), "{inter:?}");
    }
}
