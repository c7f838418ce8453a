//! A layer becomes an EROFS image: an archive by mkfs.erofs, an image as it is.
//!
//! Always: an image is used only after the digest of the layer's blob and of what is packed in it
//! were right; no name of an archive leads out of it.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use flate2::bufread::MultiGzDecoder;

use super::archive;
use super::frames::Frames;
use super::manifest::Descriptor;
use super::mkfs::Mkfs;
use super::store::Store;
use super::sum::{Digest, Summed};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::source::disk_file::is_erofs;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 256 << 10;
/// The unit of a disk (virtio 1.2 5.2.4).
const SECTOR_BYTES: u64 = 512;

/// The form of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    content: Content,
    packing: Packing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Tar,
    Erofs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Form {
    /// Returns the form that a media type names.
    ///
    /// # Errors
    /// It is none of those that are known.
    pub fn of(media_type: &str) -> Result<Self> {
        let known = |content, packing| Ok(Self { content, packing });
        let (base, suffix) = match media_type.split_once('+') {
            Some((base, suffix)) => (base, Some(suffix)),
            None => (media_type, None),
        };
        let packing = match suffix {
            None => Some(Packing::Plain),
            Some("gzip") => Some(Packing::Gzip),
            Some("zstd") => Some(Packing::Zstd),
            Some(_) => None,
        };
        match (base, packing) {
            (
                "application/vnd.oci.image.layer.v1.tar"
                | "application/vnd.oci.image.layer.nondistributable.v1.tar",
                Some(packing),
            ) => known(Content::Tar, packing),
            (
                "application/vnd.docker.image.rootfs.diff.tar"
                | "application/vnd.docker.image.rootfs.foreign.diff.tar",
                Some(Packing::Plain),
            ) => known(Content::Tar, Packing::Plain),
            (
                "application/vnd.docker.image.rootfs.diff.tar.gzip"
                | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                Some(Packing::Plain),
            ) => known(Content::Tar, Packing::Gzip),
            ("application/vnd.docker.image.rootfs.diff.tar.zstd", Some(Packing::Plain)) => {
                known(Content::Tar, Packing::Zstd)
            }
            (base, Some(packing @ (Packing::Plain | Packing::Zstd)))
                if base == "application/vnd.erofs"
                    || base.starts_with("application/vnd.erofs.layer") =>
            {
                known(Content::Erofs, packing)
            }
            _ => bail!(
                "unknown media type `{media_type}`: a layer is a tar (OCI's or Docker's; plain, \
                 gzip or zstd) or an EROFS image (application/vnd.erofs.layer.v1, +zstd)"
            ),
        }
    }

    /// Whether mkfs.erofs makes the image.
    pub fn is_archive(self) -> bool {
        self.content == Content::Tar
    }
}

/// The words for a person.
impl std::fmt::Display for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.content {
            Content::Tar => "tar",
            Content::Erofs => "EROFS",
        })?;
        f.write_str(match self.packing {
            Packing::Plain => "",
            Packing::Gzip => ", gzip",
            Packing::Zstd => ", zstd",
        })
    }
}

/// A layer to convert.
#[derive(Debug)]
pub struct Layer<'i> {
    /// The blob.
    pub blob: &'i Descriptor,
    /// The digest of what is packed in it.
    pub diff_id: &'i Digest,
    /// What the blob is.
    pub form: Form,
}

