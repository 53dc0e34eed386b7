//! Examples of Ooblex, one file per use; run one by `cargo run --release -p ooblex-examples --example NAME`.
//!
//! | Example | Shows |
//! |---|---|
//! | `custom_processor` | a processor in 20 lines, as an effect of the whole server |
//! | `custom_binary` | the same with a processor from another crate (`custom-model/`) |
//! | `custom_source` | a source of your own, watched as MJPEG |
//! | `custom_sink` | a sink of your own behind a chain of effects |
//! | `webrtc_source` | one browser's camera by WebRTC as the source of your own pipeline |
//! | `webrtc_hub` | WebRTC publishers into a hub, out as MJPEG, in your own axum application |
//! | `embed_mjpeg` | the MJPEG routes inside your own axum application |
