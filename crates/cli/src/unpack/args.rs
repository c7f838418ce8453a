//! The options of `unpack`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;

use crate::engine::WebArgs;
use crate::source::Oci;

const HELP: &str = "\
Makes an EROFS image of each layer, as containerd's differ does, and writes them into one disk: a \
partition erofs-layer-N each, the lowest layer first, with its dm-verity tree after it. --files \
writes them into a directory. The seal, a text with the digests of all layers, lies beside; its \
own digest is printed. The digest of each blob and of what is packed in it is checked, and the same \
image gives the same bytes again.

Examples:
  rootlet unpack oci:layout --out app.img
  rootlet unpack oci:layout:v2 --platform linux/arm64 --out app.img
  rootlet unpack oci://registry.example.com/app:v2 --out app.img
  rootlet unpack --dry-run oci:layout --out app.img
  rootlet unpack --files oci:layout --out layers";

/// Unpacking a container image.
#[derive(Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct UnpackArgs {
    /// The image: oci:DIR or oci:DIR:REF, a layout in a folder, or oci://REGISTRY/NAME:TAG
    pub image: ImageName,
    /// Where to: the disk, or with --files a directory, made if missing
    #[arg(long, value_name = "FILE|DIR")]
    pub out: PathBuf,
    /// Write a file for each layer instead of one disk
    #[arg(long)]
    pub files: bool,
    /// The program mkfs.erofs [default: the one in PATH]
    #[arg(long, value_name = "FILE", env = "MKFS_EROFS")]
    pub mkfs: Option<PathBuf>,
    /// Replace what is there already
    #[arg(short, long)]
    pub force: bool,
    /// Only print what would be made
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help")]
    pub web: WebArgs,
}

/// The name of a container image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageName {
    /// A layout in a folder, and which of its images.
    Layout(PathBuf, Option<String>),
    /// An image of a registry.
    Registry(Oci),
}

impl FromStr for ImageName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("oci://") || text.starts_with("oci+http://") {
            let oci = Oci::parse(text).map_err(|why| format!("{text}: {why}"))?;
            return match oci.title() {
                None => Ok(Self::Registry(oci)),
                Some(_) => Err(format!("{text}: an image is wanted, and #FILE is part of one")),
            };
        }
        let name = text.strip_prefix("oci:").filter(|name| !name.is_empty());
        let name = name.ok_or("expected oci:DIR[:REF] or oci://REGISTRY/NAME:TAG")?;
        // A folder may have a colon in its name.
        Ok(match name.rsplit_once(':') {
            Some((dir, reference)) if !Path::new(name).is_dir() && !dir.is_empty() => {
                Self::Layout(dir.into(), Some(reference.into()))
            }
            _ => Self::Layout(name.into(), None),
        })
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout(dir, None) => write!(f, "oci:{}", dir.display()),
            Self::Layout(dir, Some(reference)) => write!(f, "oci:{}:{reference}", dir.display()),
            Self::Registry(oci) => oci.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_layouts_or_images_of_registries() {
        let layout = |dir: &str, reference: Option<&str>| {
            Ok(ImageName::Layout(dir.into(), reference.map(String::from)))
        };
        assert_eq!("oci:a".parse(), layout("a", None));
        assert_eq!("oci:a/b:v1".parse(), layout("a/b", Some("v1")));
        assert!(matches!("oci://h/a:1".parse(), Ok(ImageName::Registry(_))));
        assert!(matches!("oci+http://h/a:1".parse(), Ok(ImageName::Registry(_))));
        for (text, why) in [
            ("a", "expected oci:DIR[:REF]"),
            ("oci:", "expected oci:DIR[:REF]"),
            ("docker://h/a:1", "expected oci:DIR[:REF]"),
            ("oci://h/a", ":TAG or @sha256:DIGEST is missing"),
            ("oci://h/a:1#f", "#FILE is part of one"),
        ] {
            let said = text.parse::<ImageName>().unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
