//! YUV4MPEG2 as mjpegtools and FFmpeg write it: a line of parameters, then `FRAME` lines with packed planes.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::num::NonZeroU32;
use std::path::Path;

use ooblex_core::{
    BoxError, BufferPool, ColorRange, ColorSpace, Image, Picture, PixelFormat, PlaneMut, SourceError,
};

use super::{Reader, Shown, read_up_to};
use crate::decode::assumed_color;

/// Longest header or frame line.
const MAX_LINE: u64 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sampling {
    Mono,
    C420,
    C422,
    C444,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    width: u32,
    height: u32,
    /// Ticks a second and ticks a frame.
    rate: NonZeroU32,
    step: u32,
    sampling: Sampling,
    color: ColorSpace,
}

pub(super) struct Y4m {
    file: BufReader<File>,
    header: Header,
    first_frame: u64,
    index: i64,
    pool: BufferPool,
    /// One row or plane of chroma on its way to 4:2:0.
    scratch: Vec<u8>,
}

impl Y4m {
    pub(super) fn open(path: &Path, pool: BufferPool) -> Result<Self, BoxError> {
        let mut file = BufReader::with_capacity(1 << 18, File::open(path)?);
        let line = read_line(&mut file)?.ok_or("the file is empty")?;
        let header = parse_header(&line)?;
        let first_frame = file.stream_position()?;
        Ok(Self { file, header, first_frame, index: 0, pool, scratch: Vec::new() })
    }

    fn read_frame(&mut self) -> Result<Option<Image>, BoxError> {
        let Some(line) = read_line(&mut self.file)? else { return Ok(None) };
        if !line.starts_with("FRAME") {
            return Err(format!("{line:?} where a FRAME line has to be").into());
        }
        let Header { width, height, sampling, color, .. } = self.header;
        let format = if sampling == Sampling::Mono { PixelFormat::Gray8 } else { PixelFormat::I420 };
        let mut image = Image::alloc(format, width, height, color, &self.pool)?;
        for index in 0..format.plane_count() {
            let mut plane = image.plane_mut(index)?;
            if index == 0 || sampling == Sampling::C420 {
                for row in plane.rows_mut() {
                    fill(&mut self.file, row)?;
                }
            } else {
                self.subsample(&mut plane)?;
            }
        }
        Ok(Some(image))
    }

    /// Reads a 4:2:2 or 4:4:4 chroma plane and averages it down to 4:2:0.
    fn subsample(&mut self, to: &mut PlaneMut<'_>) -> Result<(), BoxError> {
        let (width, height) = (self.header.width as usize, self.header.height as usize);
        let by = if self.header.sampling == Sampling::C444 { 2 } else { 1 };
        let width = if by == 2 { width } else { width.div_ceil(2) };
        self.scratch.resize(2 * width, 0);
        for (y, row) in to.rows_mut().enumerate() {
            let (top, bottom) = self.scratch.split_at_mut(width);
            fill(&mut self.file, top)?;
            if 2 * y + 1 < height {
                fill(&mut self.file, bottom)?;
            } else {
                bottom.copy_from_slice(top);
            }
            for (x, to) in row.iter_mut().enumerate() {
                let (left, right) = (by * x, (by * x + by - 1).min(width - 1));
                let four = [top[left], top[right], bottom[left], bottom[right]];
                *to = ((four.into_iter().map(u16::from).sum::<u16>() + 2) / 4) as u8;
            }
        }
        Ok(())
    }
}

impl Reader for Y4m {
    fn rate(&self) -> NonZeroU32 {
        self.header.rate
    }

    fn next(&mut self) -> Result<Option<Shown>, SourceError> {
        let step = i64::from(self.header.step);
        let Some(image) = self.read_frame().map_err(SourceError::Fatal)? else { return Ok(None) };
        let at = self.index * step;
        self.index += 1;
        Ok(Some(Shown { picture: Picture::new(image, self.pool.clone()), at, lasts: step }))
    }

    fn rewind(&mut self) -> Result<(), SourceError> {
        self.file.seek(SeekFrom::Start(self.first_frame)).map_err(|e| SourceError::Fatal(e.into()))?;
        self.index = 0;
        Ok(())
    }
}

