//! The index or the manifest of an image in a registry, and what in it is meant.
//!
//! Always: pure; what is named by its digest has this digest; a layer and a manifest in an index are
//! named by one, so that a tag that moves changes nothing once it is resolved.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Fault;
use crate::source::{Oci, Platform, is_sha256};

/// The annotation with the name of a layer's file.
const TITLE: &str = "org.opencontainers.image.title";
/// The annotation with the number of a layer's slot in the device table; 0 is the image.
const SLOT: &str = "rootlet.slot";

/// What a tag or a digest names.
#[derive(Clone, Debug)]
pub enum Document {
    /// Several images.
    Index(Index),
    /// One image.
    Manifest(Manifest),
}

#[derive(Deserialize)]
struct Words {
    manifests: Option<Vec<Entry>>,
    layers: Option<Vec<Layer>>,
}

/// Images, each for a platform.
#[derive(Clone, Debug)]
pub struct Index {
    manifests: Vec<Entry>,
}

#[derive(Clone, Debug, Deserialize)]
struct Entry {
    digest: String,
    platform: Option<Platform>,
}

/// The layers of one image.
#[derive(Clone, Debug)]
pub struct Manifest {
    layers: Vec<Layer>,
}

/// A blob of a registry.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Layer {
    /// `sha256:` and 64 digits.
    pub digest: String,
    /// The length in bytes.
    pub size: u64,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Document {
    /// Reads what has this digest, if it is named by one.
    pub fn parse(digest: Option<&str>, bytes: &[u8]) -> Result<Self, Fault> {
        let found = format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(bytes)));
        if let Some(wanted) = digest.filter(|wanted| *wanted != found) {
            return unfit(format!(
                "the manifest is {found}, and not {wanted}: the registry or somebody on the way has \
                 changed it"
            ));
        }
        match serde_json::from_slice(bytes) {
            Ok(Words { manifests: Some(manifests), .. }) => Ok(Self::Index(Index { manifests })),
            Ok(Words { layers: Some(layers), .. }) => Ok(Self::Manifest(Manifest { layers })),
            Ok(_) => unfit("its manifest is wrong: it has neither layers nor manifests".into()),
            Err(error) => unfit(format!("its manifest is wrong: {error}")),
        }
    }
}

impl Index {
    /// Returns the digest of the image for `platform`, or of the only one if that is for none.
    pub fn choose(&self, platform: &Platform) -> Result<String, Fault> {
        let is_image = |entry: &&Entry| entry.platform.as_ref().is_none_or(Platform::is_of_image);
        let images: Vec<&Entry> = self.manifests.iter().filter(is_image).collect();
        let is_for = |entry: &&Entry| entry.platform.as_ref().is_some_and(|of| of.fits(platform));
        let fitting: Vec<&Entry> = match images[..] {
            [only] if only.platform.is_none() => vec![only],
            _ => images.iter().copied().filter(is_for).collect(),
        };
        let [entry] = fitting[..] else {
            let known: Vec<String> = images
                .iter()
                .filter_map(|image| image.platform.as_ref())
                .map(Platform::to_string)
                .collect();
            return unfit(format!(
                "{} images of its index are for {platform}, and one is needed: choose by --platform; \
                 the index has {}",
                fitting.len(),
                if known.is_empty() { "no platforms".into() } else { known.join(", ") }
            ));
        };
        checked(&entry.digest, "image")
    }
}

impl Manifest {
    /// Returns the layer that `oci` names: by its title, else the image, else the only one.
    pub fn layer(&self, oci: &Oci) -> Result<Layer, Fault> {
        let title = |layer: &Layer| layer.annotations.get(TITLE).cloned();
        let fits = |layer: &&Layer| match oci.title() {
            Some(wanted) => title(layer).as_deref() == Some(wanted),
            None => !self.has_slots() || layer.slot().is_some_and(|slot| slot == "0"),
        };
        let fitting: Vec<&Layer> = self.layers.iter().filter(fits).collect();
        let [layer] = fitting[..] else {
            let titles: Vec<String> = self.layers.iter().filter_map(title).collect();
            return unfit(format!(
                "{} layers fit, and one is needed: name a file by #FILE; the manifest has {}",
                fitting.len(),
                if titles.is_empty() { "no names of files".into() } else { titles.join(", ") }
            ));
        };
        layer.checked()
    }

    /// Returns the layers of the slots from 1 on, each with its number.
    pub fn blobs(&self) -> Result<Vec<(u16, Layer)>, Fault> {
        let mut blobs = BTreeMap::new();
        for layer in &self.layers {
            let Some(slot) = layer.slot() else { continue };
            let Ok(number) = slot.parse::<u16>() else {
                return unfit(format!("the annotation {SLOT}={slot} is not the number of a slot"));
            };
            if blobs.insert(number, layer.checked()?).is_some() {
                return unfit(format!("two layers have the annotation {SLOT}={slot}"));
            }
        }
        Ok(blobs.into_iter().filter(|(slot, _)| *slot > 0).collect())
    }

    fn has_slots(&self) -> bool {
        self.layers.iter().any(|layer| layer.slot().is_some())
    }
}

impl Layer {
    fn slot(&self) -> Option<&str> {
        self.annotations.get(SLOT).map(String::as_str)
    }

    fn checked(&self) -> Result<Self, Fault> {
        checked(&self.digest, "layer").map(|_| self.clone())
    }
}

