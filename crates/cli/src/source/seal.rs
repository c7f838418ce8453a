//! The digests that a user gives: one by one, or by a seal.
//!
//! Always: nothing of a seal is read before its digest was compared.

use std::fs::File;
use std::io::Read;

use anyhow::{Context, Result};
use rootlet_trust::{SEAL_BYTES_MAX, Seal, Software, parse_root};

use super::{SourceArgs, VerityArg};
use crate::exit::usage;

/// Returns what `source` says of the image and its blobs; nothing if it gives no digest.
///
/// # Errors
/// Status 2: the seal has another digest, or a line that makes no sense.
pub fn digests(source: &SourceArgs) -> Result<Vec<VerityArg>> {
    let (Some(file), Some(root)) = (&source.seal, &source.root) else {
        return Ok(source.verity.clone());
    };
    let name = file.display().to_string();
    let mut bytes = Vec::new();
    let seal = File::open(file).with_context(|| name.clone())?;
    seal.take(SEAL_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).with_context(|| name.clone())?;
    let refuse = |error: rootlet_trust::SealError| usage(format!("{name}: {error}"));
    let seal = Seal::open(&Software, &bytes, &parse_root(root).map_err(refuse)?).map_err(refuse)?;
    let texts = seal.texts().map(|(subject, spec)| VerityArg { subject, spec: spec.into() });
    Ok(texts.collect())
}
