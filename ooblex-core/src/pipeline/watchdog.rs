//! Looking after the thread that runs a stream's processors.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::runner::{Checkup, Runner};
use super::{PipelineState, report};

/// How often to look, at most and at least.
const OFTENEST: Duration = Duration::from_millis(5);
const RAREST: Duration = Duration::from_secs(1);

/// Replaces the thread when its processor has not returned for too long.
pub(super) struct Watchdog {
    pub(super) runner: Arc<Runner>,
    pub(super) limit: Duration,
    pub(super) state: Arc<watch::Sender<PipelineState>>,
}

impl Watchdog {
    /// Looks after the thread until the stream has ended.
    pub(super) async fn run(self) {
        let mut looks = interval((self.limit / 4).clamp(OFTENEST, RAREST));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = None;
        loop {
            looks.tick().await;
            match self.runner.check(self.limit, &mut seen) {
                Checkup::Well => {}
                Checkup::Over => return,
                Checkup::GivenUp => {
                    if let Err(error) = self.runner.spawn() {
                        let reason = format!("no thread for its processors: {error}");
                        tracing::error!(%reason, "stream failed");
                        return report(&self.state, PipelineState::Failed { reason });
                    }
                }
            }
        }
    }
}
