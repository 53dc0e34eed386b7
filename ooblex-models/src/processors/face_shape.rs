//! Where the parts of a face are, in pixels.

use ooblex_core::{BoxError, Frame, ParamSpec, ParamType, ProcessContext};

use super::mesh::{MOST_FACES, MeshFinder};

/// Faces looked for unless told otherwise.
pub(super) const MAX_FACES: usize = 2;
/// Points of the outline beside the ears.
const SIDES: (u16, u16) = (234, 454);
/// Middle of the forehead, chin.
const HEIGHT: (u16, u16) = (10, 152);

/// The parameter that says how many faces are looked for.
pub(super) fn max_faces() -> ParamSpec {
    let kind = ParamType::Int(1..=MOST_FACES);
    ParamSpec::new("max_faces", kind, MAX_FACES as i64, "most faces to look for")
}

/// The points of a face in pixels.
pub(super) struct Shape(Vec<[f32; 2]>);

impl Shape {
    /// The faces in a frame whose pixels will be changed if there are any.
    pub(super) fn find(
        finder: &mut MeshFinder,
        frame: &mut Frame,
        cx: &ProcessContext<'_>,
    ) -> Result<Vec<Self>, BoxError> {
        let (width, height) = (frame.image.width() as f32, frame.image.height() as f32);
        let found = finder.find(&mut frame.image, true, cx.deadline)?;
        Ok(found
            .map(|mesh| Self(mesh.points.iter().map(|[x, y]| [x * width, y * height]).collect()))
            .collect())
    }

    /// Point number `i` of the mesh.
    pub(super) fn at(&self, i: u16) -> [f32; 2] {
        self.0[usize::from(i)]
    }

    /// The mean of several points.
    pub(super) fn middle(&self, points: &[u16]) -> [f32; 2] {
        let sum = points.iter().map(|i| self.at(*i)).fold([0.0; 2], |a, b| [a[0] + b[0], a[1] + b[1]]);
        sum.map(|v| v / points.len() as f32)
    }

    /// Several points, as often as far from their middle as they are.
    pub(super) fn outline(&self, points: &[u16], wider: f32) -> Vec<[f32; 2]> {
        let middle = self.middle(points);
        let each = points.iter().map(|i| self.at(*i));
        each.map(|p| [0, 1].map(|i| middle[i] + (p[i] - middle[i]) * wider)).collect()
    }

    /// How far two points are apart.
    pub(super) fn distance(&self, a: u16, b: u16) -> f32 {
        let (a, b) = (self.at(a), self.at(b));
        (a[0] - b[0]).hypot(a[1] - b[1])
    }

    /// From one side to the other, or three quarters of the height if a face turned aside looks narrower.
    pub(super) fn width(&self) -> f32 {
        self.distance(SIDES.0, SIDES.1).max(0.75 * self.height())
    }

    /// From the forehead, below the hair, to the chin.
    pub(super) fn height(&self) -> f32 {
        self.distance(HEIGHT.0, HEIGHT.1)
    }
}
