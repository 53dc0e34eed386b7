//! A line or two of text in a corner.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use ooblex_core::{
    ColorRange, Frame, FrameProcessor, Image, ImageError, KindSpec, Options, ParamSpec, ParamType, PlaneMut,
    ProcessContext, ProcessError, RegistryError, Verdict,
};

use super::font::{self, glyph};
use super::{CELL, ROW};
use crate::planar::make_planar;

const TEXT: &str = "{stream} {fps} fps {latency} ms";
const LONGEST: usize = 200;
const LARGEST: i64 = 16;
/// Picture height a dot where the size is automatic: 1 dot is 1 pixel up to 360 lines, 3 pixels at 1080.
const LINES_PER_DOT: usize = 360;
/// Weight of the newest interval in the frame rate.
const SMOOTHING: f64 = 0.1;

/// Where text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Corner {
    /// Top left.
    TopLeft,
    /// Top right.
    TopRight,
    /// Bottom left.
    BottomLeft,
    /// Bottom right.
    BottomRight,
}

impl Corner {
    const ALL: [(&str, Self); 4] = [
        ("top_left", Self::TopLeft),
        ("top_right", Self::TopRight),
        ("bottom_left", Self::BottomLeft),
        ("bottom_right", Self::BottomRight),
    ];
}

/// Writes text into a corner: white on a darkened box, in a bitmap font of the crate's own.
///
/// In the text, `{stream}`, `{sequence}`, `{width}`, `{height}`, `{fps}` (frames a second, smoothed) and
/// `{latency}` (milliseconds since the frame arrived) are replaced; other braces stay. A line break begins a new
/// line. Characters other than printable ASCII appear as a box; what does not fit is cut off.
#[derive(Debug)]
pub struct TextOverlay {
    template: String,
    /// Pixels a dot; 0 is automatic.
    dot: usize,
    corner: Corner,
    line: String,
    last: Option<Instant>,
    interval: Option<f64>,
}

impl TextOverlay {
    /// `size` is the side of a dot in pixels, 0 for automatic; a character takes 6 by 10 dots.
    pub fn new(text: &str, size: u8, corner: Corner) -> Self {
        let dot = usize::from(size).min(LARGEST as usize);
        Self { template: text.to_owned(), dot, corner, line: String::new(), last: None, interval: None }
    }

    pub(super) fn spec() -> KindSpec {
        let corners = Corner::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
        KindSpec::new("text_overlay", "Text in a corner: stream, frame rate, latency")
            .param(ParamSpec::new(
                "text",
                ParamType::Text(LONGEST),
                TEXT,
                "what to write; {stream}, {sequence}, {width}, {height}, {fps} and {latency} are replaced",
            ))
            .param(
                ParamSpec::new("size", ParamType::Int(0..=LARGEST), 0, "side of a dot, 0 for automatic")
                    .unit("px"),
            )
            .param(ParamSpec::new("corner", ParamType::Choice(corners), Corner::ALL[0].0, "where it stands"))
    }

    pub(super) fn from_options(options: &Options) -> Result<Self, RegistryError> {
        let name: String = options.get_or("corner", String::new())?;
        let corner = Corner::ALL
            .iter()
            .find(|(known, _)| *known == name)
            .map_or(Corner::TopLeft, |(_, corner)| *corner);
        let text: String = options.get_or("text", TEXT.to_owned())?;
        Ok(Self::new(&text, options.get_or("size", 0)?, corner))
    }

    /// Notes that a frame came at `now`, for the frame rate.
    fn tick(&mut self, now: Instant) {
        if let Some(last) = self.last.replace(now) {
            let seconds = now.saturating_duration_since(last).as_secs_f64();
            let known = self.interval.unwrap_or(seconds);
            self.interval = Some(known + SMOOTHING * (seconds - known));
        }
    }

