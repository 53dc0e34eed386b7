//! Examples of Ooblex, one file per use; run one by `cargo run --release -p ooblex-examples --example NAME`.
//!
//! | Example | Shows |
//! |---|---|
//! | `custom_processor` | a processor in 20 lines, as an effect of the whole server |
//! | `custom_binary` | the same with a processor from another crate (`custom-model/`) |
//! | `custom_source` | a source of your own, watched as MJPEG |
//! | `custom_sink` | a sink of your own behind a chain of effects |
//! | `embed_mjpeg` | the MJPEG routes inside your own axum application |
