//! One browser's camera as a source of your own pipeline: prints what comes and how long it took.
//!
//! `cargo run --release -p ooblex-examples --example webrtc_source`, then open `http://127.0.0.1:3000`.
#![allow(clippy::print_stdout)]

use axum::Router;
use axum::response::Html;
use axum::routing::{get, post};
use ooblex_core::prelude::*;
use ooblex_http::Problem;
use ooblex_ingest::webrtc::{WebRtcConfig, WebRtcSource};
use ooblex_models::Chain;

const PAGE: &str = r#"<!doctype html><title>camera</title><button>start</button><script>
document.querySelector('button').onclick = async () => {
  const camera = await navigator.mediaDevices.getUserMedia({ video: true });
  const pc = new RTCPeerConnection();
  camera.getTracks().forEach(track => pc.addTransceiver(track, { direction: 'sendonly', streams: [camera] }));
  await pc.setLocalDescription();
  const response = await fetch('/offer', { method: 'POST', body: pc.localDescription.sdp });
  if (!response.ok) throw new Error(await response.text());
  await pc.setRemoteDescription({ type: 'answer', sdp: await response.text() });
};
</script>"#;

/// Prints one line a second.
struct Printer;

#[async_trait]
impl FrameSink for Printer {
    async fn consume(&mut self, frame: Frame) -> Result<(), SinkError> {
        if frame.sequence % 30 == 1 {
            let (width, height) = (frame.image.width(), frame.image.height());
            println!(
                "frame {}: {width}x{height}, edges found after {:?}",
                frame.sequence,
                frame.trace.total()
            );
        }
        Ok(())
    }
}

/// Answers the browser and starts a pipeline with its camera as the source.
async fn offer(offer: String) -> Result<String, Problem> {
    let failed = |error: BoxError| Problem::new(500, "pipeline", error.to_string());
    let mut config = WebRtcConfig::default();
    config.network.loopback = true;
    let (source, answer) = WebRtcSource::answer(&offer, &config, &[]).await?;
    let mut registry = Registry::new();
    ooblex_models::register(&mut registry);
    let chain = Chain::parse("edge_detection", &registry).map_err(|e| failed(e.into()))?;
    let edges = chain.build(&registry, &[].into()).map_err(|e| failed(e.into()))?;
    let pipeline = Pipeline::builder(StreamId::default())
        .source(source)
        .processor("edge_detection", edges)
        .sink(Printer)
        .start()
        .map_err(|e| failed(e.into()))?;
    tokio::spawn(async move { println!("the camera is gone: {:?}", pipeline.finished().await) });
    Ok(answer)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let app = Router::new().route("/", get(async || Html(PAGE))).route("/offer", post(offer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("open http://127.0.0.1:3000");
    axum::serve(listener, app).await?;
    Ok(())
}
