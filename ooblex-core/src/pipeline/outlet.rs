//! From the processors to one sink: at once where that needs no waiting, else through a queue and a task.

use std::sync::Arc;

use tokio::sync::{Mutex, watch};

use crate::clock::{Clock, Stage};
use crate::frame::Frame;
use crate::processor::Mode;
use crate::queue::{QueuePolicy, QueueReceiver, QueueSender, Sent, queue};
use crate::sink::{FrameSink, SinkError};
use crate::stats::{DropReason, StreamStats};

/// A sink, and what both ways to it need.
struct Gate {
    sink: Box<dyn FrameSink>,
    mode: Mode,
    stats: Arc<StreamStats>,
    clock: Clock,
}

impl Gate {
    /// Whether the sink wants the frame and may have it; notes how long it took to get here. In lossless mode nobody
    /// watches as it happens, and what came before a switch is as it was.
    fn admit(&self, frame: &mut Frame) -> bool {
        if !self.sink.has_demand() {
            return false;
        }
        if self.mode == Mode::Live && !frame.clearance.holds() {
            self.stats.dropped.count(DropReason::Outdated);
            return false;
        }
        let now = self.clock.now();
        let handover = frame.trace.marks().last().map(|(_, t)| now.saturating_duration_since(*t));
        frame.trace.mark(Stage::Handover, now);
        self.stats.on_stage(Stage::Handover, handover.unwrap_or_default());
        true
    }
}

/// The end that the processors feed.
pub(super) struct Outlet {
    frames: QueueSender<Frame>,
    gate: Arc<Mutex<Gate>>,
    mode: Mode,
    stats: Arc<StreamStats>,
}

/// The end that waits on behalf of the sink.
pub(super) struct SinkTask {
    frames: QueueReceiver<Frame>,
    gate: Arc<Mutex<Gate>>,
    mode: Mode,
    stopped: watch::Receiver<bool>,
}

/// Both ends of the way to `sink`.
pub(super) fn outlet(
    sink: Box<dyn FrameSink>,
    policy: QueuePolicy,
    mode: Mode,
    stats: &Arc<StreamStats>,
    clock: &Clock,
    stopped: &watch::Receiver<bool>,
) -> (Outlet, SinkTask) {
    let (sender, receiver) = queue(policy);
    let gate = Arc::new(Mutex::new(Gate { sink, mode, stats: stats.clone(), clock: clock.clone() }));
    let outlet = Outlet { frames: sender, gate: gate.clone(), mode, stats: stats.clone() };
    (outlet, SinkTask { frames: receiver, gate, mode, stopped: stopped.clone() })
}

impl Outlet {
    /// Gives a frame to the sink. Waits only in lossless mode.
    pub(super) fn hand_over(&self, frame: Frame) {
        let sent = match self.mode {
            Mode::Lossless => self.frames.send_blocking(frame),
            Mode::Live => match self.at_once(frame) {
                Some(frame) => self.frames.try_send(frame),
                None => return,
            },
        };
        match sent {
            Sent::Queued => {}
            Sent::Displaced(_) | Sent::Rejected(_) => self.stats.dropped.count(DropReason::SinkBusy),
            // The sink has failed and was removed; its stream and its other sinks run on.
            Sent::Closed(_) => {}
        }
    }

    /// Lets the sink take the frame here and now; gives it back if it must wait.
    fn at_once(&self, mut frame: Frame) -> Option<Frame> {
        let Ok(mut gate) = self.gate.try_lock() else { return Some(frame) };
        // The task takes frames out of the queue only while it holds the gate, so no older frame is under way.
        if !self.frames.is_idle() {
            return Some(frame);
        }
        let marks = frame.trace;
        if !gate.admit(&mut frame) {
            return None;
        }
        let mut frame = gate.sink.try_consume(frame)?;
        // The way through the queue is timed as a whole.
        frame.trace = marks;
        Some(frame)
    }
}

impl SinkTask {
    pub(super) async fn run(mut self) {
        while self.frames.ready().await {
            let mut gate = self.gate.lock().await;
            let Some(mut frame) = self.frames.try_recv() else { continue };
            if self.mode == Mode::Live && *self.stopped.borrow() {
                gate.stats.dropped.count(DropReason::Shutdown);
                continue;
            }
            if !gate.admit(&mut frame) {
                continue;
            }
            // `as_mut`: the box's own implementation would box every future twice.
            match gate.sink.as_mut().consume(frame).await {
                Ok(()) => {}
                Err(SinkError::Frame(error)) => {
                    gate.stats.dropped.count(DropReason::SinkFailed);
                    tracing::debug!(%error, "sink lost a frame");
                }
                Err(SinkError::Fatal(error)) => {
                    gate.stats.dropped.count(DropReason::SinkFailed);
                    tracing::error!(%error, "sink failed and was removed");
                    break;
                }
            }
        }
        let rest = self.frames.close().len() as u64;
        let mut gate = self.gate.lock().await;
        gate.stats.dropped.add(DropReason::SinkFailed, rest);
        if let Err(error) = gate.sink.finish().await {
            tracing::warn!(%error, "sink could not finish");
        }
    }
}
