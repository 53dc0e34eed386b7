//! What was found in each stream's newest frame, as data for whoever asks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use ooblex_core::{Annotation, AnnotationKind, Clearance, Frame, FrameSink, Mask, SinkError, StreamId};
use serde::ser::{SerializeSeq, SerializeStruct};
use serde::{Serialize, Serializer};
use tokio::sync::watch;

/// What was found in one frame. Serializes as the routes give it.
#[derive(Debug)]
pub(crate) struct Found {
    stream: StreamId,
    pub(crate) sequence: u64,
    width: u32,
    height: u32,
    items: Vec<Annotation>,
    clearance: Clearance,
}

impl Found {
    /// Whether it may be told: not once an effect that protects privacy was chosen after it.
    pub(crate) fn may_be_told(&self) -> bool {
        self.clearance.holds()
    }
}

/// The newest findings of a stream; `None` before its first frame.
pub(crate) type Newest = watch::Receiver<Option<Arc<Found>>>;

/// The newest findings of all streams. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct AnnotationHub(Arc<Mutex<HashMap<StreamId, Arc<Channel>>>>);

type Channel = watch::Sender<Option<Arc<Found>>>;

impl AnnotationHub {
    /// The sink that brings a stream's findings here. A later sink of the same name takes its place.
    pub(crate) fn sink(&self, stream: &StreamId) -> AnnotationSink {
        let channel = Arc::new(watch::Sender::new(None));
        self.lock().insert(stream.clone(), channel.clone());
        AnnotationSink { hub: self.clone(), stream: stream.clone(), channel }
    }

    /// The findings of a stream, now and as they come; they end with the stream.
    pub(crate) fn newest(&self, stream: &StreamId) -> Option<Newest> {
        self.lock().get(stream).map(|channel| channel.subscribe())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamId, Arc<Channel>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps what was found in a stream's newest frame.
pub(crate) struct AnnotationSink {
    hub: AnnotationHub,
    stream: StreamId,
    channel: Arc<Channel>,
}

#[async_trait]
impl FrameSink for AnnotationSink {
    async fn consume(&mut self, frame: Frame) -> Result<(), SinkError> {
        self.keep(frame);
        Ok(())
    }

    fn try_consume(&mut self, frame: Frame) -> Option<Frame> {
        self.keep(frame);
        None
    }
}

impl AnnotationSink {
    fn keep(&self, frame: Frame) {
        self.channel.send_replace(Some(Arc::new(Found {
            sequence: frame.sequence,
            width: frame.image.width(),
            height: frame.image.height(),
            stream: frame.stream,
            items: frame.annotations,
            clearance: frame.clearance,
        })));
    }
}

impl Drop for AnnotationSink {
    fn drop(&mut self) {
        let mut channels = self.hub.lock();
        if channels.get(&self.stream).is_some_and(|channel| Arc::ptr_eq(channel, &self.channel)) {
            channels.remove(&self.stream);
        }
    }
}

impl Serialize for Found {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut found = serializer.serialize_struct("Found", 5)?;
        found.serialize_field("stream", self.stream.as_str())?;
        found.serialize_field("sequence", &self.sequence)?;
        found.serialize_field("width", &self.width)?;
        found.serialize_field("height", &self.height)?;
        found.serialize_field("items", &Items(&self.items))?;
        found.end()
    }
}

struct Items<'a>(&'a [Annotation]);

impl Serialize for Items<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Item))
    }
}

struct Item<'a>(&'a Annotation);

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Annotation { kind, label, score, bounds, points, point_scores, mask, model, generation, .. } =
            self.0;
        let mut item = serializer.serialize_struct("Item", 9)?;
        item.serialize_field("kind", kind_name(*kind))?;
        item.serialize_field("label", label.as_ref())?;
        item.serialize_field("score", &Share(*score))?;
        match bounds {
            Some(bounds) => item.serialize_field("box", &Shares(bounds))?,
            None => item.skip_field("box")?,
        }
        item.serialize_field("points", &Points(points))?;
        match point_scores.is_empty() {
            true => item.skip_field("point_scores")?,
            false => item.serialize_field("point_scores", &Shares(point_scores))?,
        }
        match mask {
            Some(mask) => item.serialize_field("mask", &Outline(mask))?,
            None => item.skip_field("mask")?,
        }
        item.serialize_field("model", model.as_ref())?;
        item.serialize_field("generation", generation)?;
        item.end()
    }
}

const fn kind_name(kind: AnnotationKind) -> &'static str {
    match kind {
        AnnotationKind::Box => "box",
        AnnotationKind::Points => "points",
        AnnotationKind::Mask => "mask",
        AnnotationKind::Label => "label",
        _ => "other",
    }
}

struct Points<'a>(&'a [[f32; 2]]);

impl Serialize for Points<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|point| Shares(point)))
    }
}

struct Shares<'a>(&'a [f32]);

impl Serialize for Shares<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_seq(Some(self.0.len()))?;
        for share in self.0 {
            all.serialize_element(&Share(*share))?;
        }
        all.end()
    }
}

