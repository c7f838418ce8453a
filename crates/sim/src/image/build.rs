//! Builds an image and its blobs from a tree.
//!
//! Always: places come before bytes. Sizes decide where inodes lie, then data is stored, then
//! the addresses are known and everything is written once.

use std::collections::BTreeMap;

use super::content::Content;
use super::dirents::{Dirents, Entry};
use super::inode::{Data, Form, Inode};
use super::options::{BuildError, FileLayout, Holes, Options};
use super::stores::{Blob, Stores};
use super::superblock::{self, DEVICE_TABLE_AT, SLOT_BYTES};
use super::tree::{Kind, Tree};
use super::xattrs::Shared;
use super::{Image, Located};

/// The largest image or address space that is built in memory.
const BYTES_MAX: u64 = 8 << 30;

/// An image and its extra devices.
#[derive(Clone, Debug)]
pub struct Built {
    /// The primary device.
    pub image: Image,
    /// The extra devices; empty when the image is flattened.
    pub blobs: Vec<Blob>,
}

/// Builds an image of `tree`.
///
/// # Errors
/// [`BuildError`] when the options contradict each other or the tree does not fit the format.
pub fn build(tree: &Tree, options: &Options) -> Result<Built, BuildError> {
    options.check()?;
    let shared = Shared::plan(tree, options.xattrs).map_err(|why| at("/", why))?;
    let mut build = Build::plan(tree, options, &shared)?;
    let end = build.place_inodes();
    let mut stores = Stores::new(options, end.div_ceil(options.block()));
    build.store_data(&mut stores);
    build.form.uniaddr = unified_space(&stores, options.blobs);
    build.write(stores, &shared)
}

struct Build<'t> {
    tree: &'t Tree,
    options: &'t Options,
    form: Form<'t>,
    inodes: Vec<Inode>,
    /// By node number: its index in `inodes`.
    by_node: BTreeMap<usize, usize>,
    dirents: BTreeMap<usize, Dirents>,
    xattr_at: u64,
    inodes_at: u64,
    meta_at: u64,
}

impl<'t> Build<'t> {
    fn plan(tree: &'t Tree, options: &'t Options, shared: &Shared) -> Result<Self, BuildError> {
        let block = options.block();
        let table_end = DEVICE_TABLE_AT + SLOT_BYTES * u64::from(options.blobs);
        let xattr_at = table_end.next_multiple_of(block);
        let inodes_at = (xattr_at + shared.bytes.len() as u64).next_multiple_of(block);
        let oldest = tree.nodes().iter().map(|node| node.meta.mtime_s).min().unwrap_or(0);
        let epoch_s = if options.has_48bit() { oldest } else { options.epoch_s as i64 };
        let mut build = Self {
            tree,
            options,
            form: Form { options, epoch_s, uniaddr: Vec::new() },
            inodes: Vec::new(),
            by_node: BTreeMap::new(),
            dirents: plan_dirents(tree, options),
            xattr_at,
            inodes_at,
            meta_at: if options.meta_at_zero { 0 } else { xattr_at },
        };
        let links = tree.link_counts();
        for (path, number) in tree.walk() {
            if build.by_node.contains_key(&number) {
                continue;
            }
            let node = &tree.nodes()[number];
            let size = match &node.kind {
                Kind::Dir(_) => build.dirents[&number].len() as u64,
                Kind::File(content) => content.size(),
                Kind::Symlink(target) => target.len() as u64,
                _ => 0,
            };
            let body = shared.body(&node.meta);
            let xattrs = body.map_err(|why| at(&path.escape_ascii().to_string(), why))?;
            let mut inode = build.form.plan(path, number, node, links[number], size);
            inode.xattrs = xattrs;
            build.by_node.insert(number, build.inodes.len());
            build.inodes.push(inode);
        }
        Ok(build)
    }

    fn place_inodes(&mut self) -> u64 {
        let mut cursor = self.inodes_at;
        for inode in &mut self.inodes {
            cursor = inode.place(cursor, self.options.block());
        }
        cursor
    }

    fn nid(&self, node: usize) -> u64 {
        (self.inodes[self.by_node[&node]].at - self.meta_at) / 32
    }

