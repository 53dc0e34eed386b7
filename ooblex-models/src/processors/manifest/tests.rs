use super::*;

const GOOD: &str = r##"{
    "name": "road_scene", "task": "roads", "licence": "MIT", "file": "road-1.onnx",
    "sha256": "AB0000000000000000000000000000000000000000000000000000000000000f",
    "input": { "width": 512, "height": 256, "layout": "nhwc", "order": "bgr", "mean": [1, 2.5, 3], "scale": 0.5 },
    "edges": "hard",
    "classes": [{ "name": "background" }, { "name": "road", "color": "#804080" }, { "name": "car", "color": "blue" }]
}"##;

fn parse(json: &str) -> Result<Manifest, ManifestError> {
    Manifest::parse(json.as_bytes())
}

/// The message for the good manifest with one piece exchanged.
fn error(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    parse(&GOOD.replacen(from, to, 1)).expect_err(to).to_string()
}

#[test]
fn everything_is_read() {
    let manifest = parse(GOOD).expect("a good manifest");
    assert_eq!((&*manifest.name, &*manifest.task, &*manifest.licence), ("road_scene", "roads", "MIT"));
    assert_eq!(manifest.file, "road-1.onnx");
    assert!(manifest.sha256.expect("a sum").starts_with("ab00"));
    let SegmentationSpec { input, edges, classes } = manifest.spec;
    assert_eq!(input.shape(), [1, 256, 512, 3]);
    assert_eq!((input.layout, input.components, input.fit), (Layout::Nhwc, Components::Bgr, Fit::Stretch));
    assert_eq!((input.mean, input.scale), ([1.0, 2.5, 3.0], [0.5; 3]));
    assert_eq!(edges, Edges::Hard);
    let colors: Vec<_> = classes.iter().map(|class| (&*class.name, class.color)).collect();
    assert_eq!(
        colors,
        [("background", None), ("road", Some([0x80, 0x40, 0x80])), ("car", Some([0, 0, 255]))]
    );
}

#[test]
fn what_is_absent_has_a_default() {
    let short = r#"{ "name": "x", "file": "x.onnx", "input": { "width": 8, "height": 4 }, "classes": [{ "name": "a" }] }"#;
    let manifest = parse(short).expect("a good manifest");
    assert_eq!((&*manifest.task, &*manifest.licence), ("semantic segmentation", "unknown"));
    assert_eq!(manifest.spec.input, InputSpec::rgb01(8, 4));
    assert_eq!((manifest.sha256, manifest.spec.edges), (None, Edges::Soft));
}

#[test]
fn errors_name_the_field_and_the_fix() {
    for (from, to, wanted) in [
        ("road_scene", "Road", "`name` is \"Road\"; use 1 to 64 of a-z 0-9 _, beginning with a letter"),
        ("road_scene", "1road", "`name` is \"1road\"; use"),
        (
            "road-1.onnx",
            "../road.onnx",
            "`file` is \"../road.onnx\"; name an .onnx file in the manifest's own folder",
        ),
        ("road-1.onnx", "road.pt", "`file` is \"road.pt\"; name an .onnx file"),
        ("AB00", "XY00", "`sha256` is no SHA-256; give 64 hexadecimal digits, or leave it out"),
        ("512", "0", "`input.width` is 0; write a whole number from 1 to 4096"),
        (
            "\"height\": 256",
            "\"height\": 4097",
            "`input.height` is 4097; write a whole number from 1 to 4096",
        ),
        ("512", "51.5", "`input.width` is 51.5; write"),
        ("\"nhwc\"", "\"hwc\"", "`input.layout` is \"hwc\"; write nchw or nhwc"),
        ("\"bgr\"", "7", "`input.order` is 7; write text of 1 to 200 characters"),
        (
            "[1, 2.5, 3]",
            "[1, 2]",
            "`input.mean` is [1,2]; write a number, or a list of 3, one for each component",
        ),
        ("0.5", "\"x\"", "`input.scale` is \"x\"; write a number"),
        ("0.5", "1e300", "`input.scale` is 1e+300; write a number"),
        ("\"edges\": \"hard\"", "\"edges\": \"sharp\"", "`edges` is \"sharp\"; write soft or hard"),
        (
            "#804080",
            "#80",
            "`classes[1].color` is \"#80\"; write #rrggbb, or leave it out to ignore the class",
        ),
        ("{ \"name\": \"background\" }", "{}", "`classes[0].name` is missing; name the class"),
        ("{ \"name\": \"background\" }", "7", "`classes[0]` is no object; write fields between { and }"),
        ("\"task\"", "\"taks\"", "`taks` is not known; known are name, task,"),
        ("\"layout\"", "\"x\": 1, \"layout\"", "`input.x` is not known; known are width,"),
        ("\"name\": \"road_scene\",", "", "`name` is missing; give the effect a name"),
    ] {
        let error = error(from, to);
        assert!(error.starts_with(&format!("manifest field {wanted}")), "{to}: {error}");
    }
    assert!(parse("").expect_err("empty").to_string().starts_with("the manifest is not JSON: EOF"));
    assert_eq!(
        parse("[]").expect_err("a list").to_string(),
        "manifest field `(all)` is no object; write fields between { and }"
    );
    assert!(parse(&"[".repeat(100_000)).is_err(), "deep nesting ends in an error");
    assert!(parse(&format!("{{\"{}\": 1}}", "x".repeat(9999))).expect_err("long").to_string().len() < 500);
}

