//! The manifest of an image in a registry, and the layer in it that is meant.
//!
//! Always: pure; a manifest that is named by its digest has this digest; a layer is named by one, so that
//! a tag that moves changes nothing once it is resolved.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Fault;
use crate::source::{Oci, is_sha256};

/// The annotation with the name of a layer's file.
const TITLE: &str = "org.opencontainers.image.title";
/// The annotation with the number of a layer's slot in the device table; 0 is the image.
const SLOT: &str = "rootlet.slot";

/// The layers of one image.
#[derive(Clone, Debug, Deserialize)]
pub struct Manifest {
    layers: Option<Vec<Layer>>,
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

impl Manifest {
    /// Reads the manifest that `oci` names.
    pub fn parse(oci: &Oci, bytes: &[u8]) -> Result<Self, Fault> {
        let digest = format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(bytes)));
        if let Some(wanted) = oci.digest().filter(|wanted| *wanted != digest) {
            return unfit(format!(
                "the manifest is {digest}, and not {wanted}: the registry or somebody on the way has \
                 changed it"
            ));
        }
        match serde_json::from_slice(bytes) {
            Ok(Self { layers: Some(layers) }) => Ok(Self { layers: Some(layers) }),
            Ok(Self { layers: None }) => unfit(
                "an index of several images, and no manifest of one: name one by @sha256:".into(),
            ),
            Err(error) => unfit(format!("its manifest is wrong: {error}")),
        }
    }

    fn layers(&self) -> &[Layer] {
        self.layers.as_deref().expect("a manifest was parsed")
    }

    /// Returns the layer that `oci` names: by its title, else the image, else the only one.
    pub fn layer(&self, oci: &Oci) -> Result<Layer, Fault> {
        let title = |layer: &Layer| layer.annotations.get(TITLE).cloned();
        let fits = |layer: &&Layer| match oci.title() {
            Some(wanted) => title(layer).as_deref() == Some(wanted),
            None => !self.has_slots() || layer.slot().is_some_and(|slot| slot == "0"),
        };
        let fitting: Vec<&Layer> = self.layers().iter().filter(fits).collect();
        let [layer] = fitting[..] else {
            let titles: Vec<String> = self.layers().iter().filter_map(title).collect();
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
        for layer in self.layers() {
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
        self.layers().iter().any(|layer| layer.slot().is_some())
    }
}

impl Layer {
    fn slot(&self) -> Option<&str> {
        self.annotations.get(SLOT).map(String::as_str)
    }

    fn checked(&self) -> Result<Self, Fault> {
        match self.digest.strip_prefix("sha256:").is_some_and(is_sha256) {
            true => Ok(self.clone()),
            false => unfit(format!("the digest `{}` of the layer is not a SHA-256", self.digest)),
        }
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

    fn found(name: &str, manifest: &str) -> Result<u64, String> {
        let oci = Oci::parse(name).unwrap();
        let parsed = Manifest::parse(&oci, manifest.as_bytes());
        let layer = parsed.and_then(|manifest| manifest.layer(&oci));
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
            ("oci://h/n:1", "{\"manifests\": []}", "an index of several images"),
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
        let parsed = |slots| Manifest::parse(&oci, manifest(slots).as_bytes()).unwrap();
        let three = parsed(&["2", "0", "1"]);
        assert_eq!(three.layer(&oci).unwrap().size, 2);
        let blobs = three.blobs().unwrap();
        assert_eq!(
            blobs.iter().map(|(slot, of)| (*slot, of.size)).collect::<Vec<_>>(),
            [(1, 3), (2, 1)]
        );
        for (slots, why) in
            [(&["x"][..], "rootlet.slot=x is not the number"), (&["1", "1"], "two layers have")]
        {
            let fault = parsed(slots).blobs().unwrap_err();
            assert!(fault.why().contains(why), "{fault:?}");
        }
    }
}
