//! `check` of a stack: each image as one that is alone, then the tree that they make together.
//!
//! Always: a fault of one image does not end the check of the others; a line says which image the
//! lines after it are about.

use anyhow::{Result, bail};
use rootlet::cache::Cache;
use rootlet::read::{Root, Tree};
use rootlet_guest::Mounted;
use rootlet_guest::config::SourceWord;

use super::args::CheckArgs;
use super::{digests, verify};
use crate::note;
use crate::say;
use crate::shown::shown;
use crate::size::counted;
use crate::source::Prepared;

/// Verifies the images of a stack, which are bound, and its names.
pub fn check(prepared: Prepared, mounted: &Mounted, args: &CheckArgs) -> Result<()> {
    let Prepared { mut storage, memory, .. } = prepared;
    let mut digests = digests::read_all(&storage, mounted);
    let mut faulty = 0;
    for (number, bound) in mounted.numbered() {
        let (image, sources) = (&*bound.image, &bound.sources);
        if !args.json {
            say!("layer {number} ({}{}):", SourceWord(&bound.name), bound.part);
        }
        let objects = mounted.objects.as_ref().map(|bound| (&*bound.image, &bound.sources));
        let budget = &memory.mount;
        let root = match objects {
            None => Root::with_budget(storage, None::<Cache>, image, sources, budget),
            Some(objects) => Root::over_objects(storage, None, (image, sources), objects, budget),
        };
        storage = match root {
            Ok(root) => {
                let room = sources.iter().map(|of| u128::from(of.bytes)).sum();
                let (_, result) = verify(&root, room, digests.take(), args.json, args.jobs);
                faulty += u32::from(result.is_err());
                root.into_parts().0
            }
            Err(failed) => {
                say!("/: {:#}", failed.error);
                faulty += 1;
                failed.storage
            }
        };
    }
    let images: Vec<_> =
        mounted.images.iter().map(|bound| (&*bound.image, &bound.sources)).collect();
    let faults = match mounted.stack(storage, None, &images, &memory) {
        Ok(root) => names(&root, args.json)?,
        Err(error) => {
            say!("/: {error:#}");
            1
        }
    };
    match (faulty, faults) {
        (0, 0) => Ok(()),
        (0, faults) => {
            bail!("{} in the names of the stack", counted(faults, "fault", "faults"))
        }
        (images, _) => bail!("{images} of {} images have faults", mounted.images.len()),
    }
}

/// Walks through the merged tree. Returns the number of faults.
fn names<S: rootlet::storage::Storage>(
    root: &Root<S, Option<Cache>>,
    as_json: bool,
) -> Result<u64> {
    let (mut tree, mut inodes, mut faults) = (Tree::new(), 0_u64, 0);
    tree.begin(root, b"/")?;
    loop {
        match tree.next(root) {
            Ok(Some(_)) => inodes += 1,
            Ok(None) => break,
            Err(error) => {
                note!("{}: {error:#}", shown(tree.path()));
                faults += 1;
            }
        }
    }
    if !as_json {
        let (names, found) = (counted(inodes, "name", "names"), counted(faults, "fault", "faults"));
        say!("the stack: {names}, {found}");
    }
    Ok(faults)
}
