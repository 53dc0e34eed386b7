//! What the operator says about a model of their own: a JSON file beside the model.
//!
//! ```json
//! {
//!   "name": "road_scene",
//!   "task": "roads, cars and people",
//!   "licence": "MIT",
//!   "file": "road_scene.onnx",
//!   "sha256": "…",
//!   "input": {
//!     "width": 512,
//!     "height": 256,
//!     "layout": "nchw",
//!     "order": "rgb",
//!     "mean": [123.675, 116.28, 103.53],
//!     "scale": [0.01712, 0.01751, 0.01743]
//!   },
//!   "edges": "soft",
//!   "classes": [
//!     { "name": "background" },
//!     { "name": "road", "color": "#804080" },
//!     { "name": "car", "color": "blue" }
//!   ]
//! }
//! ```
//!
//! | Field | Means | If absent |
//! |---|---|---|
//! | `name` | name of the model and of the effect: 1 to 64 of a-z 0-9 _, beginning with a letter | an error |
//! | `task` | what it finds, for lists | "semantic segmentation" |
//! | `licence` | licence of the weights, for lists | "unknown" |
//! | `file` | the ONNX file, in the folder of the manifest | an error |
//! | `sha256` | of that file, checked when it is loaded | not checked |
//! | `input.width`, `.height` | columns and rows of the input, 1 to 4096; pictures are stretched to them | an error |
//! | `input.layout` | `nchw` or `nhwc` | `nchw` |
//! | `input.order` | `rgb`, `bgr` or `luma` | `rgb` |
//! | `input.mean`, `.scale` | each component v, 0 to 255, becomes (v - mean) * scale | 0, and 1 / 255 |
//! | `edges` | `hard` for the most probable class alone, `soft` for probabilities | `soft` |
//! | `classes` | in the order of the output `[1, classes, rows, columns]`; those without a colour are ignored | an error |

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::engine::Format;
use crate::manager::{ModelCard, ModelFile};
use crate::overlay::OverlayStyle;
use crate::preprocess::{Components, Fit, InputSpec, Layout};

/// Longest manifest in bytes.
const LONGEST: u64 = 1 << 20;
/// Longest text in a field.
const LONGEST_TEXT: usize = 200;
const MOST_CLASSES: usize = 1024;
const LARGEST_SIDE: u64 = 4096;

/// What the operator says about a semantic model of their own.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Manifest {
    /// Name of the model and of the effect.
    pub name: String,
    /// What it finds.
    pub task: String,
    /// Licence of the weights.
    pub licence: String,
    /// Name of the ONNX file, without folder.
    pub file: String,
    /// SHA-256 of the file in lowercase hexadecimal.
    pub sha256: Option<String>,
    /// What goes in and what comes out.
    pub spec: SegmentationSpec,
}

/// What goes into a semantic model and what comes out of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SegmentationSpec {
    /// The picture.
    pub input: InputSpec,
    /// How masks are made of the output.
    pub edges: Edges,
    /// Classes in the order of the output.
    pub classes: Vec<Class>,
}

/// One class.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Red, green, blue; `None` for a class that is ignored.
    pub color: Option<[u8; 3]>,
}

/// How masks are made of logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Edges {
    /// The most probable class of each pixel, and nothing else.
    Hard,
    /// The probability of each class (softmax).
    #[default]
    Soft,
}

/// Why a manifest cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The file could not be read.
    #[error("manifest {path}: {reason}")]
    Read {
        /// The manifest, or the model that it names.
        path: String,
        /// Why.
        reason: String,
    },
    /// It is no JSON.
    #[error("the manifest is not JSON: {0}")]
    Json(String),
    /// A field is wrong.
    #[error("manifest field `{field}` {problem}; {fix}")]
    Field {
        /// Where: names joined by points, places in brackets.
        field: String,
        /// What is wrong.
        problem: String,
        /// What to write instead.
        fix: String,
    },
    /// Something else has the name already.
    #[error("manifest field `name` is {0:?}, which is taken; choose another name")]
    Taken(String),
}