/// A line without its end, or `None` at the end of the file.
fn read_line(file: &mut BufReader<File>) -> Result<Option<String>, BoxError> {
    let mut line = Vec::new();
    file.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(String::from_utf8_lossy(&line).into_owned())),
        Some(_) => Err(format!("a header line does not end within {MAX_LINE} bytes").into()),
    }
}

fn fill(file: &mut impl Read, row: &mut [u8]) -> Result<(), BoxError> {
    let got = read_up_to(file, row)?;
    if got < row.len() { Err("the file ends inside a picture".into()) } else { Ok(()) }
}

fn parse_header(line: &str) -> Result<Header, BoxError> {
    let (mut width, mut height, mut rate) = (0, 0, (30, 1));
    let (mut sampling, mut range) = (Sampling::C420, None);
    for word in line.split_ascii_whitespace().skip(1) {
        let (key, value) = word.split_at_checked(1).unwrap_or((word, ""));
        let bad = || format!("parameter {word:?} makes no sense");
        match key {
            "W" => width = value.parse().map_err(|_| bad())?,
            "H" => height = value.parse().map_err(|_| bad())?,
            "F" => {
                let (num, den) = value.split_once(':').ok_or_else(bad)?;
                rate = (num.parse().map_err(|_| bad())?, den.parse().map_err(|_| bad())?);
            }
            "I" if matches!(value, "p" | "?" | "") => {}
            "I" => return Err(format!("interlaced ({word}); only progressive pictures are supported").into()),
            "C" => sampling = parse_sampling(value)?,
            "X" if value.eq_ignore_ascii_case("COLORRANGE=FULL") => range = Some(ColorRange::Full),
            "X" if value.eq_ignore_ascii_case("COLORRANGE=LIMITED") => range = Some(ColorRange::Limited),
            _ => {}
        }
    }
    let ok = |side: u32| (1..=Image::MAX_SIDE).contains(&side);
    if !ok(width) || !ok(height) {
        return Err(format!("size {width}x{height}; sides are 1 to {}", Image::MAX_SIDE).into());
    }
    let (num, den): (u32, u32) = rate;
    let rate = NonZeroU32::new(num).filter(|_| den > 0).ok_or_else(|| format!("frame rate {num}:{den}"))?;
    Ok(Header { width, height, rate, step: den, sampling, color: assumed_color(height, range) })
}

fn parse_sampling(value: &str) -> Result<Sampling, BoxError> {
    Ok(match value {
        "420" | "420jpeg" | "420mpeg2" | "420paldv" => Sampling::C420,
        "422" => Sampling::C422,
        "444" => Sampling::C444,
        "mono" => Sampling::Mono,
        other => {
            let known = "8-bit C420, C422, C444 and Cmono are supported";
            return Err(format!("sampling C{other}: {known}").into());
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read() {
        let header = parse_header("YUV4MPEG2 W5 H3 F30000:1001 Ip A1:1 C444 XYSCSS=444 XCOLORRANGE=FULL");
        let header = header.expect("parses");
        assert_eq!((header.width, header.height, header.rate.get(), header.step), (5, 3, 30_000, 1001));
        assert_eq!((header.sampling, header.color), (Sampling::C444, ColorSpace::JPEG));
        assert_eq!(parse_header("YUV4MPEG2 W9 H720").expect("parses").color, ColorSpace::BT709);
    }

    #[test]
    fn what_cannot_be_shown_is_refused_by_name() {
        for (line, part) in [
            ("YUV4MPEG2 W4 H4 It", "interlaced (It)"),
            ("YUV4MPEG2 W4 H4 C420p10", "C420p10"),
            ("YUV4MPEG2 W4 F30:1", "size 4x0"),
            ("YUV4MPEG2 W4 H4 F30:0", "frame rate 30:0"),
            ("YUV4MPEG2 W4 Hx", "\"Hx\""),
            ("YUV4MPEG2 W4 H99999", "99999"),
            ("YUV4MPEG2 W4 H4 F25", "\"F25\""),
        ] {
            let error = parse_header(line).expect_err(line).to_string();
            assert!(error.contains(part), "{line}: {error}");
        }
        assert!(parse_header("YUV4MPEG2 W4 H4 é").is_ok(), "unknown parameters are skipped");
    }
}
