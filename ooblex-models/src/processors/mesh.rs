//! 468 points on each face, followed from frame to frame.

use std::time::Instant;

use ooblex_core::{BoxError, Image, Picture};

use super::faces::{Face, FindFaces, LargeFaces, look_closer};
use super::mesh_topology::{LEFT_EYE, RIGHT_EYE};
use crate::manager::{FACEMESH, ModelError, ModelHandle, Models};
use crate::postprocess::{numbers, outputs, sigmoid};
use crate::preprocess::{Components, Fit, InputSpec, Layout, Preprocess, Square, analysis_image};

/// Most faces that can be followed at once.
pub(crate) const MOST_FACES: i64 = 4;
/// Points on a face.
pub(crate) const POINTS: usize = 468;
/// Side of the model's input.
const SIDE: usize = 192;
/// Side of the part of the picture that the model sees, in sides of the face's box or mesh.
const MARGIN: f32 = 1.5;
/// Confidence that there is a face in that part, from which its points count.
const PRESENT: f32 = 0.5;
/// Confidence from which a box counts as a face.
const MIN_CONFIDENCE: f32 = 0.5;
/// While fewer faces are followed than are wanted, new ones are looked for in every so manieth frame.
const LOOK_EVERY: u32 = 10;
/// Two parts whose middles are closer than this, in sides of the larger one, show the same face.
const SAME: f32 = 0.25;

/// The points of one face.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mesh {
    /// Places in shares of the picture, [`POINTS`] of them.
    pub(crate) points: Vec<[f32; 2]>,
    /// Confidence in [0, 1] that there is a face.
    pub(crate) score: f32,
}

/// Finds faces by a detector and their points by the mesh model. A face that was found is followed: where its points
/// were, the model looks for them in the next frame, without the detector.
pub(crate) struct MeshFinder {
    faces: Box<dyn FindFaces>,
    model: ModelHandle,
    input: Preprocess,
    most: usize,
    /// Faces of the last frame: where to look in the next one, in pixels of the whole picture, and what was found.
    followed: Vec<(Square, Mesh)>,
    /// Width and height of the last picture.
    size: (u32, u32),
    since_detection: u32,
}

impl MeshFinder {
    /// Finds at most `most` faces.
    pub(crate) fn new(models: &Models, most: usize) -> Result<Self, ModelError> {
        let spec = InputSpec {
            width: SIDE,
            height: SIDE,
            layout: Layout::Nhwc,
            components: Components::Rgb,
            mean: [0.0; 3],
            scale: [1.0 / 255.0; 3],
            fit: Fit::Stretch,
        };
        Ok(Self {
            faces: Box::new(LargeFaces::new(models)?),
            model: models.handle(FACEMESH)?,
            input: Preprocess::new(spec),
            most,
            followed: Vec::new(),
            size: (0, 0),
            since_detection: 0,
        })
    }

    pub(crate) fn load(&mut self) -> Result<(), ModelError> {
        self.faces.load()?;
        self.model.load().map(|_| ())
    }

