//! The options that name blobs, shares and a region.
//!
//! Always: a parsed value is well-formed; whether its file exists shows when it is opened.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use rootlet_guest::config::Part;
use rootlet_trust::{Spec, Subject};

use super::place::Source;
use crate::size::Size;

/// The heading over these options.
const PARTS: &str = "Blobs and region";

/// What belongs to an image.
#[derive(Args, Clone, Debug, Default)]
pub struct SourceArgs {
    /// The blob of device slot N: a file, a file of a share, or for a guest a URL (nbd://...); in a
    /// stack with the number of the image before it (2.1=FILE)
    #[arg(long, value_name = "N=FILE|N=share:NAME|N=URL", help_heading = PARTS)]
    pub blob: Vec<BlobArg>,
    /// An image of a stack, in place of IMAGE; the bottom first, again for each. A partition of a disk
    /// as DISK@PART, and several as DISK@START* (by name: layers-0, layers-1, ...)
    #[arg(long, visible_alias = "layers", value_name = "FILE[@PART]", help_heading = PARTS)]
    pub layer: Vec<LayerArg>,
    /// A directory with blobs: a virtio-fs share in a guest (mount tags: share, share2, ...)
    #[arg(long, value_name = "DIR", help_heading = PARTS)]
    pub share: Vec<PathBuf>,
    /// The disk with the reserved region, or a part of that disk: SECTOR+COUNT in sectors of 512
    /// bytes, or a partition as name:NAME, type:GUID or type; made if missing
    #[arg(long, value_name = "FILE[@PART]", help_heading = PARTS)]
    pub region: Option<RegionPlace>,
    /// The size of a region's disk that has to be made [default: 64M]
    #[arg(long, value_name = "SIZE", help_heading = PARTS)]
    pub region_size: Option<Size>,
    /// The key of an encrypted region: a file of 16 to 1024 random bytes (head -c 32 /dev/urandom), here
    /// or on a share; a region that is made is encrypted with it
    #[arg(long, value_name = "FILE|share:NAME", value_parser = key_place, help_heading = PARTS)]
    pub cache_key: Option<BlobPlace>,
    /// The objects of a composefs image, as xx/rest: a folder, or an EROFS image of one. Each object is
    /// verified by the digest that the image names
    #[arg(long, value_name = "DIR|FILE[@PART]", help_heading = PARTS)]
    pub objects: Option<PathBuf>,
    /// The domain of the image: images of one domain share the blobs that they name alike in a region
    #[arg(long, value_name = "NAME", help_heading = PARTS)]
    pub domain: Option<String>,
    /// The digest of the image, or of the blob of device slot N (of a stack: of image N): sha256-12:HEX (fs-verity), or
    /// root_hash=HEX,salt=... (dm-verity); nothing unverified is read then
    #[arg(long, value_name = "[N=]SPEC", help_heading = PARTS)]
    pub verity: Vec<VerityArg>,
    /// A seal, in place of --verity: a text with the digests of the image and all blobs
    #[arg(long, value_name = "FILE", requires = "root", conflicts_with = "verity",
          help_heading = PARTS)]
    pub seal: Option<PathBuf>,
    /// The digest of the seal, as `rootlet seal` prints it
    #[arg(long, value_name = "sha256:HEX", requires = "seal", help_heading = PARTS)]
    pub root: Option<String>,
}

/// What the image or a blob is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerityArg {
    /// The image or the blob.
    pub subject: Subject,
    /// The text that pins it, which parses.
    pub spec: String,
}

impl FromStr for VerityArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let slot = text.split_once('=').and_then(|(slot, spec)| {
            let is_digit = |digit: u8| digit.is_ascii_digit() || digit == b'.';
            let is_number = slot.bytes().all(is_digit) && !slot.is_empty();
            is_number.then_some((slot, spec))
        });
        let (subject, spec) = match slot {
            Some((slot, spec)) => {
                // `2.1` is slot 1 of image 2.
                let subject = match slot.contains('.') {
                    true => Subject::named(&format!("layer{slot}")),
                    false => Subject::named(slot),
                };
                (subject.ok_or_else(|| format!("`{slot}` is not a device slot"))?, spec)
            }
            None => (Subject::IMAGE, text),
        };
        Spec::parse(spec).map_err(|error| error.to_string())?;
        Ok(Self { subject, spec: spec.into() })
    }
}

impl VerityArg {
    /// The word of a guest's command line.
    pub fn word(&self) -> String {
        match (self.subject.layer(), self.subject.slot()) {
            (0, 0) => format!("verity={}", self.spec),
            (0, slot) => format!("verity{slot}={}", self.spec),
            (layer, 0) => format!("verity{layer}={}", self.spec),
            (layer, slot) => format!("layer{layer}.verity{slot}={}", self.spec),
        }
    }
}

/// A blob and its device slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobArg {
    /// The number of its image in a stack, from 1; 0 for an image alone.
    pub layer: u16,
    /// Device slot, from 1 on.
    pub slot: u16,
    /// Where its bytes are.
    pub place: BlobPlace,
    /// The part of its disk.
    pub part: Part,
}

impl BlobArg {
    /// Returns the blob of a slot of an image alone, which is all that is there.
    pub fn new(slot: u16, place: BlobPlace) -> Self {
        Self { layer: 0, slot, place, part: Part::Whole }
    }

    /// Returns the key of a guest's command line.
    pub fn key(&self) -> String {
        match self.layer {
            0 => format!("blob{}", self.slot),
            layer => format!("layer{layer}.blob{}", self.slot),
        }
    }
}

/// An image of a stack, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerArg {
    /// Where its bytes are.
    pub place: BlobPlace,
    /// The part of its disk.
    pub part: Part,
}

