//! Lists of files that can be fetched.

use serde::Deserialize;

use super::super::card::ModelFile;
use super::super::files::{LARGEST, check_name};
use super::FetchError;
use super::address::Address;

/// A manifest longer than this is not read.
pub(super) const LONGEST: u64 = 1 << 20;

/// A file that is to be fetched, and how to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wanted {
    /// Its name, without folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256 in lowercase hexadecimal.
    pub sha256: String,
    /// Where it lies, if not beside the others.
    pub address: Option<Address>,
}

impl Wanted {
    /// A file of which everything is known.
    ///
    /// # Errors
    /// [`FetchError`]: the name is no file name, the length is 0 or above 2 GiB, or the sum is none.
    pub fn new(name: &str, bytes: u64, sha256: &str) -> Result<Self, FetchError> {
        check_name(name).map_err(FetchError::Name)?;
        let unknown = |reason: &str| FetchError::Unknown { name: name.to_owned(), reason: reason.to_owned() };
        if !(1..=LARGEST).contains(&bytes) {
            return Err(unknown(&format!("its length is {bytes}, not 1 to {LARGEST} bytes")));
        }
        if sha256.len() != 64 || !sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(unknown("its SHA-256 is not given as 64 lowercase hexadecimal digits"));
        }
        Ok(Self { name: name.into(), bytes, sha256: sha256.into(), address: None })
    }

    /// The files of a model in one format: the weights, and what belongs to them. None of those that are compiled in.
    ///
    /// # Errors
    /// As [`new`](Self::new), for a file of which length or sum are not known.
    pub fn of(file: &ModelFile) -> Result<Vec<Self>, FetchError> {
        let files = std::iter::once(file).chain(file.beside.as_deref());
        let to_fetch = files.filter(|file| file.content.is_none());
        to_fetch
            .map(|file| Self::new(&file.name, file.bytes, file.sha256.as_deref().unwrap_or_default()))
            .collect()
    }
}

/// Models that can be fetched, with what users must know before they do.
///
/// ```
/// use ooblex_models::manager::fetch::{Address, Manifest};
///
/// let list = r#"{"models": [{
///     "name": "my_net", "licence": "MIT", "origin": "made by me",
///     "files": [{"name": "my_net.onnx", "bytes": 3,
///         "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}]
/// }]}"#;
/// let manifest = Manifest::parse(list.as_bytes(), &Address::parse("https://example.org/models.json")?)?;
/// assert_eq!(manifest.models[0].files[0].name, "my_net.onnx");
/// # Ok::<(), ooblex_models::manager::fetch::FetchError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Manifest {
    /// The models.
    pub models: Vec<ListedModel>,
}

/// One model of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedModel {
    /// Its name.
    pub name: String,
    /// Its licence.
    pub licence: String,
    /// Who made it, and what is not known about it.
    pub origin: String,
    /// Its files, with where they lie.
    pub files: Vec<Wanted>,
}

#[derive(Deserialize)]
struct Document {
    models: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    name: String,
    licence: String,
    origin: String,
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    name: String,
    bytes: u64,
    sha256: String,
    #[serde(default)]
    url: Option<String>,
}

impl Manifest {
    /// Reads a manifest that came from `address`. Files lie beside it unless it says otherwise (`url`, which may be
    /// relative). What else it says is ignored.
    ///
    /// # Errors
    /// [`FetchError::Manifest`] if it is not of that form; and what is wrong with a name, length, sum or address.
    pub fn parse(text: &[u8], address: &Address) -> Result<Self, FetchError> {
        let wrong = |reason: String| FetchError::Manifest { reason };
        if text.len() as u64 > LONGEST {
            return Err(wrong(format!("it is longer than {LONGEST} bytes")));
        }
        let document: Document = serde_json::from_slice(text).map_err(|e| wrong(e.to_string()))?;
        let mut models = Vec::with_capacity(document.models.len());
        for model in document.models {
            check_name(&model.name).map_err(FetchError::Name)?;
            let mut files = Vec::with_capacity(model.files.len());
            for file in model.files {
                let place = address.join(file.url.as_deref().unwrap_or(&file.name))?;
                let wanted = Wanted::new(&file.name, file.bytes, &file.sha256)?;
                files.push(Wanted { address: Some(place), ..wanted });
            }
            models.push(ListedModel {
                name: model.name,
                licence: model.licence,
                origin: model.origin,
                files,
            });
        }
        Ok(Self { models })
    }

