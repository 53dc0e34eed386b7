//! A source of your own: a plasma drawn in luma and chroma, watched as MJPEG.
//!
//! `cargo run --release -p ooblex-examples --example custom_source`, then open `http://127.0.0.1:3000/plasma.mjpg`.

use std::time::{Duration, Instant};

use ooblex_core::PassThrough;
use ooblex_core::hub::{Beginning, Hub, HubConfig, StreamFactory};
use ooblex_core::pipeline::Effect;
use ooblex_core::prelude::*;
use ooblex_mjpeg::{MjpegConfig, MjpegHub};

/// 640x480 pictures, 25 a second.
struct Plasma {
    count: u64,
    pace: tokio::time::Interval,
    pool: BufferPool,
}

#[async_trait]
impl FrameSource for Plasma {
    async fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
        self.pace.tick().await;
        self.count += 1;
        let image = self.draw().map_err(SourceError::Frame)?;
        let picture = Picture::new(image, self.pool.clone());
        Ok(Some(Frame::new(StreamId::default(), self.count, Instant::now(), picture)))
    }
}

impl Plasma {
    fn draw(&self) -> Result<Image, BoxError> {
        let time = self.count as f32 / 25.0;
        let mut image = Image::alloc(PixelFormat::I420, 640, 480, ColorSpace::JPEG, &self.pool)?;
        for (plane, (scale, speed)) in
            image.i420_mut()?.iter_mut().zip([(40.0, 1.0), (23.0, 0.7), (31.0, -0.9)])
        {
            for (y, row) in plane.rows_mut().enumerate() {
                for (x, v) in row.iter_mut().enumerate() {
                    let wave = (x as f32 / scale + time * speed).sin() + (y as f32 / scale - time).cos();
                    *v = (128.0 + wave * 60.0) as u8;
                }
            }
        }
        Ok(image)
    }
}

/// Streams as they are, as MJPEG.
struct Plain(MjpegHub);

impl StreamFactory for Plain {
    fn effect(&self, _stream: &StreamId) -> Result<Effect, BoxError> {
        Effect::prepare("none", 1, Box::new(PassThrough))
    }

    fn sinks(&self, stream: &Beginning<'_>) -> Vec<Box<dyn FrameSink>> {
        vec![Box::new(self.0.sink(stream))]
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mjpeg = MjpegHub::new(MjpegConfig::default())?;
    let hub = Hub::new(HubConfig::default(), Plain(mjpeg.clone()));
    let pace = tokio::time::interval(Duration::from_millis(40));
    let plasma = Plasma { count: 0, pace, pool: BufferPool::default() };
    hub.attach(&StreamId::new("plasma")?, "plasma", plasma, false)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, ooblex_mjpeg::router(hub, mjpeg)).await?;
    Ok(())
}
