//! Comic book.

use ooblex_core::{
    Frame, FrameProcessor, Image, ImageError, KindSpec, Options, ParamSpec, ParamType, PixelFormat, Plane,
    ProcessContext, ProcessError, RegistryError, Verdict,
};

use super::{Effect, blank_like};
use crate::color::Levels;
use crate::kernels::bilateral::{DISC_2, DISC_4, Range, Row};
use crate::kernels::median::Median;
use crate::kernels::padded::{Border, Padded};
use crate::simd::{Kernel, LANES, Lanes, Simd};

const LINES: u8 = 9;
/// `cv::bilateralFilter` with a colour sigma of 300 sums the differences of R, G and B: 100 for grey.
const SIGMA: f32 = 100.0;

/// Flat colours and black lines: a bilateral filter over a disc of radius 4, and an adaptive threshold on the
/// median of luma (black where the 5x5 median is below its 9x9 mean by `lines` or more).
///
/// The filter weighs by luma instead of the sum of colour differences and runs on chroma at chroma's own
/// resolution, which makes it some twenty times faster than `cv::bilateralFilter`.
#[derive(Debug)]
pub struct Cartoon {
    lines: u8,
    median: Median,
    planes: Planes,
    simd: Simd,
}

#[derive(Debug, Default)]
struct Planes {
    luma: Padded,
    median: Padded,
    half: Padded,
    u: Padded,
    v: Padded,
    /// Sums of nine rows of the median.
    sums: Vec<u16>,
    /// 255 where colour stays, 0 on lines; the rows of two luma rows.
    keep: [Vec<u8>; 2],
    row: [Vec<u8>; 2],
}

impl Cartoon {
    /// `lines` is the contrast, in full-range luma steps, from which a line is drawn: 1 to 50, less draws more.
    pub fn new(lines: u8) -> Self {
        Self {
            lines: lines.clamp(1, 50),
            median: Median::default(),
            planes: Planes::default(),
            simd: Simd::detect(),
        }
    }
}

impl Default for Cartoon {
    /// Lines from a contrast of 9.
    fn default() -> Self {
        Self::new(LINES)
    }
}

impl FrameProcessor for Cartoon {
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let source = frame.image.make(PixelFormat::I420)?;
        let target = blank_like(source, cx.pool)?;
        let target = self.draw(source, target)?;
        frame.image.set(target);
        Ok(Verdict::Emit)
    }
}

impl Cartoon {
    fn draw(&mut self, source: &Image, mut target: Image) -> Result<Image, ImageError> {
        let levels = Levels::of(source.color());
        let (luma, u, v) = (source.plane(0)?, source.plane(1)?, source.plane(2)?);
        let (size, half) = (extent(luma), extent(u));
        let planes = &mut self.planes;
        planes.luma.copy(luma.rows(), size, 2, Border::Repeat);
        self.median.run(self.simd, &planes.luma, size, &mut planes.median, 4);
        planes.median.fill_border(Border::Repeat);
        planes.luma.copy(luma.rows(), size, 4, Border::Mirror);
        planes.half.resize(half.0, half.1, 2);
        for y in 0..half.1 {
            let rows = [luma.row(2 * y), luma.row((2 * y + 1).min(size.1 - 1))];
            halve(rows, &mut planes.half.inner_mut(y)[..half.0]);
        }
        planes.half.fill_border(Border::Repeat);
        planes.u.copy(u.rows(), half, 2, Border::Repeat);
        planes.v.copy(v.rows(), half, 2, Border::Repeat);
        let whole = |n: usize| n.next_multiple_of(LANES);
        planes.sums.resize(whole(size.0) + LANES, 0);
        planes.keep.iter_mut().for_each(|row| row.resize(whole(half.0) * 2, 0));
        planes.row.iter_mut().for_each(|row| row.resize(whole(size.0), 0));
        let lines = levels.scale(self.lines.into()).round() as u16;
        let range = Range::new(2.0 * levels.scale(SIGMA).powi(2));
        self.simd.run(Draw { planes, size, half, lines, range, black: levels.black, target: &mut target })?;
        Ok(target)
    }
}

fn extent(plane: Plane<'_>) -> (usize, usize) {
    (plane.row_bytes(), plane.row_count())
}