    /// The same file as the manifest lists it, with where it lies.
    ///
    /// # Errors
    /// [`FetchError::Unknown`] if it is not listed, or listed with another length or sum.
    pub fn locate(&self, wanted: &Wanted) -> Result<Wanted, FetchError> {
        let unknown =
            |reason: &str| FetchError::Unknown { name: wanted.name.clone(), reason: reason.to_owned() };
        let listed = self.models.iter().flat_map(|model| &model.files).find(|file| file.name == wanted.name);
        let listed = listed.ok_or_else(|| unknown("the manifest does not list it"))?;
        if (listed.bytes, &listed.sha256) != (wanted.bytes, &wanted.sha256) {
            return Err(unknown("the manifest lists another version of it"));
        }
        Ok(listed.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn parse(file: &str) -> Result<Manifest, FetchError> {
        let text = format!(
            r#"{{"models":[{{"name":"m","licence":"MIT","origin":"me","new":1,"files":[{file}]}}],"version":2}}"#
        );
        Manifest::parse(text.as_bytes(), &Address::parse("https://example.org/list.json").expect("good"))
    }

    fn file(name: &str, bytes: &str, sum: &str, url: &str) -> String {
        format!(r#"{{"name":"{name}","bytes":{bytes},"sha256":"{sum}","url":{url}}}"#)
    }

    #[test]
    fn files_lie_beside_the_manifest_or_where_it_says() {
        let address = |file: &str| {
            let manifest = parse(file).expect(file);
            manifest.models[0].files[0].address.as_ref().expect("has one").to_string()
        };
        assert_eq!(address(&file("a.onnx", "3", SUM, "null")), "https://example.org/a.onnx");
        assert_eq!(
            address(&file("a.onnx", "3", SUM, "\"https://cdn.example.org/b\"")),
            "https://cdn.example.org/b"
        );
    }

    #[test]
    fn nothing_leads_out_of_the_folder_or_is_unknown() {
        for bad in [
            file("../a.onnx", "3", SUM, "null"),
            file("a/b", "3", SUM, "null"),
            file(".a", "3", SUM, "null"),
            file("a.onnx", "0", SUM, "null"),
            file("a.onnx", "99999999999", SUM, "null"),
            file("a.onnx", "-1", SUM, "null"),
            file("a.onnx", "3", "abc", "null"),
            file("a.onnx", "3", &SUM.to_uppercase(), "null"),
            file("a.onnx", "3", SUM, "\"http://example.org/a\""),
            file("a.onnx", "3", SUM, "\"file:///etc/passwd\""),
            "3".into(),
        ] {
            assert!(parse(&bad).is_err(), "{bad}");
        }
        let address = Address::parse("https://example.org/list.json").expect("good");
        assert!(Manifest::parse(&vec![b' '; LONGEST as usize + 1], &address).is_err());
    }

    #[test]
    fn a_listed_file_must_be_the_one_that_is_wanted() {
        let manifest = parse(&file("a.onnx", "3", SUM, "null")).expect("good");
        let wanted = |name, bytes, sum| Wanted::new(name, bytes, sum).expect("good");
        assert!(manifest.locate(&wanted("a.onnx", 3, SUM)).is_ok());
        for other in
            [wanted("a.onnx", 4, SUM), wanted("a.onnx", 3, &SUM.replace('b', "c")), wanted("b.onnx", 3, SUM)]
        {
            assert!(matches!(manifest.locate(&other), Err(FetchError::Unknown { .. })), "{other:?}");
        }
    }
}
