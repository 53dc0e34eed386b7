//! Processors that find things, on whole pictures: by rten always, by ONNX Runtime where it is installed.
#![cfg(feature = "rten")]
#![allow(clippy::print_stdout)] // How a test says that it skips.

#[path = "../common/onnxruntime.rs"]
mod onnxruntime;
mod support;

/// A test on each engine: a function that takes a [`support::Lab`].
macro_rules! on_each_engine {
    ($($test:ident),+ $(,)?) => {
        mod rten {$(
            #[test]
            fn $test() {
                super::$test(&crate::support::Lab::rten());
            }
        )+}
        mod onnx {$(
            #[test]
            fn $test() {
                if let Some(lab) = crate::support::Lab::onnx(concat!(module_path!(), "::", stringify!($test))) {
                    super::$test(&lab);
                }
            }
        )+}
    };
}

mod drawing;
mod emotions;
mod faces;
mod objects;
mod poses;
