//! The upload and MJPEG routes inside your own axum application, under `/video`.
//!
//! `cargo run --release -p ooblex-examples --example embed_mjpeg`, then send a picture to
//! `http://127.0.0.1:3000/video/upload?stream=cam` and watch `http://127.0.0.1:3000/video/cam.mjpg`.

use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use ooblex_core::hub::{Beginning, Hub, HubConfig, StreamFactory};
use ooblex_core::pipeline::Effect;
use ooblex_core::prelude::*;
use ooblex_ingest::picture::PictureLimits;
use ooblex_mjpeg::{MjpegConfig, MjpegHub};

/// Every stream shows edges and leaves as MJPEG.
struct Edges {
    registry: Registry,
    mjpeg: MjpegHub,
}

impl StreamFactory for Edges {
    fn effect(&self, _stream: &StreamId) -> Result<Effect, BoxError> {
        let processor = self.registry.build("edge_detection", &Options::new().with("low", 50))?;
        Effect::prepare("edge_detection", 1, processor)
    }

    fn sinks(&self, stream: &Beginning<'_>) -> Vec<Box<dyn FrameSink>> {
        vec![Box::new(self.mjpeg.sink(stream))]
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mjpeg = MjpegHub::new(MjpegConfig::default())?;
    let mut registry = Registry::new();
    ooblex_models::register(&mut registry);
    let hub = Hub::new(HubConfig::default(), Edges { registry, mjpeg: mjpeg.clone() });

    let sweeper = hub.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            sweeper.sweep(Instant::now());
        }
    });

    let video = ooblex_ingest::http::router(hub.clone(), PictureLimits::default())
        .merge(ooblex_mjpeg::router(hub, mjpeg));
    let app = Router::new().route("/", get(async || "my own application")).nest("/video", video);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app).await?;
    Ok(())
}
