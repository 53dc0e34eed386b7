//! JPEG into planes.

use std::sync::{Arc, LazyLock};

use ooblex_core::{BoxError, BufferPool, Encoded, Image, ImageCodec, PictureDecoder, Want};

/// Decodes JPEG by libjpeg-turbo (feature `turbojpeg`).
///
/// YCbCr pictures become full-range BT.601 I420 without passing through RGB: 4:2:0 is written straight into pool
/// memory, 4:2:2, 4:4:0 and 4:4:4 have their chroma averaged in place, rarer samplings take the way over RGB.
/// Grayscale becomes Gray8; RGB (Adobe transform 0), CMYK and YCCK pictures become RGB. [`Want::Luma`] skips the
/// chroma, [`Want::Reduced`] scales inside the inverse DCT.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct JpegDecoder;

impl JpegDecoder {
    /// A decoder. It holds no state: each thread keeps one libjpeg-turbo handle.
    pub const fn new() -> Self {
        Self
    }

    /// The one that all pictures share.
    pub(crate) fn shared() -> Arc<dyn PictureDecoder> {
        static SHARED: LazyLock<Arc<JpegDecoder>> = LazyLock::new(Arc::default);
        SHARED.clone()
    }
}

impl PictureDecoder for JpegDecoder {
    fn decode(&self, encoded: &Encoded, want: Want, pool: &BufferPool) -> Result<Image, BoxError> {
        if encoded.codec != ImageCodec::Jpeg {
            return Err(format!("a JPEG decoder was given {}", encoded.codec).into());
        }
        backend::decode(encoded, want, pool)
    }
}

#[cfg(not(feature = "turbojpeg"))]
mod backend {
    use super::*;

    pub(super) fn decode(_: &Encoded, _: Want, _: &BufferPool) -> Result<Image, BoxError> {
        Err("this build cannot decode JPEG; enable the feature `turbojpeg` of ooblex-ingest".into())
    }
}

#[cfg(feature = "turbojpeg")]
mod backend {
    use std::cell::RefCell;

    use ooblex_core::{ColorSpace, PixelFormat, PlaneLayout, convert};
    use turbojpeg::{Colorspace, DecompressHeader, Decompressor, ScalingFactor, Subsamp, YuvImage};

    use super::*;

    /// Row starts of planes; the same as core's, so that SIMD loops start aligned.
    const STRIDE_ALIGN: usize = 32;
    /// Progressive scans beyond this are refused; the parser's own limit is lower.
    const SCAN_LIMIT: u32 = 500;

    thread_local! {
        /// Making a handle costs more than decoding a small picture.
        static HANDLE: RefCell<Option<Decompressor>> = const { RefCell::new(None) };
    }

    pub(super) fn decode(encoded: &Encoded, want: Want, pool: &BufferPool) -> Result<Image, BoxError> {
        HANDLE.with_borrow_mut(|slot| {
            let handle = match slot {
                Some(handle) => handle,
                None => {
                    let mut fresh = Decompressor::new()?;
                    fresh.set_scan_limit(SCAN_LIMIT)?;
                    slot.insert(fresh)
                }
            };
            Job::new(handle, encoded, want)?.run(want, pool)
        })
    }

