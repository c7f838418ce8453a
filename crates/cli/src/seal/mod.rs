//! `seal`: makes the trees of an image and its blobs, and the text that pins all of them.
//!
//! Always: trees and digests are those of fsverity and veritysetup, byte for byte. The files that
//! are sealed are only read; a file of the output appears under its name once it is whole.

mod args;
mod part;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result};
use rootlet::blob::Image;
use rootlet::storage::file::FileStorage;
use rootlet_trust::{Algorithm, Digest, Software, Subject, digest};

pub use args::SealArgs;
pub use part::{Part, Sealed};

use crate::exit::usage;
use crate::interrupt::Interrupt;
use crate::note;
use crate::progress::Progress;
use crate::say;
use crate::source::{BlobPlace, Source, disk_file};

/// The name of the seal in the output.
const SEAL: &str = "seal.txt";

/// The task.
pub fn task(args: &SealArgs, interrupt: &Interrupt) -> Result<()> {
    let parts = parts(args)?;
    for slot in slots_without(args, &parts)? {
        note!("slot {slot}  is in no --blob: a mount with this seal refuses the image");
    }
    let out = &args.out;
    let name_of_out = || out.display().to_string();
    if !args.dry_run {
        fs::create_dir_all(out).with_context(name_of_out)?;
    }
    let bytes = parts.iter().map(|part| part.bytes).sum();
    let progress = Progress::of_bytes(Some(bytes));
    let mut text = String::from("# rootlet: what the image and its blobs are\n");
    let mut before = 0;
    for part in &parts {
        let Sealed { spec, told } = part.seal(args, interrupt, (&progress, before))?;
        before += part.bytes;
        progress.suspend(|| note!("{:7} {told}", part.subject.to_string()));
        let line = match part.subject {
            Subject::IMAGE => format!("image {spec}"),
            subject => format!("{} {spec}", subject.slot()),
        };
        // Writing to a string does not fail.
        let _ = writeln!(text, "{line}");
    }
    let root = root(&text)?;
    drop(progress);
    if args.dry_run {
        note!("nothing is written; the seal would be:");
        text.lines().for_each(|line| note!("  {line}"));
    } else {
        let seal = out.join(SEAL);
        part::write(&seal, args.force, |file| std::io::Write::write_all(file, text.as_bytes()))?;
        note!("seal    {}", seal.display());
    }
    say!("root=sha256:{root}");
    Ok(())
}

/// Returns the digest of the seal.
fn root(text: &str) -> Result<Digest> {
    Ok(digest(&Software, Algorithm::Sha256, text.as_bytes())?)
}

/// Returns what is sealed, the image first and the blobs in the order of their slots.
fn parts(args: &SealArgs) -> Result<Vec<Part>> {
    let image = args.image.as_ref().ok_or_else(|| {
        usage("no IMAGE given, and no rootlet.toml in the current folder names one (see --help)")
    })?;
    if !disk_file::is_erofs(image) {
        return Err(usage(format!("{}: not an EROFS image", image.display())));
    }
    let mut parts = vec![Part::open(Subject::IMAGE, image)?];
    for blob in &args.blob {
        let BlobPlace::Disk(Source::File(file)) = &blob.place else {
            let slot = blob.slot;
            return Err(usage(format!("--blob {slot}: a seal is made of files: {slot}=FILE")));
        };
        parts.push(Part::open(Subject::of_slot(blob.slot), file)?);
    }
    parts.sort_by_key(|part| part.subject);
    let mut slots = BTreeSet::new();
    let mut names = BTreeSet::new();
    for part in &parts {
        if !slots.insert(part.subject) {
            return Err(usage(format!("--blob {} is given twice", part.subject.slot())));
        }
        if !names.insert(&part.name) {
            let name = part.name.display();
            return Err(usage(format!("two files are called {name}: their trees would be, too")));
        }
    }
    Ok(parts)
}

/// Returns the slots of the image that are not sealed and do not lie in the image itself.
fn slots_without(args: &SealArgs, parts: &[Part]) -> Result<Vec<u16>> {
    let mut storage = FileStorage::new();
    let image = args.image.as_ref().and_then(|image| storage.add_disk("image", image, true).ok());
    // An image that cannot be read is sealed as it is: a digest proves origin, not goodness.
    let Some(image) = image.and_then(|device| Image::read(&storage, device).ok()) else {
        return Ok(Vec::new());
    };
    let slots = image.devices().len();
    if let Some(part) = parts.iter().find(|part| part.subject.slot() > slots) {
        let slot = part.subject.slot();
        return Err(usage(format!("--blob {slot}: the image has {slots} device slots")));
    }
    if image.alone(&storage).is_ok() {
        return Ok(Vec::new());
    }
    let sealed = |slot: &u16| parts.iter().any(|part| part.subject.slot() == *slot);
    Ok((1..=slots).filter(|slot| !sealed(slot)).collect())
}
