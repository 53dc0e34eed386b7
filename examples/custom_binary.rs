//! The server with a processor from a crate that depends on `ooblex-core` alone.
//!
//! `cargo run --release -p ooblex-examples --example custom_binary -- --demo --model-name posterize`

fn main() -> std::process::ExitCode {
    ooblex_colab::App::new().with(ooblex_posterize::register).run()
}