    /// The faces in the picture. `pixels` says that the caller wants its pixels anyway if there is a face; else a
    /// compressed picture is decoded only as far as the models need it.
    pub(crate) fn find(
        &mut self,
        picture: &mut Picture,
        pixels: bool,
        deadline: Option<Instant>,
    ) -> Result<impl Iterator<Item = &Mesh> + use<'_>, BoxError> {
        let size = (picture.width(), picture.height());
        let mut before: Vec<Square> = self.followed.drain(..).map(|(part, _)| part).collect();
        if std::mem::replace(&mut self.size, size) != size {
            before.clear();
        }
        for part in &before {
            self.follow(picture, pixels, *part, deadline)?;
        }
        self.since_detection += 1;
        let lost = before.is_empty() || self.followed.len() < before.len();
        if self.followed.len() < self.most && (lost || self.since_detection >= LOOK_EVERY) {
            self.since_detection = 0;
            let image = analysis_image(picture, &self.faces.input(size.0, size.1), false)?;
            for face in self.faces.find(&image, MIN_CONFIDENCE, deadline)? {
                let part = part_of(&face, size);
                let new = self.followed.iter().all(|(followed, _)| !same(followed, &part));
                if new && part.side >= 1.0 && self.followed.len() < self.most {
                    self.follow(picture, pixels, part, deadline)?;
                }
            }
        }
        Ok(self.followed.iter().map(|(_, mesh)| mesh))
    }

    /// Looks for a face's points in `part`, and keeps them if there is a face that is not followed yet.
    fn follow(
        &mut self,
        picture: &mut Picture,
        pixels: bool,
        part: Square,
        deadline: Option<Instant>,
    ) -> Result<(), BoxError> {
        let (width, height) = self.size;
        let share = part.side / width.max(height) as f32;
        let image = look_closer(picture, share, SIDE, pixels)?;
        let mesh = self.mesh(&image, &part, deadline)?;
        if mesh.score >= PRESENT {
            let next = part_around(&mesh.points, self.size);
            if next.side >= 1.0 && self.followed.iter().all(|(followed, _)| !same(followed, &next)) {
                self.followed.push((next, mesh));
            }
        }
        Ok(())
    }

    fn mesh(&mut self, image: &Image, part: &Square, deadline: Option<Instant>) -> Result<Mesh, BoxError> {
        // The image may be a reduced one.
        let scale = [image.width() as f32 / self.size.0 as f32, image.height() as f32 / self.size.1 as f32];
        let square = Square {
            center: [part.center[0] * scale[0], part.center[1] * scale[1]],
            side: part.side * scale[0],
            angle: part.angle,
        };
        let placement = self.input.fill_square(image, &square, self.model.input(0)?)?;
        let [landmarks, presence] = outputs(self.model.run(deadline)?)?;
        let (landmarks, presence) = (numbers(landmarks, 3 * POINTS)?, numbers(presence, 1)?);
        let points = landmarks.chunks_exact(3);
        Ok(Mesh {
            points: points.map(|p| placement.point([p[0], p[1]])).collect(),
            score: sigmoid(presence[0]),
        })
    }
}

fn pixels(share: [f32; 2], (width, height): (u32, u32)) -> [f32; 2] {
    [share[0] * width as f32, share[1] * height as f32]
}

/// The part around a face that the detector found: 1.5 of its box, its eyes level.
fn part_of(face: &Face, size: (u32, u32)) -> Square {
    let [x, y, w, h] = face.rect;
    let [w, h] = pixels([w, h], size);
    let center = pixels([x + face.rect[2] / 2.0, y + face.rect[3] / 2.0], size);
    let [right, left] = face.eyes().map(|eye| pixels(eye, size));
    Square { center, side: MARGIN * w.max(h), angle: angle(right, left) }
}

/// The part around a mesh, its eyes level.
fn part_around(points: &[[f32; 2]], size: (u32, u32)) -> Square {
    let at = |i: u16| pixels(points[usize::from(i)], size);
    let angle = angle(at(RIGHT_EYE[0]), at(LEFT_EYE[0]));
    let (sin, cos) = angle.sin_cos();
    let (mut low, mut high) = ([f32::INFINITY; 2], [f32::NEG_INFINITY; 2]);
    for point in points {
        let [x, y] = pixels(*point, size);
        for (i, v) in [cos * x + sin * y, cos * y - sin * x].into_iter().enumerate() {
            (low[i], high[i]) = (low[i].min(v), high[i].max(v));
        }
    }
    let [u, v] = [(low[0] + high[0]) / 2.0, (low[1] + high[1]) / 2.0];
    let side = MARGIN * (high[0] - low[0]).max(high[1] - low[1]);
    Square { center: [cos * u - sin * v, sin * u + cos * v], side, angle }
}

fn angle(right: [f32; 2], left: [f32; 2]) -> f32 {
    (left[1] - right[1]).atan2(left[0] - right[0])
}

