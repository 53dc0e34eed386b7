//! Smoother skin.

use ooblex_core::{
    BoxError, Frame, FrameProcessor, Image, ImageError, KindSpec, Options, ParamSpec, ParamType,
    ProcessContext, ProcessError, Registry, Verdict,
};

use super::face_shape::{MAX_FACES, Shape, max_faces};
use super::mesh::MeshFinder;
use super::mesh_topology::{LEFT_BROW, LEFT_EYE, OUTER_LIPS, OVAL, RIGHT_BROW, RIGHT_EYE};
use crate::color::Levels;
use crate::kernels::guided::{BoxMean, Guided};
use crate::manager::{FACEMESH, Models};
use crate::planar::make_planar;

const STRENGTH: f64 = 0.5;
/// Differences of luma of which half stays at a strength of 1, in full-range steps.
const DEVIATION: f32 = 30.0;
/// Radius of the window, and width of the soft border, in widths of the face.
const WINDOW: f32 = 1.0 / 16.0;
const BORDER: f32 = 1.0 / 24.0;
/// Skin is what lies within the outline of the face, drawn in a little, ...
const INSIDE: f32 = 0.95;
/// ... but not within these, widened: lids and lashes, brows and lips.
const NOT_SKIN: [(&[u16], f32); 5] =
    [(RIGHT_EYE, 1.5), (LEFT_EYE, 1.5), (RIGHT_BROW, 1.3), (LEFT_BROW, 1.3), (OUTER_LIPS, 1.15)];

/// Smooths the skin of each face and keeps edges; eyes, brows and lips stay as they are.
struct BeautyFilter {
    finder: MeshFinder,
    strength: f32,
    skin: Skin,
    samples: Vec<u8>,
    filter: Guided,
}

/// Adds `beauty_filter`.
pub(super) fn register(registry: &mut Registry, models: &Models) {
    let strength =
        ParamSpec::new("strength", ParamType::Float(0.0..=1.0), STRENGTH, "how smooth; 0 is not at all");
    let spec = KindSpec::new("beauty_filter", "Smoother skin").aliases(&["BeautyFilterOn"]);
    let models = models.clone();
    registry.add(spec.needs_model(FACEMESH).param(strength).param(max_faces()), move |options: &Options| {
        Ok::<_, BoxError>(BeautyFilter {
            finder: MeshFinder::new(&models, options.get_or("max_faces", MAX_FACES)?)?,
            strength: options.get_or("strength", STRENGTH as f32)?,
            skin: Skin::default(),
            samples: Vec::new(),
            filter: Guided::default(),
        })
    });
}

impl BeautyFilter {
    fn smooth(&mut self, image: &mut Image, face: &Shape) -> Result<(), ImageError> {
        let Some([left, top, right, bottom]) = self.skin.find(face, [image.width(), image.height()]) else {
            return Ok(());
        };
        let deviation = Levels::of(image.color()).scale(self.strength * DEVIATION);
        let width = face.width();
        for index in 0..image.format().plane_count() {
            // The region has even sides, and so has a picture with chroma, rounded up.
            let shift = usize::from(index > 0);
            let mut plane = image.plane_mut(index)?;
            let columns = left >> shift..(right >> shift).min(plane.row_bytes());
            let rows = top >> shift..(bottom >> shift).min(plane.row_count());
            self.samples.clear();
            rows.clone().for_each(|y| self.samples.extend_from_slice(&plane.row_mut(y)[columns.clone()]));
            let radius = ((width * WINDOW) as usize >> shift).max(1);
            self.filter.run(&mut self.samples, columns.len(), radius, deviation);
            for (y, smooth) in rows.zip(self.samples.chunks_exact(columns.len().max(1))) {
                let weights = self.skin.row(y - (top >> shift), shift);
                let pixels = plane.row_mut(y)[columns.clone()].iter_mut().zip(smooth);
                for ((v, smooth), weight) in pixels.zip(weights) {
                    let difference = (f32::from(*smooth) - f32::from(*v)) * weight;
                    *v = (f32::from(*v) + difference + 0.5) as u8;
                }
            }
        }
        Ok(())
    }
}