    struct Job<'a> {
        handle: &'a mut Decompressor,
        data: &'a [u8],
        /// As the picture is, scaled.
        header: DecompressHeader,
    }

    impl<'a> Job<'a> {
        fn new(handle: &'a mut Decompressor, encoded: &'a Encoded, want: Want) -> Result<Self, BoxError> {
            let factor = match want {
                Want::Reduced(2) => ScalingFactor::ONE_HALF,
                Want::Reduced(4) => ScalingFactor::ONE_QUARTER,
                Want::Reduced(8) => ScalingFactor::ONE_EIGHTH,
                Want::Reduced(other) if other != 1 => {
                    return Err(format!("reduction by {other}; use 1, 2, 4 or 8").into());
                }
                _ => ScalingFactor::ONE,
            };
            let header = handle.read_header(&encoded.data)?;
            if (header.width, header.height) != (encoded.width as usize, encoded.height as usize) {
                let (w, h) = (header.width, header.height);
                let said = format!("{}x{}", encoded.width, encoded.height);
                return Err(format!("the picture is {w}x{h}, not {said} as its header said").into());
            }
            handle.set_scaling_factor(factor)?;
            Ok(Self { handle, data: &encoded.data, header: header.scaled(factor) })
        }

        fn run(mut self, want: Want, pool: &BufferPool) -> Result<Image, BoxError> {
            let header = self.header;
            match (header.colorspace, header.subsamp) {
                (Colorspace::CMYK | Colorspace::YCCK, _) => {
                    let rgb = self.cmyk(pool)?;
                    if want == Want::Luma {
                        return Ok(convert::convert(&rgb, PixelFormat::Gray8, ColorSpace::JPEG, pool)?);
                    }
                    Ok(rgb)
                }
                _ if want == Want::Luma => {
                    self.packed(PixelFormat::Gray8, turbojpeg::PixelFormat::GRAY, pool)
                }
                (Colorspace::Gray, _) => self.packed(PixelFormat::Gray8, turbojpeg::PixelFormat::GRAY, pool),
                (Colorspace::YCbCr, Subsamp::Sub2x2 | Subsamp::Sub2x1 | Subsamp::Sub1x2 | Subsamp::None) => {
                    self.planes(pool)
                }
                (Colorspace::YCbCr, _) => {
                    let rgb = self.packed(PixelFormat::Rgb, turbojpeg::PixelFormat::RGB, pool)?;
                    Ok(convert::convert(&rgb, PixelFormat::I420, ColorSpace::JPEG, pool)?)
                }
                (Colorspace::RGB, _) => self.packed(PixelFormat::Rgb, turbojpeg::PixelFormat::RGB, pool),
            }
        }

        fn size(&self) -> (u32, u32) {
            (self.header.width as u32, self.header.height as u32)
        }

        /// One packed plane.
        fn packed(
            &mut self,
            format: PixelFormat,
            layout: turbojpeg::PixelFormat,
            pool: &BufferPool,
        ) -> Result<Image, BoxError> {
            let (width, height) = self.size();
            let mut image = Image::alloc(format, width, height, ColorSpace::JPEG, pool)?;
            let mut plane = image.plane_mut(0)?;
            let pitch = plane.stride();
            tolerate(self.handle.decompress(
                self.data,
                turbojpeg::Image {
                    pixels: plane.data_mut(),
                    width: width as usize,
                    pitch,
                    height: height as usize,
                    format: layout,
                },
            ))?;
            Ok(image)
        }

        /// Y, Cb and Cr without colour conversion. libjpeg-turbo pads each plane to whole chroma samples, so the
        /// rows are exactly as wide as I420 wants them and the rounding is the same as core's.
        fn planes(&mut self, pool: &BufferPool) -> Result<Image, BoxError> {
            let (width, height) = self.size();
            let subsamp = self.header.subsamp;
            let (sx, sy) = subsamp.size();
            let (padded_width, padded_height) =
                (self.header.width.next_multiple_of(sx), self.header.height.next_multiple_of(sy));
            let stride = padded_width.next_multiple_of(STRIDE_ALIGN);
            let chroma_stride = (padded_width / sx).next_multiple_of(STRIDE_ALIGN);
            let (luma_len, chroma_len) = (stride * padded_height, chroma_stride * (padded_height / sy));
            let mut buffer = pool.take(luma_len + 2 * chroma_len);
            tolerate(self.handle.decompress_to_yuv(
                self.data,
                YuvImage {
                    pixels: &mut buffer[..],
                    width: self.header.width,
                    align: STRIDE_ALIGN,
                    height: self.header.height,
                    subsamp,
                },
            ))?;
            for plane in buffer[luma_len..].chunks_exact_mut(chroma_len) {
                let chroma_size = (padded_width / sx, padded_height / sy);
                average(plane, chroma_stride, chroma_size, (2 / sx, 2 / sy));
            }
            let layout = [
                PlaneLayout { offset: 0, stride },
                PlaneLayout { offset: luma_len, stride: chroma_stride },
                PlaneLayout { offset: luma_len + chroma_len, stride: chroma_stride },
            ];
            Ok(Image::from_buffer(PixelFormat::I420, width, height, ColorSpace::JPEG, buffer, &layout)?)
        }

        /// CMYK as files have it: Adobe's writers store it inverted, 255 meaning no ink, and everybody follows
        /// them. Ink is taken off multiplicatively, as image viewers without colour management do.
        fn cmyk(&mut self, pool: &BufferPool) -> Result<Image, BoxError> {
            let (width, height) = self.size();
            let row_bytes = width as usize * 4;
            let mut buffer = pool.take(row_bytes * height as usize);
            tolerate(self.handle.decompress(
                self.data,
                turbojpeg::Image {
                    pixels: &mut buffer[..],
                    width: width as usize,
                    pitch: row_bytes,
                    height: height as usize,
                    format: turbojpeg::PixelFormat::CMYK,
                },
            ))?;
            let mut image = Image::alloc(PixelFormat::Rgb, width, height, ColorSpace::JPEG, pool)?;
            for (to, from) in image.plane_mut(0)?.rows_mut().zip(buffer.chunks_exact(row_bytes)) {
                for (rgb, cmyk) in to.chunks_exact_mut(3).zip(from.chunks_exact(4)) {
                    for (v, ink) in rgb.iter_mut().zip(&cmyk[..3]) {
                        *v = ((u32::from(*ink) * u32::from(cmyk[3]) + 127) / 255) as u8;
                    }
                }
            }
            Ok(image)
        }
    }

    /// Averages blocks of `by` samples (1 or 2 each way) into one, in place; the rows keep their stride. Sides
    /// round up, the last sample of an odd side standing for its missing neighbour. A row is written only after
    /// the rows that it is made of were read.
    fn average(plane: &mut [u8], stride: usize, (width, height): (usize, usize), by: (usize, usize)) {
        if by == (1, 1) {
            return;
        }
        let mut made = vec![0u8; width.div_ceil(by.0)];
        for y in 0..height.div_ceil(by.1) {
            let (top, bottom) = (by.1 * y, (by.1 * y + by.1 - 1).min(height - 1));
            let (top, bottom) = (&plane[top * stride..][..width], &plane[bottom * stride..][..width]);
            let four = |a: u8, b: u8, c: u8, d: u8| {
                ((u16::from(a) + u16::from(b) + u16::from(c) + u16::from(d) + 2) / 4) as u8
            };
            if by.0 == 1 {
                for (to, (&a, &b)) in made.iter_mut().zip(top.iter().zip(bottom)) {
                    *to = four(a, a, b, b);
                }
            } else {
                for (to, (t, b)) in made.iter_mut().zip(top.chunks(2).zip(bottom.chunks(2))) {
                    *to = four(t[0], t[t.len() - 1], b[0], b[b.len() - 1]);
                }
            }
            plane[y * stride..][..made.len()].copy_from_slice(&made);
        }
    }

    /// Cheap cameras put padding between the last coded byte and the next marker. libjpeg-turbo decodes the whole
    /// picture and then complains; the crate cannot tell that complaint from a failure but by its text.
    fn tolerate(result: Result<(), turbojpeg::Error>) -> Result<(), turbojpeg::Error> {
        match result {
            Err(turbojpeg::Error::TurboJpegError(text))
                if text.contains("extraneous bytes before marker") =>
            {
                tracing::trace!(%text, "tolerated");
                Ok(())
            }
            other => other,
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn averaging_in_place_takes_the_mean_of_each_block() {
            // 3 x 3 samples in rows of 4.
            let mut plane = vec![10, 20, 30, 0, 30, 40, 50, 0, 100, 100, 200, 0];
            average(&mut plane, 4, (3, 3), (2, 2));
            assert_eq!((plane[0], plane[1]), (25, 40));
            assert_eq!((plane[4], plane[5]), (100, 200));
            let mut plane = vec![10, 20, 31, 0, 30, 40, 50, 0, 100, 100, 200, 0];
            average(&mut plane, 4, (3, 3), (1, 2));
            assert_eq!((&plane[..3], &plane[4..7]), (&[20, 30, 41][..], &[100, 100, 200][..]));
        }
    }
}
