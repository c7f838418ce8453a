//! Where the texts and blobs of an image are: a layout in a folder, or a registry.
//!
//! Always: a text has the digest and the length by which it is named; a blob is handed out as it
//! comes, and its reader checks it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use super::args::ImageName;
use super::manifest::Descriptor;
use super::sum::{Digest, Summed};
use crate::engine::{Pull, WebArgs};
use crate::exit::usage;

/// The longest index, manifest or configuration in bytes, as the specification recommends.
const TEXT_BYTES_MAX: u64 = 4 << 20;
/// The file that every layout has.
const MARK: &str = "oci-layout";
/// The file with the index of a layout.
const INDEX: &str = "index.json";

/// A place with images.
#[derive(Debug)]
pub enum Store {
    /// A layout in a folder, and which of its images.
    Layout(PathBuf, Option<String>),
    /// An image of a registry.
    Registry(Pull),
}

impl Store {
    /// Opens what `name` names.
    ///
    /// # Errors
    /// Status 2: it is not a layout, or a registry that nobody may ask.
    pub fn open(name: &ImageName, web: &WebArgs) -> Result<Self> {
        match name {
            ImageName::Layout(dir, reference) => {
                let mark = dir.join(MARK);
                if !mark.is_file() {
                    let dir = dir.display();
                    return Err(usage(format!("{dir}: not an OCI layout: it has no file {MARK}")));
                }
                Ok(Self::Layout(dir.clone(), reference.clone()))
            }
            ImageName::Registry(oci) => Ok(Self::Registry(Pull::open(oci, web)?)),
        }
    }

    /// Returns the name of the first text, for messages and to know it again.
    pub fn name(&self) -> &str {
        match self {
            Self::Layout(..) => INDEX,
            Self::Registry(registry) => registry.reference(),
        }
    }

    /// Returns which of a layout's images is meant, if that was said.
    pub fn reference(&self) -> Option<&str> {
        match self {
            Self::Layout(_, reference) => reference.as_deref(),
            Self::Registry(_) => None,
        }
    }

    /// Returns the first text, an index or a manifest, and its name.
    pub fn first(&self) -> Result<(String, Vec<u8>)> {
        match self {
            Self::Layout(dir, _) => {
                let path = dir.join(INDEX);
                Ok((
                    INDEX.into(),
                    whole(open(&path)?, TEXT_BYTES_MAX).with_context(|| shown(&path))?,
                ))
            }
            Self::Registry(registry) => {
                let text = registry.manifest(registry.reference())?;
                let digest = match Digest::try_from(registry.reference().to_string()) {
                    Ok(digest) => digest,
                    // A tag.
                    Err(_) => Digest::of(&text),
                };
                Summed::new(&text[..], &digest)
                    .check()
                    .context("the manifest's digest disagrees")?;
                Ok((digest.to_string(), text))
            }
        }
    }

    /// Returns an index, a manifest or a configuration.
    ///
    /// # Errors
    /// It is too long, has another length or another digest.
    pub fn text(&self, of: &Descriptor) -> Result<Vec<u8>> {
        let Descriptor { digest, size, media_type, .. } = of;
        if *size > TEXT_BYTES_MAX {
            bail!("{digest} ({media_type}): {size} bytes, and at most {TEXT_BYTES_MAX} are read");
        }
        let text = match self {
            Self::Registry(registry) if is_manifest(media_type) => {
                registry.manifest(&digest.to_string())?
            }
            _ => whole(self.blob(of)?, *size)?,
        };
        Summed::new(&text[..], digest).check().context("the digest disagrees")?;
        if text.len() as u64 != *size {
            bail!("{digest}: {} bytes, and its descriptor says {size}", text.len());
        }
        Ok(text)
    }

    /// Returns the bytes of a blob, unchecked.
    pub fn blob(&self, of: &Descriptor) -> Result<Box<dyn Read>> {
        let Descriptor { digest, size, .. } = of;
        match self {
            Self::Layout(dir, _) => {
                let path = dir.join("blobs").join(digest.hash()).join(digest.digits());
                let file = open(&path)?;
                let bytes = file.metadata().with_context(|| shown(&path))?.len();
                if bytes != *size {
                    bail!("{}: {bytes} bytes, and its descriptor says {size}", shown(&path));
                }
                Ok(Box::new(file))
            }
            Self::Registry(registry) => Ok(Box::new(registry.blob(&digest.to_string())?)),
        }
    }
}

fn is_manifest(media_type: &str) -> bool {
    ["manifest.v1+json", "index.v1+json", "manifest.v2+json", "manifest.list.v2+json"]
        .iter()
        .any(|end| media_type.ends_with(end))
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| anyhow!("{}: {error}", path.display()))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Reads all bytes, of which there are at most `most`.
fn whole(from: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("more than {most} bytes")));
    }
    Ok(bytes)
}
