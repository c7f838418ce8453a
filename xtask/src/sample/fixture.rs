//! Files that the tool makes for itself: an image, its blobs, a share, a region's disk.
//!
//! Always: they lie in cargo's target directory, are the same on every machine, and are used
//! again only if neither they nor the tool that made them have changed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use rootlet_guest::config::Part;
use rootlet_sim::image::{FileLayout, Options, Spread, Tree, build};
use serde_json::Value;

use crate::boot::build;
use crate::sample::tree;
use rootlet_cli::boot::BootArgs;
use rootlet_cli::interrupt::Interrupt;
use rootlet_cli::rows::parse_rows;
use rootlet_cli::source::{BlobArg, BlobPlace, RegionPlace};

/// What to make.
#[derive(Debug)]
pub struct Recipe {
    /// The folder in the target directory.
    pub folder: &'static str,
    /// The tree.
    pub tree: fn() -> Tree,
    /// Log2 of the chunk size in bytes.
    pub chunk_bits: u8,
    /// How chunks go to the blobs.
    pub spread: Spread,
    /// File names of the blobs; the last one lies on the share.
    pub blobs: &'static [&'static str],
    /// Size of the region's disk.
    pub region_bytes: u64,
}

/// The files of a recipe.
#[derive(Debug)]
pub struct Fixture {
    /// What was made.
    pub recipe: &'static Recipe,
    /// Where.
    pub dir: PathBuf,
    /// What a correct reader reports: one row for each path, with sums.
    pub rows: Vec<Value>,
}

impl Fixture {
    /// Makes the files, or takes those that are there.
    pub fn make(recipe: &'static Recipe, interrupt: &Interrupt) -> Result<Self> {
        Self::make_in(build::target_directory()?.join(recipe.folder), recipe, interrupt)
    }

    fn make_in(dir: PathBuf, recipe: &'static Recipe, interrupt: &Interrupt) -> Result<Self> {
        let mut fixture = Self { recipe, dir, rows: Vec::new() };
        if let Some(rows) = fixture.kept_rows() {
            fixture.rows = rows;
            return Ok(fixture);
        }
        let bar = build::spinner(format!("making {}", fixture.dir.display()));
        if bar.is_hidden() {
            eprintln!("making {}", fixture.dir.display());
        }
        fs::create_dir_all(fixture.share()).with_context(|| fixture.dir.display().to_string())?;
        let tree = (recipe.tree)();
        fixture.rows = tree::rows(&tree, interrupt)?;
        let built = build(&tree, &recipe.options()).context("the image")?;
        built.image.write_to(&fixture.image())?;
        for (number, blob) in built.blobs.iter().enumerate() {
            blob.write_to(&fixture.blob(number))?;
        }
        let text: String = fixture.rows.iter().map(|row| format!("{row}\n")).collect();
        fs::write(fixture.manifest(), text)?;
        // Last: an interrupted making leaves no stamp that fits.
        fs::write(fixture.dir.join("stamp"), fixture.stamp()?)?;
        bar.finish_and_clear();
        Ok(fixture)
    }

    /// Returns the image.
    pub fn image(&self) -> PathBuf {
        self.dir.join("image.erofs")
    }

    /// Returns the directory that is shared.
    pub fn share(&self) -> PathBuf {
        self.dir.join("share")
    }

    /// Returns the region's disk.
    pub fn region(&self) -> PathBuf {
        self.dir.join("region.img")
    }

    fn manifest(&self) -> PathBuf {
        self.dir.join("manifest.jsonl")
    }

    /// Returns the blob of device slot `number` + 1.
    pub fn blob(&self, number: usize) -> PathBuf {
        let dir = if self.is_shared(number) { self.share() } else { self.dir.clone() };
        dir.join(self.recipe.blobs[number])
    }

    /// Returns whether the guest finds this blob on the share.
    pub fn is_shared(&self, number: usize) -> bool {
        number + 1 == self.recipe.blobs.len()
    }

    /// Returns the rows that were kept with files that still are what was made.
    fn kept_rows(&self) -> Option<Vec<Value>> {
        let stamp = fs::read_to_string(self.dir.join("stamp")).ok()?;
        if stamp != self.stamp().ok()? {
            return None;
        }
        parse_rows(&fs::read(self.manifest()).ok()?).ok()
    }

    /// Returns size and time of what was made and of what made it: the tree, the layout and the
    /// builder are all in the tool itself.
    fn stamp(&self) -> Result<String> {
        let blobs = (0..self.recipe.blobs.len()).map(|number| self.blob(number));
        let files = [self.image(), self.manifest(), std::env::current_exe()?];
        let mut stamp = String::new();
        for file in blobs.chain(files) {
            let meta = fs::metadata(&file)?;
            let time = meta.modified()?.duration_since(UNIX_EPOCH)?.as_nanos();
            stamp.push_str(&format!("{} {} {time}\n", file.display(), meta.len()));
        }
        Ok(stamp)
    }

