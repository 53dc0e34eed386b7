//! How pixels are laid out and what their numbers mean.

/// Layout of the components of an [`Image`](crate::Image).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PixelFormat {
    /// Planar Y, U, V; chroma halved both ways, rounded up. FFmpeg: `yuv420p` (`yuvj420p` at full range).
    I420,
    /// Planar Y, then interleaved U and V; chroma halved both ways, rounded up. FFmpeg: `nv12`.
    Nv12,
    /// Packed R, G, B, 8 bits each. FFmpeg: `rgb24`.
    Rgb,
    /// Packed B, G, R, 8 bits each. FFmpeg: `bgr24`.
    Bgr,
    /// Packed R, G, B, A, 8 bits each, alpha not premultiplied. FFmpeg: `rgba`.
    Rgba,
    /// One 8-bit luma plane. FFmpeg: `gray`.
    Gray8,
}

impl PixelFormat {
    /// Every format, for tests and tables.
    pub const ALL: [Self; 6] = [Self::I420, Self::Nv12, Self::Rgb, Self::Bgr, Self::Rgba, Self::Gray8];

    /// Number of planes: 1 to 3.
    pub const fn plane_count(self) -> usize {
        match self {
            Self::I420 => 3,
            Self::Nv12 => 2,
            Self::Rgb | Self::Bgr | Self::Rgba | Self::Gray8 => 1,
        }
    }

    /// Bytes from one sample of a component in `plane` to the next: the number of components interleaved there.
    pub const fn interleaved(self, plane: usize) -> usize {
        match (self, plane) {
            (Self::Rgb | Self::Bgr, _) => 3,
            (Self::Rgba, _) => 4,
            (Self::Nv12, 1) => 2,
            _ => 1,
        }
    }

    /// Visible bytes in one row of `plane`, padding excluded, for a picture `width` pixels wide.
    pub const fn row_bytes(self, plane: usize, width: u32) -> usize {
        let width = width as usize;
        match (self, plane) {
            (Self::I420, 1 | 2) => width.div_ceil(2),
            (Self::Nv12, 1) => width.div_ceil(2) * 2,
            (Self::Rgb | Self::Bgr, _) => width * 3,
            (Self::Rgba, _) => width * 4,
            _ => width,
        }
    }

    /// Rows in `plane` for a picture `height` pixels high.
    pub const fn rows(self, plane: usize, height: u32) -> usize {
        match (self, plane) {
            (Self::I420, 1 | 2) | (Self::Nv12, 1) => (height as usize).div_ceil(2),
            _ => height as usize,
        }
    }

    /// Whether the picture is stored as luma and chroma (or luma alone).
    pub const fn is_yuv(self) -> bool {
        matches!(self, Self::I420 | Self::Nv12 | Self::Gray8)
    }
}

/// What the extremes of an 8-bit component mean (ITU-R BT.601 and BT.709, section "quantization").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColorRange {
    /// Luma 16 to 235, chroma 16 to 240: what video codecs usually carry.
    Limited,
    /// 0 to 255: what JPEG (JFIF) and RGB carry.
    Full,
}

/// The weights between RGB and YUV.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColorMatrix {
    /// Kr 0.299, Kb 0.114: JPEG and standard-definition video.
    Bt601,
    /// Kr 0.2126, Kb 0.0722: high-definition video.
    Bt709,
}

/// Range and matrix of a picture. For RGB formats the range is [`ColorRange::Full`] and the matrix is the one
/// to use when converting to YUV.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ColorSpace {
    /// Limited or full.
    pub range: ColorRange,
    /// BT.601 or BT.709.
    pub matrix: ColorMatrix,
}

impl ColorSpace {
    /// Full-range BT.601: JFIF, and the native space of the MJPEG path.
    pub const JPEG: Self = Self { range: ColorRange::Full, matrix: ColorMatrix::Bt601 };
    /// Limited-range BT.601: standard-definition video, and what WebRTC cameras usually send.
    pub const BT601: Self = Self { range: ColorRange::Limited, matrix: ColorMatrix::Bt601 };
    /// Limited-range BT.709: high-definition video.
    pub const BT709: Self = Self { range: ColorRange::Limited, matrix: ColorMatrix::Bt709 };
}

/// How far a stored picture must be turned clockwise to be upright.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Rotation {
    /// Upright as stored.
    #[default]
    None,
    /// A quarter turn clockwise.
    Clockwise90,
    /// Upside down.
    Half,
    /// A quarter turn counter-clockwise.
    Clockwise270,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_sizes_round_chroma_up() {
        assert_eq!(PixelFormat::I420.row_bytes(1, 5), 3);
        assert_eq!(PixelFormat::I420.rows(2, 7), 4);
        assert_eq!(PixelFormat::Nv12.row_bytes(1, 5), 6);
        assert_eq!(PixelFormat::Nv12.rows(1, 1), 1);
        assert_eq!(PixelFormat::Rgba.row_bytes(0, 3), 12);
    }
}