impl FromStr for LayerArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (place, part) = place_of(text, Part::split_several)?;
        Ok(Self { place, part })
    }
}

/// Returns where the bytes of a source are, and the part of its disk. A file name may hold an `@` of
/// its own.
fn place_of(
    text: &str,
    split: fn(&str) -> Result<(&str, Part), &'static str>,
) -> Result<(BlobPlace, Part), String> {
    let (disk, part) = split(text).map_err(|want| format!("expected {want}"))?;
    let place = match disk.strip_prefix("share:") {
        Some("") => return Err("the name is empty".into()),
        Some(name) => BlobPlace::Share(name.into()),
        None => BlobPlace::Disk(disk.parse()?),
    };
    Ok((place, part))
}

/// Where a blob's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobPlace {
    /// A disk of its own.
    Disk(Source),
    /// A file of this name on a share.
    Share(String),
}

/// Returns where the key of a region is.
pub fn key_place(text: &str) -> Result<BlobPlace, String> {
    match text.strip_prefix("share:") {
        Some("") => Err("the name is empty".into()),
        Some(name) => Ok(BlobPlace::Share(name.into())),
        None if text.is_empty() => Err("no file given".into()),
        None => Ok(BlobPlace::Disk(Source::File(text.into()))),
    }
}

impl FromStr for BlobArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (slot, place) = text.split_once('=').ok_or("expected N=FILE, N=share:NAME or N=URL")?;
        let number =
            |text: &str| text.parse::<u16>().map_err(|_| format!("`{text}` is not a device slot"));
        let (layer, slot) = match slot.split_once('.') {
            Some((layer, slot)) => (number(layer)?, number(slot)?),
            None => (0, number(slot)?),
        };
        if slot == 0 {
            return Err("slot 0 is the image itself".into());
        }
        let (place, part) = place_of(place, Part::split)?;
        Ok(Self { layer, slot, place, part })
    }
}

/// The reserved region: a disk, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionPlace {
    /// The disk.
    pub file: PathBuf,
    /// The part of it.
    pub part: Part,
}

impl FromStr for RegionPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A file name may hold an @ of its own: only a part after it makes it ours.
        let (file, part) = Part::split(text).map_err(|want| format!("expected {want}"))?;
        let empty = part == Part::Whole
            && text.rsplit_once('@').and_then(|(_, part)| part.split_once('+')).is_some_and(
                |(sector, count)| sector.parse::<u64>().is_ok() && count.parse() == Ok(0),
            );
        match file {
            "" => Err("no file given".into()),
            _ if empty => Err("a region of 0 sectors makes no sense".into()),
            _ => Ok(Self { file: file.into(), part }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rootlet_guest::config::Sectors;

    #[test]
    fn blobs_name_a_slot_and_a_place() {
        let blob = |text: &str| text.parse::<BlobArg>();
        assert_eq!(blob("1=a"), Ok(BlobArg::new(1, BlobPlace::Disk("a".parse().unwrap()))));
        let shared = BlobArg::new(2, BlobPlace::Share("c".into()));
        assert_eq!(blob("2=share:c"), Ok(shared));
        for wrong in ["a", "0=x", "1=", "1=share:", "70000=x"] {
            assert!(blob(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn digest_is_of_the_image_or_of_a_slot() {
        let hex = "5f".repeat(32);
        let word = |text: &str| text.parse::<VerityArg>().map(|arg| arg.word());
        assert_eq!(word(&format!("sha256-12:{hex}")), Ok(format!("verity=sha256-12:{hex}")));
        let dm = format!(
            "root_hash={hex},salt=-,data_blocks=1,data_block_size=4096,hash_block_size=4096"
        );
        assert_eq!(word(&dm), Ok(format!("verity={dm}")));
        assert_eq!(word(&format!("12={dm}")), Ok(format!("verity12={dm}")));
        for (text, wrong) in [
            (format!("0=sha256-12:{hex}"), "`0` is not a device slot"),
            (format!("70000={dm}"), "`70000` is not a device slot"),
            (
                dm.replace("data_blocks=1,", ""),
                "data_blocks is missing; it cannot be taken from the disk",
            ),
        ] {
            assert_eq!(word(&text).unwrap_err(), wrong);
        }
    }

    #[test]
    fn an_at_sign_in_a_file_name_is_no_range() {
        let whole = |text: &str| text.parse::<RegionPlace>().unwrap();
        assert_eq!(whole("a@b").file, PathBuf::from("a@b"));
        let nine = Part::Sectors(Sectors { first: 0, count: 9 });
        assert_eq!(whole("a@b@0+9"), RegionPlace { file: "a@b".into(), part: nine });
        assert_eq!(whole("a@1+").part, Part::Whole);
        assert_eq!(whole("a@types").part, Part::Whole);
        for wrong in ["@1+2", "r@1+0"] {
            assert!(wrong.parse::<RegionPlace>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_partition_is_named_by_its_name_or_type() {
        let place = |text: &str| text.parse::<RegionPlace>().unwrap();
        let named = RegionPlace { file: "a@b".into(), part: Part::Named("my @ region".into()) };
        assert_eq!(place("a@b@name:my @ region"), named);
        let own = place("/dev/vda@type");
        assert_eq!(own, place("/dev/vda@type:5e4a3680-bb1e-4551-8d14-7538e87347a3"));
        assert_ne!(own, place("/dev/vda@type:0fc63daf-8483-4772-8e79-3d69d8477de4"));
        let long = format!("a@name:{}", "n".repeat(37));
        for text in ["a@name:", &long, "@type", "a@type:x"] {
            assert!(text.parse::<RegionPlace>().is_err(), "{text}");
        }
    }
}
