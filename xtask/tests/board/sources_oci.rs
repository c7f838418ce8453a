//! An image out of a registry: its manifest says which layer is the image, and which slot a blob has.

use sha2::{Digest, Sha256};

use crate::boot::{boot, passes};
use crate::origin::Origin;
use crate::sample::Sample;
use crate::sources_web::is_skipped;

#[test]
fn image_in_a_registry_brings_its_blobs() {
    if is_skipped() {
        return;
    }
    let sample = Sample::new();
    let origin = Origin::new(Vec::new());
    let manifest = push(&sample, &origin);
    let source = format!("oci+http://{}/t/img:1", origin.add_manifest(&manifest));
    let words = ["--image", &source, "--plain-http", "--", "manifest", "/"];
    let outcome = passes(words);
    assert!(outcome.stdout == sample.manifest(), "{}", outcome.stderr);
    // What the user says of a slot comes first.
    let second = format!("2={}", sample.path("blob2").display());
    let region = sample.path("region").display().to_string();
    let more = ["--blob", &second, "--region", &region, "--region-size", "16M"];
    let outcome = passes([&more[..], &words].concat());
    assert!(outcome.stdout == sample.manifest(), "{}", outcome.stderr);
    // The digest is the identity of the blob: the same image by another name has it in the region.
    let outcome = passes(
        [&more[..], &["--image", &source.replace(":1", &named(&manifest))], &words[2..]].concat(),
    );
    outcome.assert_counter("fetched 0 bytes");
    // A manifest that does not fit its digest.
    origin.add_manifest(&manifest.replace("rootlet.slot", "rootlet.slop"));
    let changed = source.replace(":1", &named(&manifest));
    let outcome = boot([&["--image", &changed][..], &words[2..]].concat());
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    assert!(outcome.verdict().contains("the manifest is sha256:"), "{}", outcome.stderr);
}

#[test]
fn index_has_an_image_for_each_board() {
    if is_skipped() {
        return;
    }
    let samples = [Sample::of(1), Sample::of(2)];
    let origin = Origin::new(Vec::new());
    let mut manifests = Vec::new();
    for (sample, architecture) in samples.iter().zip(["amd64", "arm64"]) {
        let manifest = push(sample, &origin);
        let name = digest(manifest.as_bytes());
        manifests.push(serde_json::json!({
            "digest": name, "size": manifest.len(),
            "platform": { "os": "linux", "architecture": architecture },
        }));
        origin.add_object(&name, manifest.into());
    }
    let index = serde_json::json!({ "manifests": manifests }).to_string();
    let source = format!("oci+http://{}/t/img:1", origin.add_manifest(&index));
    let words = |more: &[&str]| {
        let image = ["--image", &source, "--plain-http", "--", "manifest", "/"];
        [more, &image].concat().into_iter().map(String::from).collect::<Vec<_>>()
    };
    for (more, sample) in [
        (&[][..], &samples[0]),
        (&["--board", "virt-aarch64"], &samples[1]),
        (&["--platform", "linux/arm64"], &samples[1]),
    ] {
        let outcome = passes(words(more));
        assert!(outcome.stdout == sample.manifest(), "{more:?}: {}", outcome.stderr);
    }
    let outcome = boot(words(&["--platform", "linux/riscv64"]));
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    let why = "0 images of its index are for linux/riscv64, and one is needed: choose by --platform; \
               the index has linux/amd64, linux/arm64";
    assert!(outcome.verdict().contains(why), "{}", outcome.stderr);
}

/// Has `origin` serve the image and the blobs of `sample`, and returns their manifest.
fn push(sample: &Sample, origin: &Origin) -> String {
    let image = std::fs::read(sample.path("image")).unwrap();
    let blobs = sample.built.blobs.iter().map(|blob| blob.to_vec());
    let mut layers = Vec::new();
    for (slot, bytes) in std::iter::once(image).chain(blobs).enumerate() {
        let digest = digest(&bytes);
        layers.push(serde_json::json!({
            "digest": digest, "size": bytes.len(),
            "annotations": { "rootlet.slot": slot.to_string() },
        }));
        origin.add_object(&digest, bytes);
    }
    serde_json::json!({ "layers": layers }).to_string()
}

/// Returns the name of a manifest by its digest.
fn named(manifest: &str) -> String {
    format!("@{}", digest(manifest.as_bytes()))
}

/// Returns a digest as registries write it.
pub fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    format!("sha256:{}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}
