//! Boxes, points, lines and masks: what processors found, drawn.

use std::fmt::Write as _;
use std::sync::Arc;

use ooblex_core::{
    Annotation, AnnotationKind, BoxError, Frame, FrameProcessor, KindSpec, Options, ParamSpec, ParamType,
    ProcessContext, ProcessError, Verdict,
};

use super::canvas::{Canvas, Ink};
use super::mask::{Stretch, is_visible};
use super::style::OverlayStyle;
use super::{CELL, ROW};
use crate::planar::make_planar;

const COLOR: &str = "green";
const THICKEST: i64 = 32;
/// Shorter side of the picture from which lines are twice as thick, as a multiple: 1440, 2160, ...
const LINES_PER_WIDTH: u32 = 720;
/// Picture height a dot of the font: 1 dot is 1 pixel up to 719 lines, 2 at 720, 3 at 1080.
const LINES_PER_DOT: u32 = 360;
/// Lines between points are at most this thick, in their mean length; less so where many meet in a point.
const THICKNESS: f32 = 1.0 / 6.0;
/// Coordinates of boxes beyond this many picture sizes are as good as at it: both are out of sight.
const FAR: f32 = 4.0;

/// Draws the annotations that a frame carries, in YUV: boxes with label and score, points as discs, lines between
/// points, masks as translucent colour.
///
/// What lies outside the picture, is not finite, was not found (points of score 0) or contradicts itself is left out. If nothing is left, the frame stays
/// as it is: no pixel is decoded and the compressed form is kept.
#[derive(Debug)]
pub struct Overlay {
    style: OverlayStyle,
    masks: bool,
    model: Option<Arc<str>>,
    shapes: Vec<Shape>,
    /// The texts of all labels, one after another.
    text: String,
    stretch: Stretch,
}

/// Something to draw, in pixels, at least partly inside the picture.
#[derive(Clone, Debug, PartialEq)]
enum Shape {
    /// The mask of annotation number `.0`.
    Mask(usize),
    /// Left, top, and the first column and row beyond.
    Rect([i32; 4]),
    /// From, to, thickness.
    Line([f32; 2], [f32; 2], f32),
    /// The middle.
    Disc([f32; 2]),
    /// Left, top, width, height; bytes of [`Overlay::text`].
    Label([usize; 4], std::ops::Range<usize>),
}

impl Overlay {
    /// Draws what every model found.
    pub fn new(style: OverlayStyle) -> Self {
        Self {
            style,
            masks: true,
            model: None,
            shapes: Vec::new(),
            text: String::new(),
            stretch: Stretch::default(),
        }
    }

    /// Draws only what this model found.
    pub fn only_model(mut self, name: impl Into<Arc<str>>) -> Self {
        self.model = Some(name.into());
        self
    }

    /// Draws masks, as it does by default, or leaves them out.
    pub fn masks(mut self, masks: bool) -> Self {
        self.masks = masks;
        self
    }

    pub(super) fn spec() -> KindSpec {
        let flag = |name, what| ParamSpec::new(name, ParamType::Bool, true, what);
        KindSpec::new("overlay", "Draws what the steps before it found: boxes, points, masks")
            .param(ParamSpec::new("color", ParamType::Text(16), COLOR, "colour: a name or #rrggbb"))
            .param(ParamSpec::new("width", ParamType::Int(1..=THICKEST), 2, "thickness of lines").unit("px"))
            .param(flag("labels", "write label and score beside boxes"))
            .param(flag("points", "draw points"))
            .param(flag("masks", "draw masks"))
    }

    pub(super) fn from_options(options: &Options) -> Result<Self, BoxError> {
        let color: String = options.get_or("color", COLOR.to_owned())?;
        let style = OverlayStyle {
            color: OverlayStyle::color_from(&color)?,
            width_px: options.get_or("width", 2)?,
            labels: options.get_or("labels", true)?,
            points: options.get_or("points", true)?,
            edges: &[],
        };
        Ok(Self::new(style).masks(options.get_or("masks", true)?))
    }