#[test]
fn the_model_lies_in_the_folder_of_the_manifest() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("road.json");
    std::fs::write(&path, GOOD).expect("written");
    let error = Manifest::load(&path).expect_err("no model").to_string();
    assert!(error.contains("road-1.onnx: "), "{error}");
    let outside = tempfile::tempdir().expect("a folder");
    std::fs::write(outside.path().join("other.onnx"), b"x").expect("written");
    #[cfg(unix)]
    {
        let link = folder.path().join("road-1.onnx");
        std::os::unix::fs::symlink(outside.path().join("other.onnx"), &link).expect("linked");
        let error = Manifest::load(&path).expect_err("a link").to_string();
        assert!(error.ends_with("put the model itself beside the manifest"), "{error}");
        std::fs::remove_file(&link).expect("removed");
    }
    std::fs::create_dir(folder.path().join("road-1.onnx")).expect("made");
    assert!(Manifest::load(&path).is_err(), "a folder is no model");
    std::fs::remove_dir(folder.path().join("road-1.onnx")).expect("removed");
    std::fs::write(folder.path().join("road-1.onnx"), b"x").expect("written");
    let (card, spec) = Manifest::load(&path).expect("a model");
    assert_eq!((&*card.name, &*card.licence, spec.classes.len()), ("road_scene", "MIT", 3));
    assert_eq!(card.warm_up, [[1, 256, 512, 3]]);
    let file = card.file_for(Format::Onnx).expect("a file");
    assert_eq!(file.folder.as_deref(), folder.path().canonicalize().ok().as_deref());
}

#[test]
fn a_manifest_that_is_too_long_is_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("long.json");
    std::fs::write(&path, vec![b' '; LONGEST as usize + 1]).expect("written");
    let error = Manifest::load(&path).expect_err("too long").to_string();
    assert!(error.ends_with("it is 1048577 bytes long; at most 1048576 are read"), "{error}");
}

proptest::proptest! {
    #[test]
    fn whatever_is_written_is_read_or_refused(at in 0..GOOD.len(), byte: u8, junk in "\\PC{0,200}") {
        let mut changed = GOOD.as_bytes().to_vec();
        changed[at] = byte;
        for json in [&changed[..], junk.as_bytes()] {
            if let Ok(manifest) = Manifest::parse(json) {
                // What is accepted keeps its promises.
                proptest::prop_assert!(!manifest.file.contains('/') && manifest.file.ends_with(".onnx"));
                proptest::prop_assert!(!manifest.spec.classes.is_empty());
                proptest::prop_assert!(manifest.spec.input.width * manifest.spec.input.height > 0);
            }
        }
    }
}