impl Layer<'_> {
    /// Writes the image to `out`. Shows the progress after `before` bytes of other layers.
    pub fn convert(
        &self,
        store: &Store,
        mkfs: Option<&Mkfs>,
        out: &Path,
        (progress, before): (&Progress, u64),
        interrupt: &Interrupt,
    ) -> Result<()> {
        let name = || self.blob.digest.to_string();
        let raw = Watched { inner: store.blob(self.blob)?, progress, at: before, interrupt };
        let mut raw = Summed::new(raw, &self.blob.digest);
        let made = self.unpack(&mut raw, mkfs, out);
        interrupt.check()?;
        // Wrong bytes explain whatever else went wrong.
        raw.check().with_context(|| format!("{}: the digest of the layer disagrees", name()))?;
        if raw.seen() != self.blob.size {
            let (bytes, size) = (raw.seen(), self.blob.size);
            bail!("{}: {bytes} bytes, and its descriptor says {size}", name());
        }
        made.with_context(name)
    }

    /// Unpacks a layer, and makes the image of what was packed in it.
    fn unpack(&self, raw: &mut dyn Read, mkfs: Option<&Mkfs>, out: &Path) -> Result<()> {
        let raw = BufReader::with_capacity(PIECE_BYTES, raw);
        let content: Box<dyn Read + '_> = match self.form.packing {
            Packing::Plain => Box::new(raw),
            Packing::Gzip => Box::new(MultiGzDecoder::new(raw)),
            Packing::Zstd => Box::new(Frames::new(raw)),
        };
        let mut content = Summed::new(content, self.diff_id);
        match (self.form.content, mkfs) {
            (Content::Erofs, _) => {
                copy_image(&mut content, out)?;
                content.check().context("its diff_id disagrees")
            }
            (Content::Tar, Some(mkfs)) => {
                let mut run = mkfs.start(&self.blob.digest, out)?;
                let walked = archive::walk(&mut content, &mut run);
                if walked.is_err() {
                    run.stop();
                }
                let ended = run.end();
                // An archive that was cut may be one that mkfs.erofs has refused.
                walked?;
                content.check().context("its diff_id disagrees")?;
                ended
            }
            (Content::Tar, None) => Err(anyhow!("mkfs.erofs was not looked for")),
        }
    }
}

/// Writes an image that is handed over as one, in whole sectors.
fn copy_image(content: &mut impl Read, out: &Path) -> Result<()> {
    let name = || out.display().to_string();
    let mut file = File::create(out).with_context(name)?;
    let bytes = io::copy(content, &mut file)?;
    file.set_len(bytes.next_multiple_of(SECTOR_BYTES)).with_context(name)?;
    file.flush().with_context(name)?;
    match is_erofs(out) {
        true => Ok(()),
        false => bail!("its media type says an EROFS image, and it is none"),
    }
}

/// A reader that shows how far it is, and ends when somebody asks.
struct Watched<'w> {
    inner: Box<dyn Read>,
    progress: &'w Progress,
    at: u64,
    interrupt: &'w Interrupt,
}

impl Read for Watched<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.interrupt.check().map_err(io::Error::other)?;
        let len = self.inner.read(out)?;
        self.at += len as u64;
        self.progress.reach(self.at);
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_those_of_producers() {
        let form = |content, packing| Form { content, packing };
        for (media_type, wanted) in [
            ("application/vnd.oci.image.layer.v1.tar", form(Content::Tar, Packing::Plain)),
            ("application/vnd.oci.image.layer.v1.tar+gzip", form(Content::Tar, Packing::Gzip)),
            ("application/vnd.oci.image.layer.v1.tar+zstd", form(Content::Tar, Packing::Zstd)),
            (
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
                form(Content::Tar, Packing::Gzip),
            ),
            ("application/vnd.erofs.layer.v1", form(Content::Erofs, Packing::Plain)),
            ("application/vnd.erofs.layer.v1+zstd", form(Content::Erofs, Packing::Zstd)),
        ] {
            assert_eq!(Form::of(media_type).unwrap(), wanted, "{media_type}");
        }
        for wrong in [
            "",
            "text/plain",
            "application/vnd.oci.image.layer.v1.tar+xz",
            "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
            "application/vnd.erofs.layer.v1+gzip",
            "application/vnd.oci.image.layer.v1.squashfs",
        ] {
            let said = Form::of(wrong).unwrap_err().to_string();
            assert!(said.contains(&format!("unknown media type `{wrong}`")), "{said}");
        }
    }
}