    fn store_data(&mut self, stores: &mut Stores) {
        for index in 0..self.inodes.len() {
            let number = self.inodes[index].node;
            let (data, tail) = match &self.tree.nodes()[number].kind {
                Kind::Dir(_) => {
                    let bytes = self.dirents[&number].bytes(|node| self.nid(node));
                    self.store_flat(stores, &self.inodes[index], &Content::bytes(bytes), false)
                }
                Kind::Symlink(target) => {
                    let content = Content::bytes(target.as_slice());
                    self.store_flat(stores, &self.inodes[index], &content, false)
                }
                Kind::File(content) if self.inodes[index].layout == 4 => {
                    (self.store_chunks(stores, content), Vec::new())
                }
                Kind::File(content) => {
                    let layouts = &self.options.layouts;
                    let layout = layouts.get(&self.inodes[index].path);
                    let plain = *layout.unwrap_or(&self.options.layout) == FileLayout::Plain;
                    self.store_flat(stores, &self.inodes[index], content, plain)
                }
                _ => (Data::Nothing, Vec::new()),
            };
            self.inodes[index].data = data;
            self.inodes[index].tail = tail;
        }
    }

    fn store_flat(
        &self,
        stores: &mut Stores,
        inode: &Inode,
        content: &Content,
        spread: bool,
    ) -> (Data, Vec<u8>) {
        let size = content.size();
        if spread && self.options.flat_holes && size > 0 && content.is_hole(0..size) {
            return (Data::Hole, Vec::new());
        }
        let mut bytes = content.to_vec();
        let whole = if inode.layout == 2 { size - inode.body_bytes } else { size };
        let tail = bytes.split_off(whole as usize);
        if bytes.is_empty() {
            return (Data::Nothing, tail);
        }
        let device = if spread { stores.choose(&bytes) } else { 0 };
        let place = stores.store(device, &bytes);
        stores.end_file();
        (Data::Flat(place), tail)
    }

    fn store_chunks(&self, stores: &mut Stores, content: &Content) -> Data {
        let size = content.size();
        let mut chunks = Vec::new();
        for start in (0..size).step_by(self.options.chunk() as usize) {
            let end = size.min(start + self.options.chunk());
            let sparse = self.options.holes != Holes::Stored && content.is_hole(start..end);
            if sparse {
                chunks.push(None);
                continue;
            }
            let mut bytes = vec![0; (end - start) as usize];
            content.read_at(start, &mut bytes);
            let zero = self.options.holes == Holes::Zero && bytes.iter().all(|byte| *byte == 0);
            chunks.push((!zero).then(|| stores.store_chunk(&bytes)));
        }
        stores.end_file();
        Data::Chunks(chunks)
    }

    fn write(self, stores: Stores, shared: &Shared) -> Result<Built, BuildError> {
        let block = self.options.block();
        let primary_blocks = stores.end_block(0);
        let device_blocks: Vec<u64> =
            (1..=self.options.blobs).map(|device| stores.end_block(device)).collect();
        let (data, mut blobs) = stores.into_parts();
        let data_at = (primary_blocks * block) as usize - data.len();
        let flat_end = |(blob, start): (&Blob, &u64)| start * block + blob.bytes();
        let end = blobs.iter().zip(&self.form.uniaddr[1..]).map(flat_end).max().unwrap_or(0);
        if primary_blocks * block > BYTES_MAX || (self.options.flattened && end > BYTES_MAX) {
            return Err(at("/", "the image does not fit in memory"));
        }
        let mut bytes = vec![0; data_at];
        self.write_superblock(&mut bytes, primary_blocks, &device_blocks)?;
        put(&mut bytes, self.xattr_at, &shared.bytes);
        for inode in &self.inodes {
            let node = &self.tree.nodes()[inode.node];
            put(&mut bytes, inode.at, &self.form.bytes(inode, node)?);
        }
        bytes.extend_from_slice(&data);
        if self.options.flattened {
            bytes.resize(bytes.len().max(end as usize), 0);
            for (blob, start) in blobs.drain(..).zip(&self.form.uniaddr[1..]) {
                put(&mut bytes, start * block + blob.lead_bytes, &blob.data);
            }
        }
        let mut image = Image { bytes, index: self.locate() };
        if self.options.checksum {
            image.fix_checksum();
        }
        Ok(Built { image, blobs })
    }

