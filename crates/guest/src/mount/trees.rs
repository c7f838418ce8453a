//! The trees of a verified mount in its region: kept like blobs, so that a boot whose sources are not
//! there is verified, too.
//!
//! Always: a node out of the region is used only after its check, as one out of a source is.

use super::{Memory, Mounted};
use crate::command::GuestRoot;
use core::fmt;
use rootlet::Error;
use rootlet::cache::Cache;
use rootlet::storage::Storage;
use rootlet_base::num::{OrBug, index, wide};
use rootlet_verity::{NODE_BYTES, Verified};

/// Mounts as [`Mounted::root`] does, with the trees of the pinned sources as further sources. Reads
/// the trees of sources that are not there, as far as the region has them.
///
/// # Errors
/// Those of [`Mounted::root`].
pub fn root_verified<S: Storage>(
    mounted: &Mounted,
    storage: Verified<S>,
    region: Option<Cache>,
    memory: &Memory,
    notice: &mut dyn FnMut(fmt::Arguments<'_>),
) -> Result<GuestRoot<Verified<S>>, Error> {
    let trees = storage.trees()?;
    if region.is_none() || trees.is_empty() {
        return mounted.root(storage, region, memory);
    }
    let mut sources = mounted.images.last().or_bug()?.sources.clone();
    for tree in &trees {
        // Without room for more sources it is not kept.
        let _ = sources.add(tree.device, tree.bytes, tree.content);
    }
    let room = wide(storage.nodes_bytes());
    let root = mounted.root_over(storage, region, Some(&sources), memory)?;
    let absent = trees.iter().filter(|tree| tree.is_absent);
    let need = absent.clone().try_fold(0_u64, |sum, tree| sum.checked_add(tree.bytes)).or_bug()?;
    if need > room {
        notice(format_args!(
            "digest  trees of sources that are not there have {need} bytes, verity-ram= has {room}: \
             what the others cover is not read"
        ));
    }
    let mut node = [0; index(NODE_BYTES)];
    for tree in absent {
        let Some(number) = root.source_number(tree.device) else { continue };
        let mut at = 0;
        while at < tree.bytes {
            // What the region lacks cannot be read: nor can the blocks that it covers.
            let _ = root.read_source(number, at, &mut node);
            at = at.checked_add(wide(node.len())).or_bug()?;
        }
    }
    Ok(root)
}

/// Has the region keep the nodes of trees that were read from sources. Call it before the region is
/// made durable.
///
/// # Errors
/// A node that cannot be read again; the others are kept.
pub fn keep_trees<S: Storage>(root: &GuestRoot<Verified<S>>) -> Result<(), Error> {
    if root.with_layer(|region, _| region.is_none()) {
        return Ok(());
    }
    let mut node = [0; index(NODE_BYTES)];
    let mut result = Ok(());
    while let Some((device, at)) = root.storage().take_used() {
        let Some(number) = root.source_number(device) else { continue };
        result = result.and(root.read_source(number, at, &mut node));
    }
    result
}