    /// Fills [`line`](Self::line) from the template.
    fn write(&mut self, frame: &Frame, latency: Duration) {
        let (template, line) = (&self.template, &mut self.line);
        line.clear();
        let mut rest = template.as_str();
        while let Some(start) = rest.find('{') {
            line.push_str(&rest[..start]);
            rest = &rest[start..];
            let end = rest.find('}').map_or(rest.len(), |end| end + 1);
            // Invariant: writing to a `String` cannot fail.
            let _ = match &rest[..end] {
                "{stream}" => write!(line, "{}", frame.stream),
                "{sequence}" => write!(line, "{}", frame.sequence),
                "{width}" => write!(line, "{}", frame.image.width()),
                "{height}" => write!(line, "{}", frame.image.height()),
                "{latency}" => write!(line, "{}", latency.as_millis()),
                "{fps}" => match self.interval {
                    Some(seconds) if seconds > 0.0 => write!(line, "{:.1}", 1.0 / seconds),
                    _ => write!(line, "-"),
                },
                // Not a placeholder: the brace itself, then go on behind it.
                _ => {
                    line.push('{');
                    rest = &rest[1..];
                    continue;
                }
            };
            rest = &rest[end..];
        }
        line.push_str(rest);
    }

    fn draw(&self, image: &mut Image) -> Result<(), ImageError> {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let dot = if self.dot == 0 { (height / LINES_PER_DOT).max(1) } else { self.dot };
        let (black, white) = if image.color().range == ColorRange::Full { (0, 255) } else { (16, 235) };
        let columns = self.line.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        let lines = self.line.lines().count();
        if columns == 0 {
            return Ok(());
        }
        // One dot between characters and between lines, two around the text but one below, where little reaches.
        let (cell, row) = (CELL * dot, ROW * dot);
        let (box_width, box_height) =
            ((columns * cell + 3 * dot).min(width), (lines * row + 2 * dot).min(height));
        let left =
            if matches!(self.corner, Corner::TopLeft | Corner::BottomLeft) { 0 } else { width - box_width };
        let top =
            if matches!(self.corner, Corner::TopLeft | Corner::TopRight) { 0 } else { height - box_height };
        let mut luma = image.plane_mut(0)?;
        for y in top..top + box_height {
            for v in &mut luma.row_mut(y)[left..left + box_width] {
                *v = black + v.saturating_sub(black) / 4;
            }
        }
        for (number, line) in self.line.lines().enumerate() {
            for (column, c) in line.chars().enumerate() {
                let at = (left + 2 * dot + column * cell, top + 2 * dot + number * row);
                stamp(&mut luma, c, at, dot, white);
            }
        }
        for index in 1..image.format().plane_count() {
            let mut plane = image.plane_mut(index)?;
            for y in top / 2..(top + box_height).div_ceil(2) {
                plane.row_mut(y)[left / 2..(left + box_width).div_ceil(2)].fill(128);
            }
        }
        Ok(())
    }
}

/// Draws a character; dots outside the plane are left out.
pub(super) fn stamp(plane: &mut PlaneMut<'_>, c: char, (left, top): (usize, usize), dot: usize, value: u8) {
    let (width, height) = (plane.row_bytes(), plane.row_count());
    for (y, bits) in glyph(c).into_iter().enumerate() {
        for x in (0..font::WIDTH).filter(|x| bits >> (font::WIDTH - 1 - x) & 1 == 1) {
            let start = (left + x * dot).min(width);
            let end = (start + dot).min(width);
            for row in (top + y * dot).min(height)..(top + (y + 1) * dot).min(height) {
                plane.row_mut(row)[start..end].fill(value);
            }
        }
    }
}

impl Default for TextOverlay {
    /// Stream, frame rate and latency at the top left.
    fn default() -> Self {
        Self::new(TEXT, 0, Corner::TopLeft)
    }
}