impl Manifest {
    /// Reads a manifest. Looks at nothing but `json`.
    ///
    /// # Errors
    /// [`ManifestError::Json`] or [`ManifestError::Field`].
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        let value: Value = serde_json::from_slice(json).map_err(|e| ManifestError::Json(e.to_string()))?;
        let root = Fields::of(&value, "")?;
        root.only(&["name", "task", "licence", "file", "sha256", "input", "edges", "classes"])?;
        let name = root.text("name")?.ok_or_else(|| root.missing("name", "give the effect a name"))?;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.len() > 64 || !name.bytes().all(plain)
        {
            let fix = "use 1 to 64 of a-z 0-9 _, beginning with a letter";
            return Err(root.wrong("name", format!("is {name:?}"), fix));
        }
        let file = root
            .text("file")?
            .ok_or_else(|| root.missing("file", "name the ONNX file beside the manifest"))?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if file.starts_with('.') || !file.ends_with(".onnx") || !file.bytes().all(plain) {
            let fix = "name an .onnx file in the manifest's own folder, of letters, digits and . _ -";
            return Err(root.wrong("file", format!("is {file:?}"), fix));
        }
        let sha256 = root.text("sha256")?.map(str::to_ascii_lowercase);
        if sha256.as_ref().is_some_and(|sum| sum.len() != 64 || !sum.bytes().all(|b| b.is_ascii_hexdigit())) {
            return Err(root.wrong(
                "sha256",
                "is no SHA-256".into(),
                "give 64 hexadecimal digits, or leave it out",
            ));
        }
        let edges = root.choice("edges", &[("soft", Edges::Soft), ("hard", Edges::Hard)])?;
        Ok(Self {
            name: name.to_owned(),
            task: root.text("task")?.unwrap_or("semantic segmentation").to_owned(),
            licence: root.text("licence")?.unwrap_or("unknown").to_owned(),
            file: file.to_owned(),
            sha256,
            spec: SegmentationSpec { input: input(&root)?, edges, classes: classes(&root)? },
        })
    }

    /// Reads the manifest at `path` and finds its model, which has to lie in the same folder and not merely be linked
    /// from there. The model itself is read when it is loaded.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn load(path: &Path) -> Result<(ModelCard, SegmentationSpec), ManifestError> {
        let manifest = Self::parse(&read(path)?)?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = real(folder)?;
        let model = folder.join(&manifest.file);
        if real(&model)?.parent() != Some(folder.as_path()) || !model.is_file() {
            return Err(ManifestError::Field {
                field: "file".into(),
                problem: format!("is {:?}, which is no file of the manifest's own folder", manifest.file),
                fix: "put the model itself beside the manifest".into(),
            });
        }
        let mut file = ModelFile::named(Format::Onnx, manifest.file).in_folder(folder);
        file.sha256 = manifest.sha256.map(Into::into);
        let shape = manifest.spec.input.shape();
        let card = ModelCard::new(manifest.name, manifest.task).licence(manifest.licence).file(file);
        Ok((card.warm_up(&[&shape]), manifest.spec))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ManifestError> {
    let failed = |reason: String| ManifestError::Read { path: path.display().to_string(), reason };
    let length = std::fs::metadata(path).map_err(|e| failed(e.to_string()))?.len();
    if length > LONGEST {
        return Err(failed(format!("it is {length} bytes long; at most {LONGEST} are read")));
    }
    std::fs::read(path).map_err(|e| failed(e.to_string()))
}

fn real(path: &Path) -> Result<PathBuf, ManifestError> {
    let failed =
        |e: std::io::Error| ManifestError::Read { path: path.display().to_string(), reason: e.to_string() };
    path.canonicalize().map_err(failed)
}

fn input(root: &Fields<'_>) -> Result<InputSpec, ManifestError> {
    let value = root.map.get("input").ok_or_else(|| root.missing("input", "describe the model's input"))?;
    let input = Fields::of(value, "input")?;
    input.only(&["width", "height", "layout", "order", "mean", "scale"])?;
    let order = [("rgb", Components::Rgb), ("bgr", Components::Bgr), ("luma", Components::Luma)];
    let components = input.choice("order", &order)?;
    Ok(InputSpec {
        width: input.side("width")?,
        height: input.side("height")?,
        layout: input.choice("layout", &[("nchw", Layout::Nchw), ("nhwc", Layout::Nhwc)])?,
        components,
        mean: input.numbers("mean", components.count(), 0.0)?,
        scale: input.numbers("scale", components.count(), 1.0 / 255.0)?,
        fit: Fit::Stretch,
    })
}