/// Returns the digest of a `what` if it may be a part of a URL.
fn checked(digest: &str, what: &str) -> Result<String, Fault> {
    match digest.strip_prefix("sha256:").is_some_and(is_sha256) {
        true => Ok(digest.into()),
        false => unfit(format!("the digest `{digest}` of the {what} is not a SHA-256")),
    }
}

fn unfit<T>(why: String) -> Result<T, Fault> {
    Err(Fault::Unfit(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"{"layers": [
        {"digest": "sha256:0000000000000000000000000000000000000000000000000000000000000000",
         "size": 4096, "annotations": {"org.opencontainers.image.title": "a.blob"}},
        {"digest": "sha256:../x", "size": 1,
         "annotations": {"org.opencontainers.image.title": "bad"}}]}"#;

    fn parsed(digest: Option<&str>, text: &str) -> Result<Manifest, Fault> {
        match Document::parse(digest, text.as_bytes())? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(_) => panic!("{text}"),
        }
    }

    fn found(name: &str, manifest: &str) -> Result<u64, String> {
        let oci = Oci::parse(name).unwrap();
        let layer = parsed(oci.digest(), manifest).and_then(|manifest| manifest.layer(&oci));
        layer.map(|layer| layer.size).map_err(|fault| fault.why().into())
    }

    #[test]
    fn layer_is_the_one_with_the_name() {
        assert_eq!(found("oci://h/n:1#a.blob", MANIFEST), Ok(4096));
        let digest = HEXLOWER.encode(&Sha256::digest(MANIFEST));
        assert_eq!(found(&format!("oci://h/n@sha256:{digest}#a.blob"), MANIFEST), Ok(4096));
    }

    #[test]
    fn manifest_that_does_not_fit_is_refused_by_its_reason() {
        let zeros = "0".repeat(64);
        for (name, manifest, why) in [
            ("oci://h/n:1", MANIFEST, "2 layers fit, and one is needed"),
            (
                "oci://h/n:1#c",
                MANIFEST,
                "0 layers fit, and one is needed: name a file by #FILE; the manifest has a.blob, bad",
            ),
            ("oci://h/n:1#bad", MANIFEST, "the digest `sha256:../x` of the layer"),
            ("oci://h/n:1", "{}", "its manifest is wrong"),
            ("oci://h/n:1", "<html>", "its manifest is wrong"),
            (&format!("oci://h/n@sha256:{zeros}#a.blob"), MANIFEST, "and not sha256:000"),
        ] {
            let said = found(name, manifest).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn annotations_tell_the_slots() {
        let layer = |size: u32, slot: &str| {
            let digest = "0".repeat(64);
            format!(
                "{{\"digest\": \"sha256:{digest}\", \"size\": {size}, \
                 \"annotations\": {{\"{SLOT}\": \"{slot}\"}}}}"
            )
        };
        let manifest = |slots: &[&str]| {
            let layers: Vec<_> =
                slots.iter().zip(1..).map(|(slot, size)| layer(size, slot)).collect();
            format!("{{\"layers\": [{}]}}", layers.join(","))
        };
        let oci = Oci::parse("oci://h/n:1").unwrap();
        let slots = |slots| parsed(None, &manifest(slots)).unwrap();
        let three = slots(&["2", "0", "1"]);
        assert_eq!(three.layer(&oci).unwrap().size, 2);
        let blobs = three.blobs().unwrap();
        assert_eq!(
            blobs.iter().map(|(slot, of)| (*slot, of.size)).collect::<Vec<_>>(),
            [(1, 3), (2, 1)]
        );
        for (wrong, why) in
            [(&["x"][..], "rootlet.slot=x is not the number"), (&["1", "1"], "two layers have")]
        {
            let fault = slots(wrong).blobs().unwrap_err();
            assert!(fault.why().contains(why), "{fault:?}");
        }
    }

    #[test]
    fn image_of_an_index_is_that_of_the_platform() {
        let index = |platforms: &[&str]| {
            let entry = |(number, platform): (usize, &&str)| {
                let digest = format!("sha256:{number:064}");
                let mut entry = serde_json::json!({"digest": digest, "size": 1});
                if let Some((os, architecture)) = platform.split_once('/') {
                    entry["platform"] = serde_json::json!({"os": os, "architecture": architecture});
                }
                entry
            };
            let manifests: Vec<_> = platforms.iter().enumerate().map(entry).collect();
            serde_json::json!({ "manifests": manifests }).to_string()
        };
        let chosen = |platforms: &[&str], wanted: &str| {
            let Document::Index(index) =
                Document::parse(None, index(platforms).as_bytes()).unwrap()
            else {
                panic!("{platforms:?}")
            };
            let chosen = index.choose(&wanted.parse().unwrap());
            chosen.map_err(|fault| fault.why().to_string())
        };
        let three = ["linux/amd64", "linux/arm64", "unknown/unknown"];
        assert_eq!(chosen(&three, "linux/arm64"), Ok(format!("sha256:{:064}", 1)));
        assert_eq!(chosen(&[""], "linux/arm64"), Ok(format!("sha256:{:064}", 0)));
        let why = "0 images of its index are for linux/riscv64, and one is needed: choose by --platform; \
                   the index has linux/amd64, linux/arm64";
        assert_eq!(chosen(&three, "linux/riscv64").unwrap_err(), why);
        assert!(chosen(&three[..1], "linux/arm64").is_err());
    }
}
