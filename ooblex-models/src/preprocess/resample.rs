//! Resizing a part of a picture, component by component, row after row: down first, then across.

use ooblex_core::{Image, ImageError, PixelFormat, Plane};

use super::axis::{Axis, Span, Tap};
use super::source::{self, Channel};
use crate::simd::{DOTS, Kernel, LANES, Lanes, Simd, TERMS};

/// Weights of a tap down a column add up to at most one more than this: times 255 that fits 16 bits.
const DOWN: u16 = 256;
/// The same across a row, where factors are 16 bits, signed, and sums 32.
const ACROSS: u16 = 1 << 14;
/// Registers of sums while rows are added up.
const BLOCK: usize = 8;

/// Takes the rows of a resized picture.
pub(super) trait Rows {
    /// Row `y`: one number for each column and component, 0 to 255 as in the picture; components that were not asked
    /// for are zeros.
    fn row(&mut self, y: usize, components: [&[f32]; 3]);
}

/// What to resize.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Job {
    /// Columns of the picture.
    pub(super) across: Span,
    /// Rows of the picture.
    pub(super) down: Span,
    /// Columns that come out.
    pub(super) width: usize,
    /// Rows that come out.
    pub(super) height: usize,
    /// Components wanted: one or three.
    pub(super) channels: usize,
}

/// Resizes. Keeps its memory and its plan from picture to picture.
#[derive(Debug, Default)]
pub(super) struct Resampler {
    simd: Simd,
    planned: Option<(Job, PixelFormat, u32, u32)>,
    down: [Axis; 2],
    across: Axis,
    windows: [Windows; 3],
    line: Vec<u16>,
    sums: Vec<i32>,
    rows: [Vec<f32>; 3],
}

impl Resampler {
    /// Gives the rows of a resized part of `image` to `to`. Each side of the part by itself is averaged where it becomes
    /// more than twice as small, and else interpolated; chroma has half the pixels and is treated likewise.
    ///
    /// # Errors
    /// [`ImageError::DeviceMemory`].
    pub(super) fn run(&mut self, image: &Image, job: Job, to: impl Rows) -> Result<(), ImageError> {
        let channels = &source::channels(image.format())[..job.channels];
        let mut planes = [None; 3];
        for (plane, channel) in planes.iter_mut().zip(channels) {
            *plane = Some(image.plane(channel.plane)?);
        }
        let key = (job, image.format(), image.width(), image.height());
        if self.planned != Some(key) {
            self.plan(image, &job, channels);
            self.planned = Some(key);
        }
        let Self { simd, down, windows, line, sums, rows, .. } = self;
        simd.run(Resample { planes, channels, down, windows, line, sums, rows, job, to });
        Ok(())
    }

    fn plan(&mut self, image: &Image, job: &Job, channels: &[Channel]) {
        let (width, height) = (image.width(), image.height());
        let (mut longest, padded) = (0, job.width.next_multiple_of(DOTS));
        for halved in [false, true] {
            let rows = if halved { height.div_ceil(2) } else { height };
            let (span, extent) = place(job.down, height, halved);
            self.down[usize::from(halved)].plan(span, job.height, rows as usize, extent, DOWN);
        }
        for (channel, windows) in channels.iter().zip(&mut self.windows) {
            let columns = if channel.halved { width.div_ceil(2) } else { width };
            let (span, extent) = place(job.across, width, channel.halved);
            self.across.plan(span, job.width, columns as usize, extent, ACROSS);
            windows.plan(&self.across, channel);
            longest = longest.max(windows.bytes.len() + windows.chunks * TERMS);
        }
        // What lies behind a row has weights of zero.
        self.line.resize(longest, 0);
        self.sums.resize(padded, 0);
        for row in &mut self.rows {
            row.clear();
            row.resize(padded, 0.0);
        }
    }
}

fn place(span: Span, side: u32, halved: bool) -> (Span, f64) {
    let extent = f64::from(side);
    if halved { (span.halved(), extent / 2.0) } else { (span, extent) }
}

/// An [`Axis`] across a row, laid out for [`Lanes::dots`]: for each sample that comes out a window of whole chunks.
#[derive(Debug, Default)]
struct Windows {
    /// Bytes of a row that are read at all.
    bytes: std::ops::Range<usize>,
    /// Where each chunk of each window begins, from the first of these bytes: the first chunk of [`DOTS`] windows, their
    /// second, and so on.
    starts: Vec<usize>,
    /// Weights of each chunk, in the same order.
    weights: Vec<[u16; TERMS]>,
    /// Chunks in a window.
    chunks: usize,
    /// What to multiply each sum with.
    units: Vec<f32>,
    /// Whether each sample is taken as it is, one after another.
    plain: bool,
}