    fn write_superblock(
        &self,
        bytes: &mut [u8],
        primary_blocks: u64,
        device_blocks: &[u64],
    ) -> Result<(), BuildError> {
        let facts = superblock::Facts {
            options: self.options,
            epoch_s: self.form.epoch_s,
            inos: self.inodes.len() as u64,
            primary_blocks,
            root_nid: self.nid(0),
            meta_block: self.meta_at / self.options.block(),
            xattr_block: self.xattr_at / self.options.block(),
            chunked: self.inodes.iter().any(|inode| inode.layout == 4),
        };
        put(bytes, superblock::SUPERBLOCK_AT, &facts.bytes().map_err(|why| at("/", why))?);
        for (number, blocks) in device_blocks.iter().enumerate() {
            let uniaddr = self.form.uniaddr[number + 1];
            let slot = superblock::device_slot(self.options, number, *blocks, uniaddr);
            let slot = slot.map_err(|why| at("/", why))?;
            put(bytes, DEVICE_TABLE_AT + SLOT_BYTES * number as u64, &slot);
        }
        Ok(())
    }

    fn locate(&self) -> BTreeMap<Vec<u8>, Located> {
        let mut index = BTreeMap::new();
        for (path, number) in self.tree.walk() {
            let inode = &self.inodes[self.by_node[&number]];
            let data_at = match &inode.data {
                Data::Flat(place) if place.device == 0 => Some(place.block * self.options.block()),
                _ => None,
            };
            let located = Located {
                nid: self.nid(number),
                inode_at: inode.at,
                xattr_at: (!inode.xattrs.is_empty()).then(|| inode.at + inode.inode_bytes()),
                body_at: (inode.body_bytes > 0).then(|| inode.body_at()),
                body_bytes: inode.body_bytes,
                entry_bytes: inode.entry_bytes,
                data_at,
                dirent_at: None,
            };
            index.insert(path, located);
        }
        for (path, number) in self.tree.walk() {
            let Some(dirents) = self.dirents.get(&number) else { continue };
            let inode = &self.inodes[self.by_node[&number]];
            let whole = inode.size - if inode.layout == 2 { inode.body_bytes } else { 0 };
            let dir = index[&path].clone();
            for (name, offset) in dirents.places() {
                let start = if offset < whole { dir.data_at } else { dir.body_at };
                let start = start.expect("a directory's blocks lie in the image");
                let dirent_at = start + if offset < whole { offset } else { offset - whole };
                let child = super::tree::join(&path, name);
                let found = index.entry(child).or_insert_with(Located::default);
                found.dirent_at = Some(dirent_at);
            }
        }
        index
    }
}

fn plan_dirents(tree: &Tree, options: &Options) -> BTreeMap<usize, Dirents> {
    let mut parents = BTreeMap::from([(0, 0)]);
    for (number, node) in tree.nodes().iter().enumerate() {
        if let Kind::Dir(entries) = &node.kind {
            parents.extend(entries.values().map(|child| (*child, number)));
        }
    }
    let mut dirents = BTreeMap::new();
    for (number, node) in tree.nodes().iter().enumerate() {
        let Kind::Dir(children) = &node.kind else { continue };
        let dots = [(b".".to_vec(), number), (b"..".to_vec(), parents[&number])];
        let dots = dots.into_iter().skip(usize::from(options.dot_omitted));
        let children = children.iter().map(|(name, child)| (name.clone(), *child));
        let entries = dots.chain(children).map(|(name, node)| {
            let file_type = tree.nodes()[node].file_type();
            Entry { name, node, file_type }
        });
        dirents.insert(number, Dirents::plan(entries.collect(), options.block() as usize));
    }
    dirents
}

fn unified_space(stores: &Stores, blobs: u16) -> Vec<u64> {
    let mut starts = vec![0];
    let mut next = stores.end_block(0);
    for device in 1..=blobs {
        starts.push(next);
        next += stores.end_block(device);
    }
    starts
}

fn put(bytes: &mut [u8], at: u64, data: &[u8]) {
    bytes[at as usize..][..data.len()].copy_from_slice(data);
}

fn at(path: &str, why: &'static str) -> BuildError {
    BuildError::Node(path.to_owned(), why)
}
