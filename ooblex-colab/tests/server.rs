//! A whole server on a socket: starting, serving, stopping.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ooblex_colab::config::{Config, UseGpu};
use ooblex_colab::{App, Server, StartError};
use ooblex_models::manager::ModelState;

fn config() -> Config {
    let mut config = Config::default();
    config.mjpeg_port = 0;
    config
}

async fn start(config: Config) -> Server {
    App::new().start(config).await.expect("starts")
}

/// One request on a connection of its own; the whole answer.
fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    write!(stream, "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("sends");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("answers");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn ask_async(address: SocketAddr, request: &'static str) -> String {
    tokio::task::spawn_blocking(move || ask(address, request)).await.expect("no panic")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_serves_on_both_ports_and_stops() {
    let mut config = config();
    config.webrtc_port = Some(0);
    let server = start(config).await;
    let addresses = server.addresses().to_vec();
    assert_eq!(addresses.len(), 2);
    for address in &addresses {
        let answer = ask_async(*address, "GET /health").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"status\":\"healthy\""), "{answer}");
    }
    assert!(server.stop().await.is_empty());
    assert!(TcpStream::connect(addresses[0]).is_err(), "nothing listens any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_named_with_the_way_out() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let mut config = config();
    config.mjpeg_port = taken.local_addr().expect("an address").port();
    let error = App::new().start(config.clone()).await.map(|_| ()).expect_err("in use").to_string();
    let expected = format!(
        "cannot listen on port {} of 127.0.0.1: it is in use; choose another by --mjpeg-port N, or any free one by --mjpeg-port 0",
        config.mjpeg_port
    );
    assert_eq!(error, expected);
}

#[tokio::test]
async fn a_required_accelerator_that_is_not_there_is_an_error() {
    let mut config = config();
    config.use_gpu = UseGpu::Required;
    let error = App::new().start(config).await.map(|_| ()).expect_err("there is none");
    assert!(matches!(error, StartError::NoAccelerator { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pinned_models_are_loaded_behind_the_start() {
    let mut config = config();
    config.pin = vec!["blazeface_short_128".into()];
    let app = App::new();
    let models = app.models().clone();
    let server = app.start(config).await.expect("starts");
    let until = Instant::now() + Duration::from_secs(20);
    let state = || models.status_by_name("blazeface_short_128").expect("known").state;
    while state() != ModelState::Loaded {
        assert!(Instant::now() < until, "{}", state());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(models.unload("blazeface_short_128").is_err(), "the server's models are those of the app");
    assert!(server.stop().await.is_empty());
}

#[tokio::test]
async fn models_that_were_used_before_the_configuration_are_an_error() {
    let app = App::new();
    let _ = app.models().config();
    let error = app.start(config()).await.map(|_| ()).expect_err("too late");
    assert!(matches!(error, StartError::Models(_)), "{error}");
}

#[tokio::test]
async fn an_unknown_effect_and_an_absent_file_are_errors() {
    let mut unpinned = config();
    unpinned.pin = vec!["blazefac".into()];
    let error = App::new().start(unpinned).await.map(|_| ()).expect_err("unknown").to_string();
    assert!(error.starts_with("unknown model \"blazefac\"; known: blazeface_short_128, "), "{error}");
    let mut unknown = config();
    unknown.model_name = "seppia".into();
    let error = App::new().start(unknown).await.map(|_| ()).expect_err("unknown").to_string();
    assert!(error.starts_with("model_name: unknown effect \"seppia\"; known: "), "{error}");
    let mut absent = config();
    absent.source = vec!["cam=/nowhere/clip.mp4".parse().expect("a source")];
    let error = App::new().start(absent).await.map(|_| ()).expect_err("absent").to_string();
    assert!(error.starts_with("source cam (/nowhere/clip.mp4): "), "{error}");
}

#[cfg(feature = "h264")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_plays_with_the_chosen_effect_and_its_viewers_get_an_end() {
    let mut config = config();
    config.demo = true;
    config.model_name = "grayscale".into();
    let server = start(config).await;
    let address = server.addresses()[0];
    let viewer = std::thread::spawn(move || ask(address, "GET /stream.mjpg"));
    let stream = server.hub().streams().pop().expect("the demo");
    assert!(stream.is_background() && stream.id().as_str() == "demo");
    let deadline = Instant::now() + Duration::from_secs(10);
    while stream.stats().processed.get() < 5 || server.hub().newest().is_none() {
        assert!(Instant::now() < deadline, "no frames: {:?}", stream.pipeline().state());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let status = ask_async(address, "GET /streams").await;
    assert!(status.contains("\"effect\":\"grayscale\"") && status.contains("\"width\":640"), "{status}");
    // Until the viewer has seen something.
    while !ask_async(address, "GET /metrics")
        .await
        .lines()
        .any(|l| l.starts_with("ooblex_mjpeg_parts_sent_total ") && !l.ends_with(" 0"))
    {
        assert!(Instant::now() < deadline, "nothing was sent");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let began = Instant::now();
    assert!(server.stop().await.is_empty());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let seen = viewer.join().expect("the viewer ends");
    assert!(seen.trim_end().ends_with("--frame--"), "the viewer got the closing boundary");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processors_of_a_binary_of_its_own_are_offered() {
    use ooblex_core::prelude::*;
    let register = |registry: &mut Registry| {
        registry.add(KindSpec::new("mine", "an effect of my own"), |_: &Options| {
            Ok::<_, BoxError>(processor_fn(|_, _| Ok(Verdict::Emit)))
        });
    };
    let mut config = config();
    config.model_name = "mine|blur".into();
    let server = App::new().with(register).start(config).await.expect("starts");
    let answer = ask_async(server.addresses()[0], "GET /effects").await;
    assert!(answer.contains("\"mine\":\"an effect of my own\"") && answer.contains("\"sepia\""), "{answer}");
    assert!(server.stop().await.is_empty());
}
