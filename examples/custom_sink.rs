//! A sink of your own behind a chain of effects: it prints how bright the picture is.
//!
//! `cargo run --release -p ooblex-examples --example custom_sink -- CLIP` where CLIP is an H.264 MP4, a Y4M file or a
//! folder of pictures.
#![allow(clippy::print_stdout)]

use ooblex_core::prelude::*;
use ooblex_ingest::file::{FileSource, Pace};
use ooblex_models::Chain;

/// Prints the mean luma of every tenth frame.
struct Brightness;

#[async_trait]
impl FrameSink for Brightness {
    async fn consume(&mut self, mut frame: Frame) -> Result<(), SinkError> {
        if frame.sequence % 10 != 1 {
            return Ok(());
        }
        let luma = frame.image.luma().map_err(|e| SinkError::Frame(e.into()))?;
        let rows = luma.plane(0).map_err(|e| SinkError::Frame(e.into()))?;
        let sum: u64 = rows.rows().flatten().map(|&v| u64::from(v)).sum();
        let pixels = u64::from(luma.width()) * u64::from(luma.height());
        println!("frame {:5}: mean luma {:3}, after {:?}", frame.sequence, sum / pixels, frame.trace.total());
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), SinkError> {
        println!("end of the clip");
        Ok(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Some(path) = std::env::args().nth(1) else {
        anyhow::bail!("give a clip: an MP4, a Y4M file or a folder")
    };
    let mut registry = Registry::new();
    ooblex_models::register(&mut registry);
    let chain = Chain::parse("blur|edge_detection", &registry)?;
    let pipeline = Pipeline::builder(StreamId::default())
        .mode(Mode::Lossless)
        .source(FileSource::open(path, Pace::AsFast)?)
        .processor("blur|edge_detection", chain.build(&registry, &[].into())?)
        .sink(Brightness)
        .start()?;
    println!("{:?} after {} frames", pipeline.finished().await, pipeline.stats().processed.get());
    Ok(())
}
