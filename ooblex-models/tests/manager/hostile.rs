//! Models that mean harm, by the engines that are here.

use std::path::Path;

use ooblex_models::engine::{EngineKind, Format};
use ooblex_models::manager::{ModelCard, ModelFile, Models, SearchPath};

use crate::config_with;

/// A field of a protocol buffer: its number, and bytes or a number.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    out.extend(varint(content.len() as u64));
    out.extend(content);
    out
}

fn number(field: u8, value: u64) -> Vec<u8> {
    [vec![field << 3], varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// An input or output of floats (onnx.proto3: ValueInfoProto).
fn value(name: &str, dims: &[u64]) -> Vec<u8> {
    let shape: Vec<u8> = dims.iter().flat_map(|dim| field(1, &number(1, *dim))).collect();
    let tensor = [number(1, 1), field(2, &shape)].concat();
    [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat()
}

/// A model that adds the constant `c` to `x`, both of size `dims` (onnx.proto3: ModelProto). `rest` completes the
/// constant: where its numbers are.
fn adds(dims: &[u64], rest: &[u8]) -> Vec<u8> {
    let dimensions: Vec<u8> = dims.iter().flat_map(|dim| number(1, *dim)).collect();
    let constant = [dimensions, number(2, 1), field(8, b"c"), rest.to_vec()].concat();
    let add = [field(1, b"x"), field(1, b"c"), field(2, b"y"), field(4, b"Add")].concat();
    let graph = [
        field(1, &add),
        field(2, b"g"),
        field(5, &constant),
        field(11, &value("x", dims)),
        field(12, &value("y", dims)),
    ];
    [number(1, 8), field(7, &graph.concat()), field(8, &number(2, 17))].concat()
}

fn raw(numbers: &[f32]) -> Vec<u8> {
    field(9, &numbers.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
}

/// Numbers in another file (TensorProto: external_data, data_location).
fn external(location: &str) -> Vec<u8> {
    let entry = [field(1, b"location"), field(2, location.as_bytes())].concat();
    [field(13, &entry), number(14, 1)].concat()
}

/// Loads `model` with each engine for ONNX that is here, from a folder; the errors.
fn errors(folder: &Path, model: &[u8]) -> Vec<String> {
    std::fs::write(folder.join("own.onnx"), model).expect("writes");
    let mut errors = Vec::new();
    for kind in [EngineKind::Rten, EngineKind::Onnx] {
        let models = Models::new(config_with(|config| {
            config.engine = Some(kind);
            config.path = SearchPath::new([folder.to_owned()]);
        }));
        if models.engine().is_err() {
            assert_eq!(kind, EngineKind::Onnx, "rten is always there");
            continue;
        }
        models.add(ModelCard::new("own", "mine").file(ModelFile::named(Format::Onnx, "own.onnx")));
        errors.extend(models.load("own").err().map(|error| error.to_string()));
    }
    errors
}

/// How many engines for ONNX are here.
fn engines() -> usize {
    let onnx = Models::new(config_with(|config| config.engine = Some(EngineKind::Onnx)));
    1 + usize::from(onnx.engine().is_ok())
}

#[test]
fn a_model_that_is_what_it_seems_loads() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(errors(folder.path(), &adds(&[1, 2], &raw(&[1.0, 2.0]))), Vec::<String>::new());
}

#[test]
fn a_model_that_wants_another_file_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("beside.bin"), [0; 8]).expect("writes");
    for place in ["../../etc/passwd", "/etc/passwd", "beside.bin", "../../../../../../etc/passwd"] {
        let errors = errors(folder.path(), &adds(&[1, 2], &external(place)));
        assert_eq!(errors.len(), engines(), "{place}: {errors:?}");
        for error in errors {
            assert!(error.contains("file") || error.contains("external"), "{place}: {error}");
            assert!(!error.contains("root:"), "{place}: {error}");
        }
    }
}

#[test]
fn a_model_that_claims_to_be_huge_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let huge = [1 << 40, 1 << 20];
    for model in [adds(&huge, &raw(&[1.0])), adds(&[u64::MAX, 2], &raw(&[1.0])), adds(&[1 << 30, 4], &[])] {
        let errors = errors(folder.path(), &model);
        assert_eq!(errors.len(), engines(), "{errors:?}");
    }
}

#[test]
fn a_model_that_gives_no_numbers_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for constant in [[f32::NAN, 1.0], [1.0, f32::INFINITY]] {
        let errors = errors(folder.path(), &adds(&[1, 2], &raw(&constant)));
        assert_eq!(errors.len(), engines(), "{errors:?}");
        assert!(errors.iter().all(|error| error.contains("not finite")), "{errors:?}");
    }
}

#[test]
fn what_is_no_model_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = adds(&[1, 2], &raw(&[1.0, 2.0]));
    for bad in [&b""[..], b"not a model", &[0xff; 100], &good[..good.len() / 2], b"PK\x03\x04"] {
        let errors = errors(folder.path(), bad);
        assert_eq!(errors.len(), engines(), "{bad:?}: {errors:?}");
    }
}