/// Means of 2x2; a column alone at the end counts twice.
fn halve([top, bottom]: [&[u8]; 2], to: &mut [u8]) {
    let pairs = top.len() / 2;
    let mean = |a: u8, b: u8, c: u8, d: u8| {
        ((u16::from(a) + u16::from(b) + u16::from(c) + u16::from(d) + 2) >> 2) as u8
    };
    for ((to, a), b) in to.iter_mut().zip(top.chunks_exact(2)).zip(bottom.chunks_exact(2)) {
        *to = mean(a[0], a[1], b[0], b[1]);
    }
    if let (Some(to), [a], [b]) = (to.get_mut(pairs), &top[2 * pairs..], &bottom[2 * pairs..]) {
        *to = mean(*a, *a, *b, *b);
    }
}

struct Draw<'a> {
    planes: &'a mut Planes,
    size: (usize, usize),
    half: (usize, usize),
    lines: u16,
    range: Range,
    black: u8,
    target: &'a mut Image,
}

impl Kernel for Draw<'_> {
    type Out = Result<(), ImageError>;

    #[inline(always)]
    fn run<L: Lanes>(self) -> Result<(), ImageError> {
        let Self { planes, size: (width, height), half: (half, half_rows), lines, range, black, target } =
            self;
        let Planes { luma, median, half: guide, u, v, sums, keep: [top, bottom], row } = planes;
        for c in 0..half_rows {
            for (i, keep) in [&mut *top, &mut *bottom].into_iter().enumerate() {
                let y = (2 * c + i).min(height - 1);
                threshold::<L>(median, y, lines, sums, &mut keep[..width.next_multiple_of(LANES)]);
                if width % 2 == 1 {
                    // The last column stands for its missing neighbour.
                    keep[width] = keep[width - 1];
                }
                if 2 * c + i < height {
                    let out = [&mut row[0][..], &mut []];
                    Row { guide: luma, values: [luma; 2], count: 1, y, disc: DISC_4, range, out }.run::<L>();
                    let mut plane = target.plane_mut(0)?;
                    for ((to, &v), &keep) in plane.row_mut(y).iter_mut().zip(&row[0]).zip(&*keep) {
                        *to = if keep == 0 { black } else { v };
                    }
                }
            }
            let whole = half.next_multiple_of(LANES);
            let [first, second] = &mut *row;
            let out = [&mut first[..whole], &mut second[..whole]];
            Row { guide, values: [u, v], count: 2, y: c, disc: DISC_2, range, out }.run::<L>();
            for (index, from) in [(1, &*first), (2, &*second)] {
                let mut plane = target.plane_mut(index)?;
                let kept = top.chunks_exact(2).zip(bottom.chunks_exact(2));
                for ((to, &v), (a, b)) in plane.row_mut(c).iter_mut().zip(from).zip(kept) {
                    let count =
                        i16::from(a[0] & 1) + i16::from(a[1] & 1) + i16::from(b[0] & 1) + i16::from(b[1] & 1);
                    *to = (128 + (((i16::from(v) - 128) * count + 2) >> 2)) as u8;
                }
            }
        }
        Ok(())
    }
}

/// 255 where the sample is above the mean of the 9x9 around it less `lines`, else 0.
#[inline(always)]
fn threshold<L: Lanes>(plane: &Padded, y: usize, lines: u16, sums: &mut [u16], keep: &mut [u8]) {
    let y = y as isize;
    let end = plane.row(y).len();
    for x in (0..sums.len()).step_by(LANES) {
        // The last lanes overlap the ones before: the padded row ends within them.
        let x = x.min(end - LANES);
        let mut sum = L::splat(0);
        for dy in -4..=4 {
            sum = sum.plus(L::widen(&plane.row(y + dy)[x..]));
        }
        sum.store(&mut sums[x..]);
    }
    let centre = &plane.row(y)[4..];
    for x in (0..keep.len()).step_by(LANES) {
        let mut sum = L::splat(40);
        for dx in 0..9 {
            sum = sum.plus(L::load(&sums[x + dx..]));
        }
        // (sum + 40) / 81: 51782 is 64 * 65536 / 81.
        let mean = sum.high(L::splat(51_782)).down::<6>();
        let above = L::widen(&centre[x..]).plus(L::splat(lines)).minus_to_zero(mean);
        above.min(L::splat(1)).times(L::splat(255)).narrow(&mut keep[x..]);
    }
}

impl Effect for Cartoon {
    fn spec() -> KindSpec {
        KindSpec::new("cartoon", "Comic book").aliases(&["CartoonOn", "TaylorOn"]).param(
            ParamSpec::new(
                "lines",
                ParamType::Int(1..=50),
                LINES,
                "contrast from which a line is drawn; less draws more",
            )
            .unit("luma steps"),
        )
    }

    fn from_options(options: &Options) -> Result<Self, RegistryError> {
        Ok(Self::new(options.get_or("lines", LINES)?))
    }
}
