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
    let image = std::fs::read(sample.path("image")).unwrap();
    let blobs: Vec<_> = sample.built.blobs.iter().map(|blob| blob.to_vec()).collect();
    let origin = Origin::new(Vec::new());
    let mut layers = Vec::new();
    for (slot, bytes) in [(0, &image), (1, &blobs[0]), (2, &blobs[1])] {
        let digest = digest(bytes);
        origin.add_object(&digest, bytes.clone());
        layers.push(serde_json::json!({
            "digest": digest, "size": bytes.len(),
            "annotations": { "rootlet.slot": slot.to_string() },
        }));
    }
    let manifest = serde_json::json!({ "layers": layers }).to_string();
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

/// Returns the name of a manifest by its digest.
fn named(manifest: &str) -> String {
    format!("@{}", digest(manifest.as_bytes()))
}

/// Returns a digest as registries write it.
pub fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    format!("sha256:{}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}
