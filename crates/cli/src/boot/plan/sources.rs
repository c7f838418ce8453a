//! From an image, its blobs, shares and region to the devices of a guest.
//!
//! Always: a file with several names is one disk.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use anyhow::Result;
use rootlet_guest::config::Part;

use super::{Plan, SERIAL_OF_CACHE, SERIAL_OF_IMAGE, SERIAL_OF_KEY, Word, layers};
use crate::boot::monitor::Disk;
use crate::engine::Wait;
use crate::exit::usage;
use crate::source::{BlobPlace, Source, SourceArgs, digests, disk_file};

/// The mount tag of the share with objects, or the serial of the disk.
const OBJECTS: &str = "objects";

/// Plans a guest with these sources. `words` are its command; without one it lists the root.
pub fn plan(image: Option<&Path>, source: &SourceArgs, words: &[String]) -> Result<Plan> {
    let mut options = Vec::new();
    let mut disks = Vec::new();
    if let Some(image) = image {
        // Only text names a part.
        let (disk, part) = match image.to_str().map(Part::split) {
            Some(split) => split.map_err(|want| usage(format!("expected {want}")))?,
            None => ("", Part::Whole),
        };
        let name = if part == Part::Whole { image.as_os_str() } else { disk.as_ref() };
        let source = Source::parse(name).map_err(usage)?;
        // A disk with partitions may be anything.
        let serial = if part == Part::Whole { SERIAL_OF_IMAGE } else { "disk" };
        options.push(Word::disk("image", serial, part));
        disks.push(read_only(serial, source));
    }
    let mut number = 0;
    for layer in &source.layer {
        for place in layers::files(&layer.place)? {
            number += 1;
            let serial = format!("layer{number}");
            options.push(word_of("layer", &serial, (&place, &layer.part), &mut disks, source)?);
        }
    }
    let mut slots = BTreeSet::new();
    for blob in &source.blob {
        if !slots.insert((blob.layer, blob.slot)) {
            return Err(usage(format!("--blob {} is given twice", blob.slot)));
        }
        let (key, serial) = (blob.key(), blob.key().replace("layer", "l").replace('.', ""));
        options.push(word_of(&key, &serial, (&blob.place, &blob.part), &mut disks, source)?);
    }
    if source.region.is_none() && source.region_size.is_some() {
        return Err(usage("--region-size needs a --region"));
    }
    if let Some(region) = &source.region {
        let file = Source::File(region.file.clone());
        let is_source = |disk: &&Disk| match &disk.source {
            Source::Node(node) => node.file().is_some_and(|of| is_one_file(of, &region.file)),
            source => is_one(source, &file),
        };
        if let Some(disk) = disks.iter().find(is_source).filter(|_| region.part == Part::Whole) {
            return Err(usage(format!("--region {file} is the disk `{}` as well", disk.serial)));
        }
        options.push(Word::disk("cache", SERIAL_OF_CACHE, &region.part));
        // A region that may not be written gives hits.
        let read_only_disk = disk_file::is_read_only(&region.file);
        let disk = read_only(SERIAL_OF_CACHE, file);
        disks.push(Disk { read_only: read_only_disk, ..disk });
    }
    if let Some(key) = &source.cache_key {
        if source.region.is_none() {
            return Err(usage("--cache-key needs a --region"));
        }
        let place = (key, &Part::Whole);
        options.push(word_of(SERIAL_OF_KEY, SERIAL_OF_KEY, place, &mut disks, source)?);
    }
    let digests = digests(source)?;
    if !digests.is_empty() {
        disks.extend(trees_of(&disks, source.seal.as_deref()));
    }
    options.extend(digests.iter().map(|digest| Word::Plain(digest.word())));
    options.extend(source.domain.iter().map(|name| Word::Plain(format!("domain={name}"))));
    let mut shares: Vec<_> =
        source.share.iter().enumerate().map(|(at, dir)| (mount_tag(at), dir.clone())).collect();
    match &source.objects {
        None => {}
        Some(objects) => match image_of_objects(objects)? {
            Some((disk, part)) => {
                options.push(word_of(OBJECTS, OBJECTS, (&disk, &part), &mut disks, source)?);
            }
            None => {
                options.push(Word::Plain(format!("objects=share:{OBJECTS}")));
                shares.push((OBJECTS.into(), objects.clone()));
            }
        },
    }
    options.extend(shares.iter().map(|(tag, _)| Word::Plain(format!("share={tag}"))));
    let words = match words {
        [] => vec!["ls".into(), "/".into()],
        words => words.to_vec(),
    };
    let (region, wait) = (source.region.clone(), Wait::new(None, None));
    Ok(Plan { disks, shares, region, overlay: None, options, words, wait })
}