/// A mask as the lengths of its runs of no and yes in turn, in row order, beginning with no: a person takes a fiftieth of
/// the bytes that the confidences would.
struct Outline<'a>(&'a Mask);

/// Confidence from which a pixel belongs to the mask.
const INSIDE: u8 = 128;

impl Serialize for Outline<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut mask = serializer.serialize_struct("Mask", 3)?;
        mask.serialize_field("width", &self.0.width)?;
        mask.serialize_field("height", &self.0.height)?;
        mask.serialize_field("runs", &runs(&self.0.values))?;
        mask.end()
    }
}

fn runs(values: &[u8]) -> Vec<usize> {
    let mut runs = Vec::new();
    if values.first().is_some_and(|value| *value >= INSIDE) {
        runs.push(0);
    }
    runs.extend(values.chunk_by(|a, b| (*a >= INSIDE) == (*b >= INSIDE)).map(<[u8]>::len));
    runs
}

/// Five decimals: a fiftieth of a pixel in 1920, in half the bytes. What is not a number is null.
struct Share(f32);

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64((f64::from(self.0) * 1e5).round() / 1e5)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use ooblex_core::{BufferPool, Image, Picture};
    use serde_json::json;

    use super::*;

    fn frame(stream: &StreamId, sequence: u64, annotations: Vec<Annotation>) -> Frame {
        let pool = BufferPool::default();
        let image = Image::black(64, 48, &pool).expect("a picture");
        let mut frame = Frame::new(stream.clone(), sequence, Instant::now(), Picture::new(image, pool));
        frame.annotations = annotations;
        frame
    }

    #[test]
    fn the_newest_findings_are_kept_until_the_stream_ends() {
        let (hub, cam) = (AnnotationHub::default(), StreamId::new("cam").expect("a name"));
        assert!(hub.newest(&cam).is_none());
        let mut sink = hub.sink(&cam);
        let newest = hub.newest(&cam).expect("a stream");
        assert!(newest.borrow().is_none());
        for sequence in 1..=3 {
            assert!(sink.try_consume(frame(&cam, sequence, Vec::new())).is_none());
        }
        assert_eq!(newest.borrow().as_ref().map(|found| found.sequence), Some(3));
        // A stream of the same name begins before the last trace of the old one is gone.
        let again = hub.sink(&cam);
        drop(sink);
        assert!(newest.has_changed().is_err(), "the old one has ended");
        assert!(hub.newest(&cam).is_some());
        drop(again);
        assert!(hub.newest(&cam).is_none());
    }

    #[test]
    fn masks_are_told_by_their_runs() {
        assert_eq!(runs(&[]), [0; 0]);
        assert_eq!(runs(&[0, 127, 128, 255, 255, 3]), [2, 3, 1]);
        assert_eq!(runs(&[200, 0]), [0, 1, 1]);
        let mask = Mask { width: 3, height: 2, values: [0, 255, 255, 255, 0, 0].into() };
        let person = Annotation::new(AnnotationKind::Mask, "person", 1.0, "m").with_mask(mask);
        let told = serde_json::to_value(Item(&person)).expect("serializes");
        assert_eq!(told["mask"], json!({"width": 3, "height": 2, "runs": [1, 3, 2]}));
    }

    #[test]
    fn findings_look_as_documented() {
        let (hub, cam) = (AnnotationHub::default(), StreamId::new("cam").expect("a name"));
        let mut face = Annotation::new(AnnotationKind::Box, "face", 0.97, "blazeface_short_128")
            .with_bounds([0.1, 0.2, 1.0 / 3.0, f32::NAN])
            .with_points(vec![[0.5, 0.25]]);
        face.generation = 12;
        let label = Annotation::new(AnnotationKind::Label, "day", 1.0, "m");
        let pose = Annotation::new(AnnotationKind::Points, "person", 0.5, "m")
            .with_points(vec![[0.5, 0.5], [0.0, 1.0]])
            .with_point_scores(vec![0.5, 0.0]);
        hub.sink(&cam);
        let mut sink = hub.sink(&cam);
        let newest = hub.newest(&cam).expect("a stream");
        sink.try_consume(frame(&cam, 17, vec![face, label, pose]));
        let found = newest.borrow().clone().expect("found");
        assert_eq!(
            serde_json::to_value(&*found).expect("serializes"),
            json!({"stream": "cam", "sequence": 17, "width": 64, "height": 48, "items": [
                {"kind": "box", "label": "face", "score": 0.97, "box": [0.1, 0.2, 0.33333, null],
                 "points": [[0.5, 0.25]], "model": "blazeface_short_128", "generation": 12},
                {"kind": "label", "label": "day", "score": 1.0, "points": [], "model": "m", "generation": 0},
                {"kind": "points", "label": "person", "score": 0.5, "points": [[0.5, 0.5], [0.0, 1.0]],
                 "point_scores": [0.5, 0.0], "model": "m", "generation": 0},
            ]})
        );
    }
}