fn classes(root: &Fields<'_>) -> Result<Vec<Class>, ManifestError> {
    let fix = "list the classes in the order of the model's output";
    let value = root.map.get("classes").ok_or_else(|| root.missing("classes", fix))?;
    let list = value.as_array().filter(|list| (1..=MOST_CLASSES).contains(&list.len()));
    let list =
        list.ok_or_else(|| root.wrong("classes", format!("is no list of 1 to {MOST_CLASSES}"), fix))?;
    let class = |(place, value): (usize, &Value)| {
        let class = Fields::of(value, &format!("classes[{place}]"))?;
        class.only(&["name", "color"])?;
        let name = class.text("name")?.ok_or_else(|| class.missing("name", "name the class"))?;
        let color = class.text("color")?.map(|text| {
            OverlayStyle::color_from(text).map_err(|_| {
                class.wrong(
                    "color",
                    format!("is {text:?}"),
                    "write #rrggbb, or leave it out to ignore the class",
                )
            })
        });
        Ok(Class { name: name.to_owned(), color: color.transpose()? })
    };
    list.iter().enumerate().map(class).collect()
}

/// The fields of an object, and where it stands.
struct Fields<'a> {
    map: &'a Map<String, Value>,
    place: String,
}

impl<'a> Fields<'a> {
    fn of(value: &'a Value, place: &str) -> Result<Self, ManifestError> {
        let map = value.as_object().ok_or_else(|| ManifestError::Field {
            field: if place.is_empty() { "(all)".into() } else { place.to_owned() },
            problem: "is no object".into(),
            fix: "write fields between { and }".into(),
        })?;
        Ok(Self { map, place: place.to_owned() })
    }

    fn wrong(&self, field: &str, problem: String, fix: &str) -> ManifestError {
        let point = if self.place.is_empty() { "" } else { "." };
        let problem = problem.chars().take(LONGEST_TEXT).collect();
        ManifestError::Field { field: format!("{}{point}{field}", self.place), problem, fix: fix.to_owned() }
    }

    fn missing(&self, field: &str, fix: &str) -> ManifestError {
        self.wrong(field, "is missing".into(), fix)
    }

    fn only(&self, known: &[&str]) -> Result<(), ManifestError> {
        match self.map.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => {
                let key: String = key.chars().take(LONGEST_TEXT).collect();
                Err(self.wrong(&key, "is not known".into(), &format!("known are {}", known.join(", "))))
            }
            None => Ok(()),
        }
    }

    fn text(&self, field: &str) -> Result<Option<&'a str>, ManifestError> {
        let Some(value) = self.map.get(field) else { return Ok(None) };
        let text = value.as_str().filter(|text| {
            (1..=LONGEST_TEXT).contains(&text.chars().count()) && !text.chars().any(char::is_control)
        });
        let fix = format!("write text of 1 to {LONGEST_TEXT} characters");
        text.map(Some).ok_or_else(|| self.wrong(field, format!("is {value}"), &fix))
    }

    /// One of a few words; the first one if the field is absent.
    fn choice<T: Copy>(&self, field: &str, words: &[(&str, T)]) -> Result<T, ManifestError> {
        let Some(text) = self.text(field)? else { return Ok(words[0].1) };
        let known = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        let list = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(" or ");
        known.ok_or_else(|| self.wrong(field, format!("is {text:?}"), &format!("write {}", list())))
    }

    fn side(&self, field: &str) -> Result<usize, ManifestError> {
        let fix = format!("write a whole number from 1 to {LARGEST_SIDE}");
        let value = self.map.get(field).ok_or_else(|| self.missing(field, &fix))?;
        let side = value.as_u64().filter(|side| (1..=LARGEST_SIDE).contains(side));
        side.map(|side| side as usize).ok_or_else(|| self.wrong(field, format!("is {value}"), &fix))
    }

    /// One number for each component, or one for all.
    fn numbers(&self, field: &str, count: usize, default: f32) -> Result<[f32; 3], ManifestError> {
        let Some(value) = self.map.get(field) else { return Ok([default; 3]) };
        let number = |value: &Value| value.as_f64().map(|v| v as f32).filter(|v| v.is_finite());
        let mut numbers = [0.0; 3];
        let fits = match value.as_array() {
            Some(list) if list.len() == count => {
                list.iter().zip(&mut numbers).all(|(v, to)| number(v).map(|v| *to = v).is_some())
            }
            Some(_) => false,
            None => number(value).map(|v| numbers = [v; 3]).is_some(),
        };
        let fix = format!("write a number, or a list of {count}, one for each component");
        if fits { Ok(numbers) } else { Err(self.wrong(field, format!("is {value}"), &fix)) }
    }
}

#[cfg(test)]
mod tests;
