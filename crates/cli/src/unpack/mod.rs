//! `unpack`: a container image becomes the disk, or the files, that a guest mounts.
//!
//! Always: nothing appears under its name before all of it is whole and every digest was right; the
//! same image gives the same bytes.

mod archive;
mod args;
mod disk;
mod frames;
mod layer;
mod manifest;
mod mkfs;
mod store;
mod sum;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rootlet_guest::config::quote;
use rootlet_trust::{Algorithm, Digest as Root, Software, Subject, digest};
use tempfile::TempDir;

pub use args::UnpackArgs;
use disk::{LAYERS_MAX, Piece};
use layer::{Form, Layer};
use manifest::Image;
use mkfs::Mkfs;
use store::Store;

use crate::exit::{FAILED, stop, usage};
use crate::interrupt::Interrupt;
use crate::note;
use crate::progress::Progress;
use crate::say;
use crate::seal::{Part, SealArgs};
use crate::size::human;

/// The task.
pub fn task(args: &UnpackArgs, interrupt: &Interrupt) -> Result<()> {
    let name = args.image.to_string();
    let store = Store::open(&args.image, &args.web)?;
    let image = manifest::find(&store, args.web.platform.as_ref()).with_context(|| name.clone())?;
    let layers = layers(&image).with_context(|| name.clone())?;
    let out = Output::new(args, layers.len())?;
    note!("image   {} for {}", image.digest, image.platform);
    for (number, layer) in layers.iter().enumerate() {
        let size = human(layer.blob.size);
        note!("layer {number} {} ({}, {size})", layer.blob.digest, layer.form);
    }
    let archives = layers.iter().any(|layer| layer.form.is_archive());
    let mkfs = archives.then(|| Mkfs::find(args.mkfs.as_deref())).transpose()?;
    if args.dry_run {
        note!("nothing is written; --out would be {}", args.out.display());
        return Ok(());
    }
    let bytes = layers.iter().map(|layer| layer.blob.size).sum();
    let progress = Progress::of_bytes(Some(bytes));
    let (mut specs, mut pieces, mut before) = (Vec::new(), Vec::new(), 0);
    for (number, layer) in layers.iter().enumerate() {
        let file = out.work.path().join(Output::name(number));
        let made = layer.convert(&store, mkfs.as_ref(), &file, (&progress, before), interrupt);
        made.with_context(|| format!("{name}: layer {number}"))?;
        before += layer.blob.size;
        let (spec, piece) = out.seal(&file, interrupt)?;
        specs.push(spec);
        pieces.push(piece);
    }
    drop(progress);
    let text = seal_text(&specs);
    let root = digest(&Software, Algorithm::Sha256, text.as_bytes())?;
    out.publish(args, &pieces, &text, &root)?;
    say!("root=sha256:{root}");
    note!("{}", out.next(args, &root));
    Ok(())
}

/// Returns the layers of an image with their forms.
fn layers(image: &Image) -> Result<Vec<Layer<'_>>> {
    let count = image.layers.len();
    if count == 0 {
        return Err(stop(FAILED, "the image has no layer"));
    }
    if count > LAYERS_MAX {
        return Err(stop(FAILED, format!("{count} layers, and at most {LAYERS_MAX} are stacked")));
    }
    let numbered = image.layers.iter().enumerate();
    numbered
        .map(|(number, (blob, diff_id))| {
            let form = Form::of(&blob.media_type);
            let form = form.with_context(|| format!("layer {number} ({})", blob.digest))?;
            Ok(Layer { blob, diff_id, form })
        })
        .collect()
}

/// Returns the text that pins all layers.
fn seal_text(specs: &[String]) -> String {
    let mut text = String::from("# rootlet: what the layers are, the lowest first\n");
    for (number, spec) in (1..).zip(specs) {
        text += &format!("layer{number} {spec}\n");
    }
    text
}

/// Where the result goes.
#[derive(Debug)]
struct Output {
    /// A folder beside the result, gone at the end.
    work: TempDir,
    /// A folder within, for layers with their trees.
    sealed: PathBuf,
    seal: PathBuf,
}

