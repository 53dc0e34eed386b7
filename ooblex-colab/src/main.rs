//! The stock binary: every effect of `ooblex-models`, and nothing else.

fn main() -> std::process::ExitCode {
    ooblex_colab::App::new().run()
}
