//! What a registry says of a file: its manifest, and the layer in that.
//!
//! Always: a manifest that is named by its digest has this digest; a layer is named by one, so that a tag
//! that moves changes nothing once it is resolved.
//!
//! Own code, because the crate oci-client (0.18, with its smallest features) would add 107 crates to the
//! 189 of this program, a runtime and a TLS library in C among them, for one request that curl makes.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use data_encoding::HEXLOWER;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::curl::{self, Fault};
use super::{Asked, Object, WebArgs};
use crate::source::{Oci, Web, is_sha256};

/// The longest manifest in bytes, as the specification recommends.
const MANIFEST_BYTES_MAX: &str = "4194304";
/// How long a registry may take, in seconds.
const PATIENCE_S: u32 = 10;
/// The types of manifests of one image.
const ACCEPT: &str = "Accept: application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.v2+json";
/// The annotation with the name of a layer's file.
const TITLE: &str = "org.opencontainers.image.title";

#[derive(Debug, Deserialize)]
struct Manifest {
    layers: Option<Vec<Layer>>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
struct Layer {
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

/// Finds the layer that `oci` names, and asks for it.
///
/// # Errors
/// Status 2: plain HTTP that nobody insists on. Status 3: there is no curl.
pub fn resolve(oci: &Oci, args: &WebArgs) -> Result<(Web, Asked)> {
    let manifest = Web::of(oci.manifest());
    args.check(&manifest)?;
    let layer = match fetch(&manifest, args, ACCEPT)? {
        Ok(bytes) => layer(oci, &bytes),
        Err(fault) => Err(fault),
    };
    let layer = match layer {
        Ok(layer) => layer,
        Err(fault) => return Ok((manifest, fault.into())),
    };
    let web = Web::of(oci.blob(&layer.digest));
    let asked = match Object::ask(&web, args)? {
        Asked::There(Object { bytes, .. }) if bytes != layer.size => Asked::Unfit(format!(
            "the manifest says {} bytes, and the registry has {bytes}",
            layer.size
        )),
        asked => asked,
    };
    Ok((web, asked))
}

/// Returns the bytes of a manifest of one of the types that `accept` names.
pub fn fetch(manifest: &Web, args: &WebArgs, accept: &str) -> Result<Result<Vec<u8>, Fault>> {
    let mut command = Command::new(curl::program()?);
    command.args(curl::arguments(manifest, args, PATIENCE_S)?);
    command.args(["--max-filesize", MANIFEST_BYTES_MAX, "--header", accept, "--output", "-"]);
    command.args(["--write-out", "%{stderr}%{http_code}"]).stdin(Stdio::null());
    let output = command.output().context("cannot start curl")?;
    if let Some(fault) = curl::failed(&output) {
        return Ok(Err(fault));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(match said.trim().parse::<u16>() {
        Ok(status) => curl::has_status(status, 200).map(|()| output.stdout),
        Err(_) => Err(Fault::Unfit("the registry's answer is not HTTP".into())),
    })
}

/// Returns the layer of a manifest that `oci` names.
fn layer(oci: &Oci, manifest: &[u8]) -> Result<Layer, Fault> {
    let unfit = |why: String| Err(Fault::Unfit(why));
    let digest = format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(manifest)));
    if let Some(wanted) = oci.digest().filter(|wanted| *wanted != digest) {
        return unfit(format!("the manifest is {digest}, and not {wanted}"));
    }
    let parsed: Result<Manifest, _> = serde_json::from_slice(manifest);
    let layers = match parsed {
        Ok(Manifest { layers: Some(layers) }) => layers,
        Ok(Manifest { layers: None }) => {
            return unfit("an index of several images, and no manifest of one".into());
        }
        Err(error) => return unfit(format!("its manifest is wrong: {error}")),
    };
    let title = |layer: &Layer| layer.annotations.get(TITLE).cloned();
    let fits =
        |layer: &&Layer| oci.title().is_none_or(|wanted| title(layer).as_deref() == Some(wanted));
    let fitting: Vec<&Layer> = layers.iter().filter(fits).collect();
    let [layer] = fitting[..] else {
        let titles: Vec<String> = layers.iter().filter_map(title).collect();
        return unfit(format!(
            "{} layers fit, and one is needed: name a file by #FILE; the manifest has {}",
            fitting.len(),
            if titles.is_empty() { "no names of files".into() } else { titles.join(", ") }
        ));
    };
    match layer.digest.strip_prefix("sha256:").is_some_and(is_sha256) {
        true => Ok(layer.clone()),
        false => unfit(format!("the digest `{}` of the layer is not a SHA-256", layer.digest)),
    }
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
        match layer(&oci, manifest.as_bytes()) {
            Ok(layer) => Ok(layer.size),
            Err(Fault::Unfit(why) | Fault::Away(why)) => Err(why),
        }
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
}