impl Windows {
    fn plan(&mut self, axis: &Axis, channel: &Channel) {
        let Channel { step, offset, .. } = *channel;
        let (mut first, mut end, mut longest) = (usize::MAX, 0, 1);
        for tap in axis.taps() {
            (first, end) = (first.min(tap.first), end.max(tap.end()));
            longest = longest.max((tap.end() - tap.first) * step);
        }
        self.bytes = first.min(end) * step..end * step;
        self.chunks = longest.div_ceil(TERMS);
        let as_it_is = |(i, tap): (usize, &Tap)| tap.count == 1 && tap.first == first + i;
        self.plain = step == 1 && axis.taps().iter().enumerate().all(as_it_is);
        let padded = axis.taps().len().next_multiple_of(DOTS);
        self.units.clear();
        self.starts.clear();
        self.starts.resize(padded * self.chunks, 0);
        self.weights.clear();
        self.weights.resize(padded * self.chunks, [0; TERMS]);
        for (index, tap) in axis.taps().iter().enumerate() {
            self.units.push(tap.unit);
            let place = |chunk: usize| (index / DOTS * self.chunks + chunk) * DOTS + index % DOTS;
            for chunk in 0..self.chunks {
                self.starts[place(chunk)] = (tap.first - first) * step + chunk * TERMS;
            }
            for (number, &weight) in axis.weights(tap).iter().enumerate() {
                let byte = number * tap.every * step + offset;
                self.weights[place(byte / TERMS)][byte % TERMS] = weight;
            }
        }
    }
}

struct Resample<'a, R> {
    planes: [Option<Plane<'a>>; 3],
    channels: &'a [Channel],
    down: &'a [Axis; 2],
    windows: &'a [Windows; 3],
    line: &'a mut [u16],
    sums: &'a mut [i32],
    rows: &'a mut [Vec<f32>; 3],
    job: Job,
    to: R,
}

impl<R: Rows> Kernel for Resample<'_, R> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { planes, channels, down, windows, line, sums, rows, job, mut to } = self;
        for y in 0..job.height {
            let mut in_line = None;
            for (index, channel) in channels.iter().enumerate() {
                let axis = &down[usize::from(channel.halved)];
                let tap = &axis.taps()[y];
                if let (Some(plane), true) = (&planes[index], in_line != Some(channel.plane)) {
                    sum_rows::<L>(plane, tap, axis.weights(tap), windows[index].bytes.clone(), line);
                    in_line = Some(channel.plane);
                }
                // Halved so that sums fit 15 bits.
                sum_columns::<L>(line, &windows[index], tap.unit * 2.0, sums, &mut rows[index]);
            }
            let [a, b, c] = &*rows;
            to.row(y, [&a[..job.width], &b[..job.width], &c[..job.width]]);
        }
    }
}

/// Half the weighted sum of the rows of one tap, for some of their bytes.
#[inline(always)]
fn sum_rows<L: Lanes>(
    plane: &Plane<'_>,
    tap: &Tap,
    weights: &[u16],
    bytes: std::ops::Range<usize>,
    line: &mut [u16],
) {
    let data = &plane.data()[tap.first * plane.stride() + bytes.start..];
    let (stride, width) = (tap.every * plane.stride(), bytes.len());
    let mut at = 0;
    while at + BLOCK * LANES <= width {
        sum_block::<L, BLOCK>(&data[at..], stride, weights, &mut line[at..]);
        at += BLOCK * LANES;
    }
    while at + LANES <= width {
        sum_block::<L, 1>(&data[at..], stride, weights, &mut line[at..]);
        at += LANES;
    }
    for (x, to) in line[..width].iter_mut().enumerate().skip(at) {
        let samples = weights.iter().enumerate().map(|(row, &w)| u16::from(data[row * stride + x]) * w);
        *to = samples.sum::<u16>() / 2;
    }
}

#[inline(always)]
fn sum_block<L: Lanes, const N: usize>(data: &[u8], stride: usize, weights: &[u16], to: &mut [u16]) {
    let mut sums = [L::splat(0); N];
    for (row, &weight) in weights.iter().enumerate() {
        let (row, weight) = (&data[row * stride..][..N * LANES], L::splat(weight));
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = sum.plus(L::widen(&row[i * LANES..]).times(weight));
        }
    }
    for (i, sum) in sums.into_iter().enumerate() {
        sum.down::<1>().store(&mut to[i * LANES..]);
    }
}

/// Weighted means of the windows of one row, by way of their sums.
#[inline(always)]
fn sum_columns<L: Lanes>(line: &[u16], windows: &Windows, unit: f32, sums: &mut [i32], to: &mut [f32]) {
    if windows.plain {
        line.iter().zip(to).for_each(|(&v, to)| *to = f32::from(v) * unit);
        return;
    }
    let (groups, _) = sums.as_chunks_mut::<DOTS>();
    let (starts, _) = windows.starts.as_chunks::<DOTS>();
    let (weights, _) = windows.weights.as_chunks::<DOTS>();
    let chunks = starts.chunks_exact(windows.chunks).zip(weights.chunks_exact(windows.chunks));
    for (sums, (starts, weights)) in groups.iter_mut().zip(chunks) {
        *sums = [0; DOTS];
        for (starts, weights) in starts.iter().zip(weights) {
            let more = L::dots(line, starts, weights);
            sums.iter_mut().zip(more).for_each(|(sum, more)| *sum = sum.wrapping_add(more));
        }
    }
    for ((to, &sum), own) in to.iter_mut().zip(&*sums).zip(&windows.units) {
        *to = sum as f32 * (own * unit);
    }
}
