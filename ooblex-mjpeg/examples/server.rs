//! A small server: pictures in by `POST /upload?stream=NAME`, viewers out, no effect. For trying and measuring.
//!
//! `cargo run --release -p ooblex-mjpeg --example server -- [ADDRESS] [WORKER_THREADS]`
//! (default 127.0.0.1:8081, one thread).
#![allow(clippy::print_stdout)]

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use ooblex_core::hub::{Beginning, Hub, HubConfig, StreamFactory};
use ooblex_core::pipeline::Effect;
use ooblex_core::{
    BoxError, BufferPool, ColorSpace, Encoded, FrameSink, Image, ImageCodec, PassThrough, Picture,
    PictureDecoder, PixelFormat, StreamId, Want,
};
use ooblex_http::{Problem, ServeConfig, raise_file_limit, serve};
use ooblex_mjpeg::{MjpegConfig, MjpegHub, router};

/// Streams without an effect whose frames go to viewers.
struct Plain(MjpegHub);

impl StreamFactory for Plain {
    fn effect(&self, _stream: &StreamId) -> Result<Effect, BoxError> {
        Effect::prepare("none", 0, Box::new(PassThrough))
    }

    fn sinks(&self, stream: &Beginning<'_>) -> Vec<Box<dyn FrameSink>> {
        vec![Box::new(self.0.sink(stream))]
    }
}

/// Decodes whole pictures; asked only for scaled snapshots and PNG.
struct Turbo;

impl PictureDecoder for Turbo {
    fn decode(&self, encoded: &Encoded, want: Want, pool: &BufferPool) -> Result<Image, BoxError> {
        let image = turbojpeg::decompress(&encoded.data, turbojpeg::PixelFormat::RGB)?;
        let (width, height) = (image.width as u32, image.height as u32);
        let full = Image::from_vec(PixelFormat::Rgb, width, height, ColorSpace::JPEG, image.pixels)?;
        match want {
            Want::Reduced(factor) => Ok(ooblex_core::convert::reduce(&full, factor, pool)?),
            _ => Ok(full),
        }
    }
}

async fn upload(State(hub): State<Hub>, RawQuery(query): RawQuery, data: Bytes) -> Result<Response, Problem> {
    let query = query.unwrap_or_default();
    let name = query.split('&').find_map(|p| p.strip_prefix("stream=")).unwrap_or(StreamId::DEFAULT);
    let bad = |code, error: &dyn std::fmt::Display| Problem::new(422, code, error.to_string());
    let id = StreamId::new(name).map_err(|e| bad("bad_name", &e))?;
    let header = turbojpeg::read_header(&data).map_err(|e| bad("not_jpeg", &e))?;
    let (width, height) = (header.width as u32, header.height as u32);
    let encoded = Encoded { codec: ImageCodec::Jpeg, data, width, height };
    let stream = hub.publish(&id, "upload").map_err(|e| bad("refused", &e))?;
    let picture = Picture::encoded(encoded, Arc::new(Turbo), stream.pool().clone());
    let pushed = stream.push(picture, None, None).map_err(|e| bad("ended", &e))?;
    Ok(([("x-ooblex-sequence", pushed.sequence().to_string())], "OK").into_response())
}

async fn run(address: String) -> Result<(), BoxError> {
    raise_file_limit()?;
    let mjpeg = MjpegHub::new(MjpegConfig::default())?;
    let hub = Hub::new(HubConfig::default(), Plain(mjpeg.clone()));
    let routes = Router::new()
        .route("/upload", post(upload))
        .layer(DefaultBodyLimit::max(8 << 20))
        .with_state(hub.clone())
        .merge(router(hub.clone(), mjpeg.clone()));
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("http://{}/stream.mjpg (process {})", listener.local_addr()?, std::process::id());
    let sweeping = tokio::spawn({
        let hub = hub.clone();
        async move {
            loop {
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                hub.sweep(std::time::Instant::now());
            }
        }
    });
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    serve(listener, routes, ServeConfig::default(), stop).await;
    sweeping.abort();
    hub.shutdown(std::time::Duration::from_secs(2)).await?;
    mjpeg.shutdown(std::time::Duration::from_secs(1));
    Ok(())
}

fn main() -> Result<(), BoxError> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:8081".into());
    let threads: usize = args.next().map_or(Ok(0), |n| n.parse())?;
    let mut builder = match threads {
        0 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 0 {
        builder.worker_threads(threads);
    }
    builder.enable_all().build()?.block_on(run(address))
}