fn same(a: &Square, b: &Square) -> bool {
    let distance = (a.center[0] - b.center[0]).hypot(a.center[1] - b.center[1]);
    distance < SAME * a.side.max(b.side)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use ooblex_core::{BufferPool, ColorSpace, PixelFormat, convert};

    use super::*;

    /// Counts how often the detector is asked.
    struct Counting(LargeFaces, Arc<AtomicUsize>);

    impl FindFaces for Counting {
        fn load(&mut self) -> Result<(), ModelError> {
            self.0.load()
        }
        fn model(&self) -> &'static str {
            self.0.model()
        }
        fn input(&self, width: u32, height: u32) -> InputSpec {
            self.0.input(width, height)
        }
        fn find(
            &mut self,
            image: &Image,
            least: f32,
            deadline: Option<Instant>,
        ) -> Result<Vec<Face>, BoxError> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.find(image, least, deadline)
        }
    }

    struct Case {
        finder: MeshFinder,
        asked: Arc<AtomicUsize>,
        astronaut: image::RgbImage,
    }

    impl Case {
        fn new(most: usize) -> Self {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/gallery.png");
            let asked = Arc::new(AtomicUsize::new(0));
            let models = Models::default();
            let faces = Counting(LargeFaces::new(&models).expect("a model"), asked.clone());
            let finder =
                MeshFinder { faces: Box::new(faces), ..MeshFinder::new(&models, most).expect("models") };
            Self { finder, asked, astronaut: image::open(path).expect("a picture").into_rgb8() }
        }

        /// Finds faces in the part of the picture that begins at column `left`: their noses in its pixels, and how often
        /// the detector was asked for that.
        fn look(&mut self, left: u32, width: u32) -> (Vec<[f32; 2]>, usize) {
            let part = image::imageops::crop_imm(&self.astronaut, left, 0, width, 300).to_image();
            let pool = BufferPool::default();
            let rgb = Image::from_vec(PixelFormat::Rgb, width, 300, ColorSpace::JPEG, part.into_raw());
            let yuv = convert::convert(&rgb.expect("fits"), PixelFormat::I420, ColorSpace::JPEG, &pool);
            let mut picture = Picture::new(yuv.expect("converts"), pool);
            let before = self.asked.load(Ordering::Relaxed);
            let found = self.finder.find(&mut picture, true, None).expect("finds");
            let noses = found.map(|mesh| pixels(mesh.points[1], (width, 300))).collect();
            (noses, self.asked.load(Ordering::Relaxed) - before)
        }
    }

    #[test]
    fn a_face_is_followed_without_the_detector() {
        let mut case = Case::new(1);
        for frame in 0..15 {
            // Nine pixels a frame: in the end the face is by more than its own width further left.
            let (noses, asked) = case.look(9 * frame, 200);
            assert_eq!((noses.len(), asked), (1, usize::from(frame == 0)), "frame {frame}");
            let [x, y] = noses[0];
            let expected = [175.2 - 9.0 * frame as f32, 102.5];
            let near = (x - expected[0]).abs() < 2.5 && (y - expected[1]).abs() < 2.5;
            assert!(near, "frame {frame}: {x} {y}, not {expected:?}");
        }
    }

    #[test]
    fn a_face_that_is_gone_is_looked_for_until_it_is_back() {
        let mut case = Case::new(2);
        assert_eq!(case.look(0, 300).0.len(), 1);
        for frame in 2..25 {
            let (noses, asked) = case.look(0, 300);
            assert_eq!(
                (noses.len(), asked),
                (1, usize::from(frame % 10 == 1)),
                "there is room for a second one"
            );
        }
        for _ in 0..3 {
            let (noses, asked) = case.look(250, 150);
            assert_eq!((noses.len(), asked), (0, 1));
        }
        assert_eq!(case.look(100, 150).0.len(), 1);
        assert_eq!(case.look(0, 300).1, 1, "a picture of another size is a new one");
    }
}
