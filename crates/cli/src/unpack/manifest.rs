//! What an image says of itself: the index, the manifest of one platform, the configuration.
//!
//! Always: a text is parsed after its digest was checked; an index leads at most four indexes deep.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::store::Store;
use super::sum::Digest;
use crate::source::Platform;

/// How deep an index may lead to indexes.
const DEPTH_MAX: usize = 4;
/// The annotation by which a layout names its images.
const REFERENCE: &str = "org.opencontainers.image.ref.name";

/// The place of some bytes.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the bytes are.
    pub media_type: String,
    /// Their digest.
    pub digest: Digest,
    /// Their length.
    pub size: u64,
    platform: Option<Platform>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// An index or a manifest.
#[derive(Debug, Deserialize)]
struct Document {
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

#[derive(Debug, Deserialize)]
struct ConfigWords {
    os: Option<String>,
    architecture: Option<String>,
    rootfs: Option<RootFs>,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

/// The image of one platform.
#[derive(Debug)]
pub struct Image {
    /// The digest of its manifest.
    pub digest: Digest,
    /// The platform, as the configuration names it.
    pub platform: String,
    /// Its layers, the lowest first, each with the digest of what is packed in it.
    pub layers: Vec<(Descriptor, Digest)>,
}

/// Finds the image of a platform, or the only one.
///
/// # Errors
/// There is none, or there are several; a text is not what its digest says, or makes no sense.
pub fn find(store: &Store, wanted: Option<&Platform>) -> Result<Image> {
    let (mut digest, mut text) = store.first()?;
    for _ in 0..=DEPTH_MAX {
        let document: Document = parse(&text).with_context(|| format!("the manifest {digest}"))?;
        match document {
            Document { manifests: Some(manifests), .. } => {
                let here = Platform::here();
                let only = store.reference().filter(|_| digest == store.name());
                let next = choose(&manifests, only, wanted, &here)?;
                (digest, text) = (next.digest.to_string(), store.text(next)?);
            }
            Document { config: Some(config), layers: Some(layers), .. } => {
                return image(store, wanted, &digest, &config, layers);
            }
            _ => bail!("the manifest {digest} has neither layers nor manifests of images"),
        }
    }
    bail!("{digest}: indexes lead to indexes, more than {DEPTH_MAX} deep")
}

/// Returns the one descriptor of an index that is meant.
fn choose<'d>(
    all: &'d [Descriptor],
    reference: Option<&str>,
    wanted: Option<&Platform>,
    here: &Platform,
) -> Result<&'d Descriptor> {
    let name = |descriptor: &Descriptor| descriptor.annotations.get(REFERENCE).cloned();
    let named: Vec<&Descriptor> = match reference {
        None => all.iter().collect(),
        Some(wanted) => all.iter().filter(|it| name(it).as_deref() == Some(wanted)).collect(),
    };
    if let (Some(reference), []) = (reference, &named[..]) {
        let names: Vec<String> = all.iter().filter_map(name).collect();
        bail!("no image is called {reference}; there are: {}", listed(&names));
    }
    let is_image = |it: &&&Descriptor| it.platform.as_ref().is_none_or(Platform::is_of_image);
    let images: Vec<&Descriptor> = named.iter().filter(is_image).copied().collect();
    let fits = |platform: &Platform| -> Vec<&'d Descriptor> {
        let fits = |it: &&Descriptor| it.platform.as_ref().is_some_and(|it| it.fits(platform));
        images.iter().copied().filter(fits).collect()
    };
    let fitting = match (wanted, &images[..]) {
        // Whether the only one fits, its configuration says.
        (_, [only]) if only.platform.is_none() => vec![*only],
        (None, [only]) => vec![*only],
        (wanted, _) => fits(wanted.unwrap_or(here)),
    };
    match fitting[..] {
        [one] => Ok(one),
        _ => {
            let platforms = images.iter().filter_map(|it| it.platform.as_ref());
            let mut known: Vec<String> = platforms.map(Platform::to_string).collect();
            let names: Vec<String> = images.iter().copied().filter_map(name).collect();
            let how = match known.is_empty() && !names.is_empty() {
                true => {
                    known = names;
                    "name one by oci:DIR:REF"
                }
                false => "choose one by --platform",
            };
            let wanted = wanted.unwrap_or(here);
            let count = fitting.len();
            bail!(
                "{count} images fit {wanted}, and one is needed: {how}; there are: {}",
                listed(&known)
            )
        }
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// Reads the configuration of an image, and pairs its layers with what is packed in them.
fn image(
    store: &Store,
    wanted: Option<&Platform>,
    digest: &str,
    config: &Descriptor,
    layers: Vec<Descriptor>,
) -> Result<Image> {
    let text = store.text(config)?;
    let words: ConfigWords = parse(&text)
        .with_context(|| format!("the configuration {} ({})", config.digest, config.media_type))?;
    let platform = match (words.os, words.architecture) {
        (Some(os), Some(architecture)) => {
            let found = Platform { os, architecture, variant: None };
            if let Some(wanted) = wanted
                && !found.fits(&Platform { variant: None, ..wanted.clone() })
            {
                bail!("the image is for {found}, and --platform wants {wanted}");
            }
            found.to_string()
        }
        _ => "a platform that it does not say".into(),
    };
    let Some(RootFs { diff_ids }) = words.rootfs else {
        bail!("{}: no rootfs.diff_ids: it is not the configuration of an image", config.digest);
    };
    if diff_ids.len() != layers.len() {
        let (ids, layers) = (diff_ids.len(), layers.len());
        bail!("the manifest {digest} has {layers} layers, and its configuration has {ids}");
    }
    let digest = Digest::try_from(digest.to_string()).map_err(anyhow::Error::msg)?;
    Ok(Image { digest, platform, layers: layers.into_iter().zip(diff_ids).collect() })
}

fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T> {
    serde_json::from_slice(text).context("makes no sense")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(of: &[(&str, Option<&str>)]) -> Vec<Descriptor> {
        let entry = |(at, (platform, name)): (usize, &(&str, Option<&str>))| {
            let mut value = serde_json::json!({"mediaType": "m", "size": at,
                "digest": format!("sha256:{}", "00".repeat(32))});
            if let Some((os, architecture)) = platform.split_once('/') {
                value["platform"] = serde_json::json!({"os": os, "architecture": architecture});
            }
            if let Some(name) = name {
                value["annotations"] = serde_json::json!({REFERENCE: name});
            }
            serde_json::from_value(value).unwrap()
        };
        of.iter().enumerate().map(entry).collect()
    }

    fn chosen(
        of: &[(&str, Option<&str>)],
        reference: Option<&str>,
        wanted: Option<&str>,
    ) -> Result<u64, String> {
        let wanted = wanted.map(|wanted| wanted.parse().unwrap());
        let here = "linux/amd64".parse().unwrap();
        let all = index(of);
        let found = choose(&all, reference, wanted.as_ref(), &here);
        found.map(|it| it.size).map_err(|error| error.to_string())
    }

    #[test]
    fn image_is_that_of_the_platform_or_the_only_one() {
        let two = [("linux/arm64", None), ("linux/amd64", None), ("unknown/unknown", None)];
        assert_eq!(chosen(&two, None, None), Ok(1));
        assert_eq!(chosen(&two, None, Some("linux/arm64")), Ok(0));
        assert_eq!(chosen(&two[..1], None, None), Ok(0));
        assert_eq!(chosen(&[("", None)], None, Some("linux/arm64")), Ok(0));
        let named = [("", Some("v1")), ("", Some("v2"))];
        assert_eq!(chosen(&named, Some("v2"), None), Ok(1));
    }

    #[test]
    fn choice_that_is_none_says_what_there_is() {
        let two = [("linux/arm64", None), ("linux/amd64", None), ("unknown/unknown", None)];
        let named = [("", Some("v1")), ("", Some("v2"))];
        for (of, reference, wanted, why) in [
            (
                &two[..],
                None,
                Some("linux/s390x"),
                "0 images fit linux/s390x, and one is needed: \
                choose one by --platform; there are: linux/arm64, linux/amd64",
            ),
            (&two[..1], None, Some("linux/amd64"), "0 images fit"),
            (&named, Some("v3"), None, "no image is called v3; there are: v1, v2"),
            (&named, None, None, "name one by oci:DIR:REF; there are: v1, v2"),
            (&[], None, None, "there are: none"),
        ] {
            let said = chosen(of, reference, wanted).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