    /// Fills [`shapes`](Self::shapes), those to be drawn first first.
    fn plan(&mut self, annotations: &[Annotation], width: u32, height: u32) {
        self.shapes.clear();
        self.text.clear();
        let of_model = |a: &&Annotation| self.model.as_ref().is_none_or(|model| *model == a.model);
        let mut plan = Plan {
            style: self.style,
            width,
            height,
            shapes: &mut self.shapes,
            text: &mut self.text,
            line: line_width(self.style, width, height),
            dot: dot(height),
            statements: 0,
        };
        for (index, annotation) in annotations.iter().enumerate() {
            if self.masks && of_model(&annotation) && annotation.mask.as_ref().is_some_and(is_visible) {
                plan.shapes.push(Shape::Mask(index));
            }
        }
        annotations.iter().filter(of_model).for_each(|annotation| plan.border(annotation));
        annotations.iter().filter(of_model).for_each(|annotation| plan.points(annotation));
        if self.style.labels {
            annotations.iter().filter(of_model).for_each(|annotation| plan.label(annotation));
        }
    }
}

impl FrameProcessor for Overlay {
    fn process(&mut self, frame: &mut Frame, _cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let (width, height) = (frame.image.width(), frame.image.height());
        self.plan(&frame.annotations, width, height);
        if self.shapes.is_empty() {
            return Ok(Verdict::Emit);
        }
        let image = make_planar(&mut frame.image)?;
        let color = image.color();
        let ink = Ink::of(self.style.color, color);
        let (line, dot) = (line_width(self.style, width, height) as f32, dot(height) as usize);
        let mut canvas = Canvas::new(image)?;
        for shape in &self.shapes {
            match shape {
                Shape::Mask(index) => {
                    if let Some(mask) = &frame.annotations[*index].mask {
                        self.stretch.blend(mask, ink, &mut canvas);
                    }
                }
                Shape::Rect(sides) => canvas.rect(*sides, ink),
                Shape::Line(from, to, width) => canvas.line(*from, *to, *width, ink),
                Shape::Disc(center) => canvas.disc(*center, line, ink),
                Shape::Label(area, text) => canvas.label(&self.text[text.clone()], *area, dot, color),
            }
        }
        Ok(Verdict::Emit)
    }
}

fn line_width(style: OverlayStyle, width: u32, height: u32) -> i32 {
    i32::from(style.width_px.max(1)) * (width.min(height) / LINES_PER_WIDTH).max(1) as i32
}

fn dot(height: u32) -> i32 {
    (height / LINES_PER_DOT).max(1) as i32
}

/// Whether a line that reaches `reach` to either side, or beyond its only point, touches a picture of this size.
fn crosses(from: [f32; 2], to: [f32; 2], reach: f32, [width, height]: [f32; 2]) -> bool {
    let near = |a: f32, b: f32, size: f32| a.max(b) > -reach && a.min(b) < size + reach;
    if !near(from[0], to[0], width) || !near(from[1], to[1], height) {
        return false;
    }
    // It passes by if all corners lie on one side of it.
    let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
    let limit = reach * dx.hypot(dy);
    let side = |x: f32, y: f32| (x - from[0]) * dy - (y - from[1]) * dx;
    let sides = [side(0.0, 0.0), side(width, 0.0), side(0.0, height), side(width, height)];
    !sides.iter().all(|s| *s > limit) && !sides.iter().all(|s| *s < -limit)
}

/// Turns annotations into shapes.
struct Plan<'a> {
    style: OverlayStyle,
    width: u32,
    height: u32,
    shapes: &'a mut Vec<Shape>,
    text: &'a mut String,
    /// Thickness of lines and radius of discs.
    line: i32,
    /// Side of a dot of the font.
    dot: i32,
    /// Lines of text at the top left so far.
    statements: i32,
}

