//! What a model found in a picture: data beside the pixels, drawn only by whoever chooses to.

use std::sync::Arc;

/// What an annotation marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum AnnotationKind {
    /// A rectangle, perhaps with points inside it.
    Box,
    /// Points alone: landmarks or joints.
    Points,
    /// A per-pixel mask.
    Mask,
    /// A statement about the whole picture.
    Label,
}

/// One finding. Coordinates are in [0, 1] of the upright picture, so that a resize never invalidates them;
/// values beyond mean that the thing reaches out of the picture.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Annotation {
    /// What it marks.
    pub kind: AnnotationKind,
    /// Class name, for example `face`.
    pub label: Arc<str>,
    /// Confidence in [0, 1].
    pub score: f32,
    /// Left, top, width, height.
    #[cfg_attr(feature = "serde", serde(rename = "box", skip_serializing_if = "Option::is_none"))]
    pub bounds: Option<[f32; 4]>,
    /// Points as (x, y).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub points: Vec<[f32; 2]>,
    /// Confidence of each point in [0, 1], in their order; empty if the model gives none. A point whose score is 0 was
    /// not found: its place means nothing, and nobody draws it.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub point_scores: Vec<f32>,
    /// Mask, if the kind is [`AnnotationKind::Mask`].
    #[cfg_attr(feature = "serde", serde(skip))]
    pub mask: Option<Mask>,
    /// Published name of the model that found it.
    pub model: Arc<str>,
    /// Generation of the effect that was running: rises with every switch.
    pub generation: u64,
}

/// A mask stretched over the whole picture: `values` in row order, 0 for no to 255 for yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `width * height` confidences.
    pub values: Arc<[u8]>,
}

impl Annotation {
    /// An annotation without place: add [`bounds`](Self::with_bounds), [`points`](Self::with_points) or a mask.
    pub fn new(
        kind: AnnotationKind,
        label: impl Into<Arc<str>>,
        score: f32,
        model: impl Into<Arc<str>>,
    ) -> Self {
        Self {
            kind,
            label: label.into(),
            score,
            bounds: None,
            points: Vec::new(),
            point_scores: Vec::new(),
            mask: None,
            model: model.into(),
            generation: 0,
        }
    }

    /// Sets left, top, width and height, each a share of the picture.
    pub fn with_bounds(mut self, bounds: [f32; 4]) -> Self {
        self.bounds = Some(bounds);
        self
    }

    /// Sets points as (x, y), each a share of the picture.
    pub fn with_points(mut self, points: Vec<[f32; 2]>) -> Self {
        self.points = points;
        self
    }

    /// Sets the confidence of each point.
    pub fn with_point_scores(mut self, scores: Vec<f32>) -> Self {
        self.point_scores = scores;
        self
    }

    /// Sets the mask.
    pub fn with_mask(mut self, mask: Mask) -> Self {
        self.mask = Some(mask);
        self
    }
}