impl FrameProcessor for BeautyFilter {
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let faces = Shape::find(&mut self.finder, frame, cx)?;
        if faces.is_empty() || self.strength <= 0.0 {
            return Ok(Verdict::Emit);
        }
        let image = make_planar(&mut frame.image)?;
        faces.iter().try_for_each(|face| self.smooth(image, face))?;
        Ok(Verdict::Emit)
    }

    fn warm_up(&mut self) -> Result<(), BoxError> {
        Ok(self.finder.load()?)
    }
}

/// Where skin is, as weights from 0 to 1 with soft borders, one for 2x2 pixels.
#[derive(Debug, Default)]
struct Skin {
    weights: Vec<f32>,
    width: usize,
    crossings: Vec<f32>,
    means: BoxMean,
}

impl Skin {
    /// Finds the skin of a face: left, top, right and bottom of where it is, in pixels, all even. `None` if it is nowhere
    /// in a picture of this size.
    fn find(&mut self, face: &Shape, size: [u32; 2]) -> Option<[usize; 4]> {
        let oval = face.outline(OVAL, INSIDE);
        let radius = (face.width() * BORDER / 2.0).max(1.0) as usize;
        // Two means of that radius follow, each of which widens the skin by it.
        let room = (4 * radius + 2) as f32;
        let side = |i: usize| {
            let low = oval.iter().fold(f32::INFINITY, |low, p| low.min(p[i])) - room;
            let high = oval.iter().fold(f32::NEG_INFINITY, |high, p| high.max(p[i])) + room;
            // Conversion saturates, and what is not a number is 0.
            let even = |v: f32| (v.clamp(0.0, size[i] as f32) as usize).next_multiple_of(2);
            (even(low), even(high))
        };
        let ((left, right), (top, bottom)) = (side(0), side(1));
        if left >= right || top >= bottom {
            return None;
        }
        self.width = (right - left) / 2;
        self.weights.clear();
        self.weights.resize(self.width * (bottom - top) / 2, 0.0);
        let halved = |points: Vec<[f32; 2]>| -> Vec<[f32; 2]> {
            points.iter().map(|[x, y]| [(x - left as f32) / 2.0, (y - top as f32) / 2.0]).collect()
        };
        self.fill(&halved(oval), 1.0);
        NOT_SKIN.iter().for_each(|(points, wider)| self.fill(&halved(face.outline(points, *wider)), 0.0));
        for _ in 0..2 {
            self.means.run(&mut self.weights, self.width, radius);
        }
        Some([left, top, right, bottom])
    }

    /// Sets the weights within a polygon.
    fn fill(&mut self, polygon: &[[f32; 2]], value: f32) {
        for (y, row) in self.weights.chunks_exact_mut(self.width).enumerate() {
            let y = y as f32 + 0.5;
            self.crossings.clear();
            for (i, [x1, y1]) in polygon.iter().enumerate() {
                let [x2, y2] = polygon[(i + 1) % polygon.len()];
                if (*y1 <= y) != (y2 <= y) {
                    self.crossings.push(x1 + (y - y1) / (y2 - y1) * (x2 - x1));
                }
            }
            self.crossings.sort_by(f32::total_cmp);
            for pair in self.crossings.chunks_exact(2) {
                let [start, end] =
                    [pair[0], pair[1]].map(|x| ((x - 0.5).ceil().max(0.0) as usize).min(row.len()));
                row[start..end.max(start)].fill(value);
            }
        }
    }

    /// The weights of a row of samples, of luma (`shift` 0) or chroma (1).
    fn row(&self, y: usize, shift: usize) -> impl Iterator<Item = f32> {
        let row = &self.weights[(y >> (1 - shift)) * self.width..][..self.width];
        (0..self.width << (1 - shift)).map(move |x| row[x >> (1 - shift)])
    }
}
