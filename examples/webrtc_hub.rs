//! WebRTC publishers into a hub, out as MJPEG, inside your own axum application.
//!
//! `cargo run --release -p ooblex-examples --example webrtc_hub`, publish by WHIP to
//! `http://127.0.0.1:3000/whip/cam` (OBS: service "WHIP"), and watch `http://127.0.0.1:3000/cam.mjpg`.
#![allow(clippy::print_stdout)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{delete, post};
use axum::{Json, Router};
use ooblex_core::hub::{Beginning, Hub, HubConfig, StreamFactory};
use ooblex_core::pipeline::Effect;
use ooblex_core::prelude::*;
use ooblex_http::Problem;
use ooblex_ingest::ice::IceServers;
use ooblex_ingest::webrtc::{PublishRequest, PublisherId, SessionId, WebRtc, WebRtcConfig};
use ooblex_mjpeg::{MjpegConfig, MjpegHub};

/// Every stream is shown as it comes.
struct Plain(MjpegHub);

impl StreamFactory for Plain {
    fn effect(&self, _stream: &StreamId) -> Result<Effect, BoxError> {
        Effect::prepare("none", 0, Box::new(ooblex_core::PassThrough))
    }

    fn sinks(&self, stream: &Beginning<'_>) -> Vec<Box<dyn FrameSink>> {
        vec![Box::new(self.0.sink(stream))]
    }
}

/// The least of WHIP; `ooblex_ingest::whip` has all of it.
async fn publish(
    State(webrtc): State<WebRtc>,
    Path(stream): Path<String>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    offer: String,
) -> Result<impl IntoResponse, Problem> {
    let stream = stream.parse().map_err(|error: ooblex_core::StreamIdError| {
        Problem::new(400, "bad_stream_name", error.to_string())
    })?;
    let publisher = PublisherId::of_address(from.ip());
    let published =
        webrtc.publish(&offer, PublishRequest { stream, publisher, address: Some(from.ip()) }).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/sdp".to_owned()),
        (header::LOCATION, format!("/sessions/{}", published.id)),
        (header::ETAG, published.etag),
    ];
    Ok((StatusCode::CREATED, headers, published.answer))
}

async fn end(State(webrtc): State<WebRtc>, Path(id): Path<String>) -> StatusCode {
    let Ok(id) = id.parse::<SessionId>() else { return StatusCode::NOT_FOUND };
    if webrtc.close(&id).await { StatusCode::OK } else { StatusCode::NOT_FOUND }
}

/// Who publishes, how it is connected, what was lost.
async fn sessions(State(webrtc): State<WebRtc>) -> Json<Vec<String>> {
    let line = |info: ooblex_ingest::webrtc::SessionInfo| {
        let path = info.path.map_or("no path yet".to_owned(), |path| {
            format!("{} to {} over {}", path.local.as_str(), path.remote.as_str(), path.protocol)
        });
        let counters = info.counters;
        format!(
            "{}: {}, {path}, {} pictures, {} packets lost",
            info.stream,
            info.state.as_str(),
            counters.frames_decoded,
            counters.packets_lost
        )
    };
    Json(webrtc.sessions().into_iter().map(line).collect())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mjpeg = MjpegHub::new(MjpegConfig::default())?;
    let hub = Hub::new(HubConfig::default(), Plain(mjpeg.clone()));
    let mut config = WebRtcConfig::default();
    config.network.loopback = true;
    let webrtc = WebRtc::new(hub.clone(), config, IceServers::default());

    let sweeper = hub.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            sweeper.sweep(Instant::now());
        }
    });

    let app = Router::new()
        .route("/whip/{stream}", post(publish))
        .route("/sessions/{id}", delete(end))
        .route("/sessions", axum::routing::get(sessions))
        .with_state(webrtc)
        .merge(ooblex_mjpeg::router(hub, mjpeg));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("publish to http://127.0.0.1:3000/whip/cam, watch http://127.0.0.1:3000/cam.mjpg");
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}
