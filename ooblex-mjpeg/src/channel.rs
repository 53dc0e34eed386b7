//! Frames for a task of an embedder's own.

use async_trait::async_trait;
use ooblex_core::{Frame, FrameSink, QueuePolicy, QueueReceiver, QueueSender, SinkError, queue};

/// A sink whose frames come out of a [`FrameReceiver`]. Made by [`ChannelSink::new`].
///
/// ```
/// use ooblex_mjpeg::ChannelSink;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let (sink, mut frames) = ChannelSink::new();
/// // Give `sink` to a pipeline, and take frames wherever they are wanted:
/// # drop(sink);
/// while let Some(frame) = frames.recv().await {
///     println!("frame {} of {}", frame.sequence, frame.stream);
/// }
/// # }
/// ```
pub struct ChannelSink(QueueSender<Frame>);

impl ChannelSink {
    /// A sink and its receiver. Whoever receives too slowly misses frames: the newest replaces the one that waits.
    pub fn new() -> (Self, FrameReceiver) {
        Self::with_policy(QueuePolicy::LatestWins)
    }

    /// The same with another queue between them, for example one that keeps all frames of a lossless pipeline.
    pub fn with_policy(policy: QueuePolicy) -> (Self, FrameReceiver) {
        let (sender, receiver) = queue(policy);
        (Self(sender), FrameReceiver(receiver))
    }
}

#[async_trait]
impl FrameSink for ChannelSink {
    async fn consume(&mut self, frame: Frame) -> Result<(), SinkError> {
        // A frame that is displaced, or not wanted any more, is what the policy says; the queue counts it.
        drop(self.0.send(frame).await);
        Ok(())
    }

    fn has_demand(&self) -> bool {
        !self.0.is_closed()
    }

    async fn finish(&mut self) -> Result<(), SinkError> {
        self.0.close();
        Ok(())
    }
}

/// Where the frames of a [`ChannelSink`] come out. Dropping it ends the demand.
pub struct FrameReceiver(QueueReceiver<Frame>);

impl FrameReceiver {
    /// The next frame, `None` when the stream has ended. Cancel-safe.
    pub async fn recv(&mut self) -> Option<Frame> {
        self.0.recv().await
    }

    /// The next frame for a thread, `None` when the stream has ended.
    pub fn recv_blocking(&mut self) -> Option<Frame> {
        self.0.recv_blocking()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ooblex_core::testing::{frame_of, random_image};
    use ooblex_core::{ColorSpace, PixelFormat};

    fn frame(sequence: u64) -> Frame {
        let mut frame = frame_of(random_image(PixelFormat::Gray8, 2, 2, ColorSpace::JPEG, 0, 1));
        frame.sequence = sequence;
        frame
    }

    #[tokio::test]
    async fn the_newest_wins_and_the_end_is_told() {
        let (mut sink, mut frames) = ChannelSink::new();
        for n in 1..=3 {
            sink.consume(frame(n)).await.expect("takes it");
        }
        assert_eq!(frames.recv().await.map(|f| f.sequence), Some(3));
        sink.consume(frame(4)).await.expect("takes it");
        sink.finish().await.expect("finishes");
        assert_eq!(frames.recv().await.map(|f| f.sequence), Some(4));
        assert!(frames.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_queue_keeps_all_and_demand_ends_with_the_receiver() {
        let (mut sink, mut frames) = ChannelSink::with_policy(QueuePolicy::DropOldest(8));
        for n in 1..=3 {
            sink.consume(frame(n)).await.expect("takes it");
        }
        let got: Vec<u64> = (0..3).filter_map(|_| frames.recv_blocking()).map(|f| f.sequence).collect();
        assert_eq!(got, [1, 2, 3]);
        assert!(sink.has_demand());
        drop(frames);
        assert!(!sink.has_demand());
    }
}