/// Returns the disk with the image that has the objects; `None` if they lie in a folder.
fn image_of_objects(objects: &Path) -> Result<Option<(BlobPlace, Part)>> {
    let is_disk = |path: &Path| fs::metadata(path).is_ok_and(|file| !file.is_dir());
    let disk = |path: &Path| BlobPlace::Disk(Source::File(path.into()));
    if is_disk(objects) {
        return Ok(Some((disk(objects), Part::Whole)));
    }
    // Only text names a part.
    let Some((file, part)) = objects
        .to_str()
        .map(Part::split)
        .transpose()
        .map_err(|want| usage(format!("expected {want}")))?
    else {
        return Ok(None);
    };
    let is_part = part != Part::Whole && is_disk(file.as_ref());
    Ok(is_part.then(|| (disk(file.as_ref()), part)))
}

/// Returns the word that names a source, for which `disks` gets a disk with this serial unless they
/// have it.
fn word_of(
    key: &str,
    serial: &str,
    (place, part): (&BlobPlace, &Part),
    disks: &mut Vec<Disk>,
    source: &SourceArgs,
) -> Result<Word> {
    match place {
        BlobPlace::Disk(source) => {
            let known = disks.iter().find(|disk: &&Disk| is_one(&disk.source, source));
            let serial = match known {
                Some(disk) => disk.serial.clone(),
                None => {
                    disks.push(read_only(serial, source.clone()));
                    serial.into()
                }
            };
            Ok(Word::disk(key, &serial, part))
        }
        BlobPlace::Share(_) if source.share.is_empty() => {
            let option = match key.strip_prefix("blob") {
                Some(slot) => format!("--blob {slot}="),
                None if key == "layer" => "--layer ".into(),
                None if key == SERIAL_OF_KEY => "--cache-key ".into(),
                None => format!("--blob {}=", key.replace("layer", "").replace(".blob", ".")),
            };
            Err(usage(format!("{option}share:... needs a --share")))
        }
        BlobPlace::Share(name) => Ok(Word::Plain(format!("{key}=share:{name}{part}"))),
    }
}

/// Returns the disks with the trees of read-only disks: `NAME.verity` of a file NAME, in the folder of
/// the seal, where `rootlet seal` writes it, or beside the file.
fn trees_of(disks: &[Disk], seal: Option<&Path>) -> Vec<Disk> {
    let tree = |disk: &Disk| {
        let file = disk.source.file().filter(|_| disk.serial != SERIAL_OF_CACHE)?;
        let mut name = file.file_name()?.to_owned();
        name.push(".verity");
        let with_seal = seal.map(|seal| seal.with_file_name(&name));
        let places = [with_seal, Some(file.with_file_name(&name))];
        let tree = places.into_iter().flatten().find(|place| place.is_file())?;
        Some(read_only(&format!("{}.v", disk.serial), Source::File(tree)))
    };
    disks.iter().filter_map(tree).collect()
}

/// Returns a disk that a guest may only read.
pub(super) fn read_only(serial: &str, source: Source) -> Disk {
    Disk { serial: serial.into(), source, read_only: true, blkdebug: None, options: None }
}

/// Returns whether two sources are one: the same node, one file that is there, or one block device;
/// links, mounts and open files are names as well.
pub(super) fn is_one(one: &Source, other: &Source) -> bool {
    match (one, other) {
        (Source::File(one), Source::File(other)) => is_one_file(one, other),
        (one, other) => one == other,
    }
}

fn is_one_file(one: &Path, other: &Path) -> bool {
    let which = |path| {
        let stat = fs::metadata(path).ok()?;
        match stat.file_type().is_block_device() {
            true => Some((true, 0, stat.rdev())),
            false => Some((false, stat.dev(), stat.ino())),
        }
    };
    matches!((which(one), which(other)), (Some(one), Some(other)) if one == other)
}

/// Returns the option that gives the share with this mount tag.
pub fn option_of_share(tag: &str) -> &'static str {
    if tag == OBJECTS { "--objects" } else { "--share" }
}

fn mount_tag(at: usize) -> String {
    if at == 0 { "share".into() } else { format!("share{}", at + 1) }
}