impl Plan<'_> {
    /// The border of a box.
    fn border(&mut self, annotation: &Annotation) {
        if annotation.kind != AnnotationKind::Box {
            return;
        }
        let Some([left, top, right, bottom]) = self.outline(annotation) else { return };
        let line = self.line;
        let (inner_top, inner_bottom) = ((top + line).min(bottom), (bottom - line).max(top));
        self.rect([left, top, right, inner_top]);
        self.rect([left, inner_bottom, right, bottom]);
        self.rect([left, inner_top, left + line, inner_bottom]);
        self.rect([right - line, inner_top, right, inner_bottom]);
    }

    fn points(&mut self, annotation: &Annotation) {
        let size = [self.width as f32, self.height as f32];
        let line = self.line as f32;
        let at = |i: usize| {
            let p = annotation.points.get(i)?;
            let pixel = [p[0] * size[0], p[1] * size[1]];
            // A score of 0 says that the point was not found.
            let found = annotation.point_scores.get(i).is_none_or(|score| *score > 0.0);
            (found && pixel.iter().all(|v| v.is_finite())).then_some(pixel)
        };
        let edges =
            self.style.edges.iter().filter_map(|&(from, to)| Some((at(from.into())?, at(to.into())?)));
        let (count, length) = edges.clone().fold((0.0, 0.0), |(count, length), (from, to)| {
            (count + 1.0, length + (to[0] - from[0]).hypot(to[1] - from[1]))
        });
        // A small figure of many lines would be filled by them.
        let lines_per_point = (count / annotation.points.len() as f32).max(1.0);
        let width = line.min(THICKNESS * length / count / lines_per_point);
        let edges = edges.filter(|(from, to)| crosses(*from, *to, line, size));
        self.shapes.extend(edges.map(|(from, to)| Shape::Line(from, to, width)));
        if self.style.points {
            let points = (0..annotation.points.len()).filter_map(at);
            self.shapes.extend(points.filter(|p| crosses(*p, *p, line, size)).map(Shape::Disc));
        }
    }

    fn rect(&mut self, sides: [i32; 4]) {
        let [left, top, right, bottom] = sides;
        if left.max(0) < right.min(self.width as i32) && top.max(0) < bottom.min(self.height as i32) {
            self.shapes.push(Shape::Rect(sides));
        }
    }

    /// The outer border of a box's lines, on even columns and rows, so that lines of even thickness end where samples
    /// of chroma do. `None` if the box does not reach into the picture.
    fn outline(&self, annotation: &Annotation) -> Option<[i32; 4]> {
        let [x, y, w, h] = annotation.bounds?;
        let (x1, y1) = (x + w, y + h);
        let sides = [x, y, x1, y1];
        if !sides.iter().all(|v| v.is_finite())
            || w < 0.0
            || h < 0.0
            || x >= 1.0
            || y >= 1.0
            || x1 <= 0.0
            || y1 <= 0.0
        {
            return None;
        }
        let half = self.line as f32 / 2.0;
        let even = |v: f32, size: u32, shift: f32| {
            2 * ((v.clamp(-FAR, FAR) * size as f32 + shift) / 2.0).round() as i32
        };
        Some([
            even(x, self.width, -half),
            even(y, self.height, -half),
            even(x1, self.width, half),
            even(y1, self.height, half),
        ])
    }

    /// Above the box, within its top where there is no room above; statements about the whole picture at the top left.
    fn label(&mut self, annotation: &Annotation) {
        let start = self.text.len();
        // Invariant: writing to a `String` cannot fail.
        let _ = write!(self.text, "{}", annotation.label);
        if annotation.score.is_finite() {
            let _ = write!(self.text, " {:.2}", annotation.score);
        }
        let dot = self.dot;
        let columns = self.text[start..].chars().count() as i32;
        let (width, height) = (columns * CELL as i32 * dot + 3 * dot, (ROW as i32 + 2) * dot);
        let (left, top) = match (annotation.kind, self.outline(annotation)) {
            (AnnotationKind::Box, Some([left, top, ..])) => {
                (left, if top < height { top } else { top - height })
            }
            (AnnotationKind::Label, _) => {
                self.statements += 1;
                (0, (self.statements - 1) * height)
            }
            _ => return self.text.truncate(start),
        };
        let (all_width, all_height) = (self.width as i32, self.height as i32);
        let (width, height) = (width.min(all_width), height.min(all_height));
        let area = [left.clamp(0, all_width - width), top.clamp(0, all_height - height), width, height];
        self.shapes.push(Shape::Label(area.map(|v| v as usize), start..self.text.len()));
    }
}

#[cfg(test)]
mod tests;