impl FrameProcessor for TextOverlay {
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        self.tick(cx.now);
        self.write(frame, cx.now.saturating_duration_since(frame.received));
        self.draw(make_planar(&mut frame.image)?)?;
        Ok(Verdict::Emit)
    }
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::frame_of;
    use ooblex_core::{BufferPool, Clock, ColorSpace, PixelFormat};

    use super::*;

    fn grey(width: u32, height: u32) -> Frame {
        let mut image =
            Image::alloc(PixelFormat::I420, width, height, ColorSpace::JPEG, &BufferPool::default())
                .expect("a picture");
        for (index, value) in [(0, 100), (1, 90), (2, 200)] {
            image.plane_mut(index).expect("plane").fill(value);
        }
        frame_of(image)
    }

    fn run(overlay: &mut TextOverlay, frame: &mut Frame, clock: &Clock) {
        let pool = BufferPool::default();
        overlay.process(frame, &mut ProcessContext::new(clock, &pool)).expect("draws");
    }

    #[test]
    fn placeholders_are_replaced_and_other_braces_stay() {
        let mut frame = grey(64, 48);
        frame.sequence = 12;
        let clock = Clock::manual(frame.received);
        clock.advance(Duration::from_millis(34));
        let mut overlay = TextOverlay::new(
            "{stream}/{sequence} {width}x{height} {fps} {latency}ms {x} {",
            1,
            Corner::TopLeft,
        );
        run(&mut overlay, &mut frame, &clock);
        assert_eq!(overlay.line, "default/12 64x48 - 34ms {x} {");
        for _ in 0..50 {
            clock.advance(Duration::from_millis(40));
            run(&mut overlay, &mut frame, &clock);
        }
        assert!(overlay.line.contains(" 25.0 "), "{}", overlay.line);
    }

    #[test]
    fn a_letter_looks_as_drawn() {
        let mut frame = grey(32, 20);
        let clock = Clock::manual(frame.received);
        run(&mut TextOverlay::new("T", 1, Corner::TopLeft), &mut frame, &clock);
        let image = frame.image.pixels().expect("pixels");
        let luma = image.plane(0).expect("plane");
        assert_eq!(luma.row(2)[..10], [25, 25, 255, 255, 255, 255, 255, 25, 25, 100]);
        for y in 3..9 {
            assert_eq!(luma.row(y)[..10], [25, 25, 25, 25, 255, 25, 25, 25, 25, 100]);
        }
        assert_eq!(luma.row(9)[..4], [25, 25, 25, 25]);
        assert_eq!(luma.row(11)[..4], [25; 4]);
        assert_eq!(luma.row(12)[..4], [100; 4]);
        assert_eq!(image.plane(1).expect("plane").row(0)[..6], [128, 128, 128, 128, 128, 90]);
    }

    #[test]
    fn every_corner_and_size_stays_inside() {
        for (name, corner) in Corner::ALL {
            for (width, height) in [(1, 1), (2, 7), (33, 21), (640, 360)] {
                for size in [0, 1, 3, 16] {
                    let mut frame = grey(width, height);
                    let clock = Clock::manual(frame.received);
                    run(&mut TextOverlay::new("two\nlines é", size, corner), &mut frame, &clock);
                    let luma = frame.image.pixels().expect("pixels").plane(0).expect("plane");
                    let (rows, columns) = (luma.row_count(), luma.row_bytes());
                    let corner_value = |y: usize, x: usize| luma.row(y)[x];
                    let (y, x) = (
                        if name.starts_with("top") { 0 } else { rows - 1 },
                        if name.ends_with("left") { 0 } else { columns - 1 },
                    );
                    assert_ne!(corner_value(y, x), 100, "{name} {width}x{height} {size}");
                    if (width, height, size) == (640, 360, 0) {
                        assert_eq!(corner_value(rows - 1 - y, columns - 1 - x), 100, "{name}");
                    }
                }
            }
        }
    }

    #[test]
    fn no_text_changes_nothing() {
        let mut frame = grey(20, 20);
        let clock = Clock::manual(frame.received);
        let before = frame.image.pixels().expect("pixels").to_packed().expect("host");
        run(&mut TextOverlay::new("", 0, Corner::TopLeft), &mut frame, &clock);
        assert_eq!(frame.image.pixels().expect("pixels").to_packed().expect("host"), before);
    }
}
