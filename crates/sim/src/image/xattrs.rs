//! Extended attributes: the body beside an inode, and the shared area.
//!
//! Always: entries are aligned to 4 bytes; a shared id counts 4-byte units of the shared area.

use std::collections::BTreeMap;

use super::options::XattrPlace;
use super::tree::{Meta, Tree};

const HEADER: usize = 12;

/// The shared area and the ids of its entries.
#[derive(Default)]
pub(super) struct Shared {
    pub bytes: Vec<u8>,
    ids: BTreeMap<(String, Vec<u8>), u32>,
}

impl Shared {
    pub fn plan(tree: &Tree, place: XattrPlace) -> Result<Self, &'static str> {
        let mut counts: BTreeMap<(String, Vec<u8>), u32> = BTreeMap::new();
        for node in tree.nodes() {
            for xattr in &node.meta.xattrs {
                *counts.entry(xattr.clone()).or_default() += 1;
            }
        }
        let at_least = match place {
            XattrPlace::Inline => u32::MAX,
            XattrPlace::Shared => 1,
            XattrPlace::SharedIfRepeated => 2,
        };
        let mut shared = Self::default();
        for (xattr, count) in counts {
            if count >= at_least {
                let id = shared.bytes.len() as u32 / 4;
                shared.bytes.extend_from_slice(&entry(&xattr.0, &xattr.1)?);
                shared.ids.insert(xattr, id);
            }
        }
        Ok(shared)
    }

    /// The xattr body of an inode; empty when it has none.
    pub fn body(&self, meta: &Meta) -> Result<Vec<u8>, &'static str> {
        if meta.xattrs.is_empty() {
            return Ok(Vec::new());
        }
        let mut ids = Vec::new();
        let mut entries = Vec::new();
        for (name, value) in &meta.xattrs {
            match self.ids.get(&(name.clone(), value.clone())) {
                Some(id) => ids.push(*id),
                None => entries.extend_from_slice(&entry(name, value)?),
            }
        }
        let count = u8::try_from(ids.len()).map_err(|_| "more than 255 shared xattrs")?;
        // The name filter (here: off, all ones) is read only with the XATTR_FILTER feature.
        let mut body = vec![0xff, 0xff, 0xff, 0xff, count];
        body.resize(HEADER, 0);
        for id in ids {
            body.extend_from_slice(&id.to_le_bytes());
        }
        body.extend_from_slice(&entries);
        Ok(body)
    }
}

/// `i_xattr_icount` for a body of this many bytes.
pub(super) fn icount(body: usize) -> Result<u16, &'static str> {
    if body == 0 {
        return Ok(0);
    }
    u16::try_from((body - HEADER) / 4 + 1).map_err(|_| "xattrs too long")
}

fn entry(name: &str, value: &[u8]) -> Result<Vec<u8>, &'static str> {
    const PREFIXES: [(&str, u8); 5] = [
        ("system.posix_acl_access", 2),
        ("system.posix_acl_default", 3),
        ("user.", 1),
        ("trusted.", 4),
        ("security.", 6),
    ];
    let known =
        PREFIXES.iter().find_map(|(prefix, index)| Some((name.strip_prefix(prefix)?, index)));
    let (rest, index) = known.ok_or("xattr name without a known prefix")?;
    let name_len = u8::try_from(rest.len()).map_err(|_| "xattr name too long")?;
    let value_len = u16::try_from(value.len()).map_err(|_| "xattr value too long")?;
    let mut out = vec![name_len, *index];
    out.extend_from_slice(&value_len.to_le_bytes());
    out.extend_from_slice(rest.as_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
    Ok(out)
}