    /// Returns the arguments that run `words` over these files, on the machine that the user wants.
    /// Where its monitor has no shares, every blob is a disk.
    pub fn arguments(&self, args: &BootArgs, words: &[String]) -> BootArgs {
        let mut args = args.clone();
        let shares = args.machine.monitor.facts().has_shares;
        args.image = Some(self.image());
        args.source.blob = (1..)
            .zip(self.recipe.blobs.iter().enumerate())
            .map(|(slot, (number, name))| {
                let place = if shares && self.is_shared(number) {
                    BlobPlace::Share((*name).into())
                } else {
                    BlobPlace::Disk(self.blob(number).into())
                };
                BlobArg::new(slot, place)
            })
            .collect();
        args.source.share = if shares { vec![self.share()] } else { Vec::new() };
        args.source.region = Some(RegionPlace { file: self.region(), part: Part::Whole });
        args.words = words.to_vec();
        args
    }

    /// Makes the region's disk anew, all zero.
    pub fn clear_region(&self) -> Result<()> {
        clear(&self.region(), self.recipe.region_bytes)
    }

    /// Makes the region's disk blank for a measurement: its start zero, and all of it allocated,
    /// or what is measured is how fast the host's file system finds room.
    pub fn blank_region(&self) -> Result<()> {
        blank(&self.region(), self.recipe.region_bytes)
    }
}

impl Recipe {
    fn options(&self) -> Options {
        Options {
            layout: FileLayout::ChunkIndexes,
            chunk_bits: self.chunk_bits,
            blobs: u16::try_from(self.blobs.len()).expect("a recipe has few blobs"),
            spread: self.spread,
            tags: self.blobs.iter().map(|name| name.as_bytes().to_vec()).collect(),
            ..Options::default()
        }
    }
}

fn clear(file: &Path, bytes: u64) -> Result<()> {
    let name = || file.display().to_string();
    File::create(file).with_context(name)?.set_len(bytes).with_context(name)
}

/// Bytes at the start of a region's disk that hold its superblocks.
const START_BYTES: u64 = 1 << 20;

fn blank(file: &Path, bytes: u64) -> Result<()> {
    let name = || file.display().to_string();
    let mut options = OpenOptions::new();
    let mut disk =
        options.write(true).create(true).truncate(false).open(file).with_context(name)?;
    let held = disk.metadata().with_context(name)?;
    let allocated = held.len() == bytes && held.blocks() * 512 >= bytes;
    let zeros = if allocated { bytes.min(START_BYTES) } else { bytes };
    disk.set_len(bytes).with_context(name)?;
    io::copy(&mut io::repeat(0).take(zeros), &mut disk).with_context(name)?;
    disk.sync_all().with_context(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rootlet_sim::image::Content;

    fn small() -> Tree {
        let mut tree = Tree::new();
        tree.file("/a", Content::seeded(1, 20_000));
        tree
    }

    const SMALL: Recipe = Recipe {
        folder: "unused",
        tree: small,
        chunk_bits: 12,
        spread: Spread::RoundRobin,
        blobs: &["a.blob", "b.blob"],
        region_bytes: 4096,
    };

    #[test]
    fn blank_disk_is_allocated_and_zero_at_its_start() {
        let dir = tempfile::tempdir().unwrap();
        let (file, bytes) = (dir.path().join("region"), 3 << 20);
        let held = |file: &Path| std::fs::metadata(file).unwrap();
        clear(&file, bytes).unwrap();
        blank(&file, bytes).unwrap();
        assert!(held(&file).blocks() * 512 >= bytes);
        std::fs::write(&file, vec![0xff; 3 << 20]).unwrap();
        blank(&file, bytes).unwrap();
        let now = std::fs::read(&file).unwrap();
        assert_eq!(now.len() as u64, bytes);
        assert!(now[..1 << 20].iter().all(|byte| *byte == 0));
        assert!(now[1 << 20..].iter().all(|byte| *byte == 0xff), "it is not written again");
    }

    #[test]
    fn files_are_made_again_only_after_a_change() {
        static RECIPE: Recipe = SMALL;
        let dir = tempfile::tempdir().unwrap();
        let make = || Fixture::make_in(dir.path().into(), &RECIPE, &Interrupt::default()).unwrap();
        let first = make();
        let time = |file: &Path| fs::metadata(file).unwrap().modified().unwrap();
        let made = time(&first.image());
        assert!(first.blob(1).ends_with("share/b.blob"));
        assert_eq!(make().rows, first.rows);
        assert_eq!(time(&first.image()), made);
        let good = fs::read(first.blob(0)).unwrap();
        fs::write(first.blob(0), b"damaged").unwrap();
        assert_eq!(make().rows, first.rows);
        assert_eq!(fs::read(first.blob(0)).unwrap(), good);
    }
}