impl Output {
    /// Makes the folder for the work, and checks that nothing is in the way.
    ///
    /// # Errors
    /// Status 2: the result is there already.
    fn new(args: &UnpackArgs, layers: usize) -> Result<Self> {
        let (out, name) = (&args.out, args.out.display());
        let (beside, seal) = match args.files {
            true => (out.as_path(), out.join("seal.txt")),
            false => {
                let mut seal = out.clone().into_os_string();
                seal.push(".seal");
                (out.parent().unwrap_or(Path::new("")), PathBuf::from(seal))
            }
        };
        let mut made = vec![seal.clone()];
        match args.files {
            true => made.extend((0..layers).map(|number| out.join(Self::name(number)))),
            false if out.is_dir() => {
                return Err(usage(format!("{name}: a directory; --files fills one")));
            }
            false => made.push(out.clone()),
        }
        if let Some(there) = made.iter().find(|path| path.exists() && !args.force) {
            let there = there.display();
            return Err(usage(format!("{there}: is there already; --force replaces it")));
        }
        let beside = if beside.as_os_str().is_empty() { Path::new(".") } else { beside };
        let work = match args.dry_run {
            true => TempDir::new(),
            false => {
                if args.files {
                    fs::create_dir_all(beside).with_context(|| name.to_string())?;
                }
                TempDir::new_in(beside)
            }
        };
        let work = work.with_context(|| name.to_string())?;
        let sealed = work.path().join("sealed");
        fs::create_dir(&sealed).with_context(|| name.to_string())?;
        Ok(Self { work, sealed, seal })
    }

    /// The name of a layer's file.
    fn name(number: usize) -> String {
        format!("erofs-layer-{number}")
    }

    /// Adds the tree to a layer. Returns the text that pins it.
    fn seal(&self, file: &Path, interrupt: &Interrupt) -> Result<(String, Piece)> {
        let args = SealArgs::append(self.sealed.clone());
        let part = Part::open(Subject::IMAGE, file)?;
        let hidden = Progress::of_bytes(Some(part.bytes));
        let sealed = part.seal(&args, interrupt, (&hidden, 0))?;
        let id = digest(&Software, Algorithm::Sha256, sealed.spec.as_bytes())?;
        let sealed_file = self.sealed.join(&part.name);
        fs::remove_file(file).with_context(|| file.display().to_string())?;
        Ok((sealed.spec, Piece { file: sealed_file, id: first(&id)? }))
    }

    /// Gives the result its name.
    fn publish(&self, args: &UnpackArgs, pieces: &[Piece], text: &str, root: &Root) -> Result<()> {
        let name = || args.out.display().to_string();
        if args.files {
            for entry in fs::read_dir(&self.sealed).with_context(name)? {
                let entry = entry.with_context(name)?;
                let to = args.out.join(entry.file_name());
                fs::rename(entry.path(), &to).with_context(|| to.display().to_string())?;
            }
        } else {
            let path = self.work.path().join("disk");
            let mut file = File::create_new(&path).with_context(name)?;
            disk::write(&mut file, first(root)?, pieces).with_context(name)?;
            fs::rename(&path, &args.out).with_context(name)?;
        }
        let path = self.work.path().join("seal.txt");
        let mut file = File::create_new(&path).with_context(name)?;
        file.write_all(text.as_bytes()).with_context(name)?;
        fs::rename(&path, &self.seal).with_context(|| self.seal.display().to_string())
    }

    /// Returns the command that boots the result.
    fn next(&self, args: &UnpackArgs, root: &Root) -> String {
        let out = quote(&args.out.display().to_string());
        let seal = quote(&self.seal.display().to_string());
        let layers = match args.files {
            true => format!("{out}/erofs-layer-*"),
            false => format!("{out}@erofs-layer-*"),
        };
        format!("boot it: rootlet boot --layers '{layers}' --seal {seal} --root sha256:{root} ls /")
    }
}

fn first(digest: &Root) -> Result<[u8; 16]> {
    digest.as_bytes().first_chunk().copied().context("a short digest")
}
