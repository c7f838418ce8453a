//! One inode: its form, its place, and its bytes.
//!
//! Always: the place is a multiple of 32; an inline tail does not cross a block.

use super::options::{BuildError, FileLayout, Inodes, Options};
use super::stores::Place;
use super::tree::{Kind, Node};
use super::xattrs;

/// The number that stands for "no block": all ones in as many bits as the field has.
const NULL_BLOCK: u64 = u64::MAX;

/// An inode as it will be written.
pub(super) struct Inode {
    pub path: Vec<u8>,
    pub node: usize,
    pub links: u32,
    pub size: u64,
    pub extended: bool,
    /// The data layout of `i_format`: 0 plain, 2 inline, 4 chunks.
    pub layout: u8,
    /// Bytes of one chunk map entry, 0 without a map.
    pub entry_bytes: u64,
    /// The `format` word of a chunked inode.
    pub chunk_format: u16,
    pub xattrs: Vec<u8>,
    /// Bytes of the inline tail or of the chunk map.
    pub body_bytes: u64,
    pub at: u64,
    pub data: Data,
    pub tail: Vec<u8>,
}

/// Where the data of an inode lies.
#[derive(Default)]
pub(super) enum Data {
    #[default]
    Nothing,
    Hole,
    Flat(Place),
    Chunks(Vec<Option<Place>>),
}

/// What all inodes of one image have in common.
pub(super) struct Form<'o> {
    pub options: &'o Options,
    pub epoch_s: i64,
    /// Start of each device in the unified address space.
    pub uniaddr: Vec<u64>,
}

impl Form<'_> {
    /// Decides the form of a node's inode; `size` is the length of its data.
    pub fn plan(&self, path: Vec<u8>, number: usize, node: &Node, links: u32, size: u64) -> Inode {
        let options = self.options;
        let mut inode = Inode {
            node: number,
            links,
            size,
            extended: false,
            layout: 0,
            entry_bytes: 0,
            chunk_format: 0,
            xattrs: Vec::new(),
            body_bytes: 0,
            at: 0,
            data: Data::Nothing,
            tail: Vec::new(),
            path,
        };
        let of_file = *options.layouts.get(&inode.path).unwrap_or(&options.layout);
        let layout = match &node.kind {
            Kind::File(_) => Some(of_file),
            Kind::Dir(_) | Kind::Symlink(_) if options.inline_dirs => Some(FileLayout::Inline),
            Kind::Dir(_) | Kind::Symlink(_) => Some(FileLayout::Plain),
            _ => None,
        };
        match layout.filter(|_| size > 0) {
            None | Some(FileLayout::Plain) => {}
            Some(FileLayout::Inline) => {
                inode.body_bytes = size % options.block();
                inode.layout = if inode.body_bytes > 0 { 2 } else { 0 };
            }
            Some(FileLayout::ChunkMap) => inode.set_chunks(options, 4, 0),
            Some(FileLayout::ChunkIndexes) => inode.set_chunks(options, 8, 0x20),
            Some(FileLayout::ChunkIndexes48) => inode.set_chunks(options, 8, 0x60),
        }
        let is_file = matches!(node.kind, Kind::File(_));
        let far = is_file && inode.layout == 0 && options.blobs > 0 && options.has_48bit();
        inode.extended = self.needs_extended(node, &inode) || (far && links != 1);
        inode
    }

    fn needs_extended(&self, node: &Node, inode: &Inode) -> bool {
        let meta = &node.meta;
        let fits = inode.size <= u64::from(u32::MAX)
            && meta.uid <= 0xffff
            && meta.gid <= 0xffff
            && inode.links <= 0xffff;
        let since = meta.mtime_s.wrapping_sub(self.epoch_s);
        let timed = if self.options.has_48bit() {
            u32::try_from(since).is_ok()
        } else {
            self.options.inodes == Inodes::Compact || since == 0
        };
        match self.options.inodes {
            Inodes::Extended => true,
            Inodes::Compact => !(fits && timed),
            Inodes::Lossless => !(fits && timed && meta.mtime_ns == 0),
        }
    }

    /// The bytes of the inode, of its xattrs, and of its map or tail.
    pub fn bytes(&self, inode: &Inode, node: &Node) -> Result<Vec<u8>, BuildError> {
        let wrong = |why| BuildError::Node(inode.path.escape_ascii().to_string(), why);
        let is_dir = matches!(node.kind, Kind::Dir(_));
        let one_link = self.options.has_48bit() && !inode.extended && !is_dir && inode.links == 1;
        let bit4 = one_link || (is_dir && self.options.dot_omitted);
        let (low, high) = self.target(inode, node).map_err(wrong)?;
        let is_null = matches!(inode.data, Data::Hole);
        // Linux masks the start block of an extended inode with 48 bits even without the
        // feature, so a null block has to have all of them.
        let wide = one_link || (inode.extended && (self.options.has_48bit() || is_null));
        if high != 0 && !wide && !is_null {
            return Err(wrong("start block beyond 32 bits"));
        }
        let nb = match (wide, inode.extended) {
            (true, _) => high,
            (false, true) => 0,
            (false, false) => inode.links as u16,
        };
        let icount = xattrs::icount(inode.xattrs.len()).map_err(wrong)?;
        let format =
            u16::from(inode.extended) | (u16::from(inode.layout) << 1) | (u16::from(bit4) << 4);
        let mut out = Vec::with_capacity(inode.total_bytes() as usize);
        for word in [format, icount, node.st_mode(), nb] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        let meta = &node.meta;
        let ino = inode.node as u32 + 1;
        if inode.extended {
            out.extend_from_slice(&inode.size.to_le_bytes());
            for word in [low, ino, meta.uid, meta.gid] {
                out.extend_from_slice(&word.to_le_bytes());
            }
            out.extend_from_slice(&meta.mtime_s.to_le_bytes());
            out.extend_from_slice(&meta.mtime_ns.to_le_bytes());
            out.extend_from_slice(&inode.links.to_le_bytes());
            out.resize(64, 0);
        } else {
            let since = meta.mtime_s.wrapping_sub(self.epoch_s) as u32;
            let since = if self.options.has_48bit() { since } else { 0 };
            for word in [inode.size as u32, since, low, ino] {
                out.extend_from_slice(&word.to_le_bytes());
            }
            out.extend_from_slice(&(meta.uid as u16).to_le_bytes());
            out.extend_from_slice(&(meta.gid as u16).to_le_bytes());
            out.resize(32, 0);
        }
        out.extend_from_slice(&inode.xattrs);
        out.resize((inode.body_at() - inode.at) as usize, 0);
        out.extend_from_slice(&inode.tail);
        if let Data::Chunks(chunks) = &inode.data {
            for chunk in chunks {
                out.extend_from_slice(&self.chunk_entry(inode, *chunk).map_err(wrong)?);
            }
        }
        Ok(out)
    }

    /// The `i_u` field and the high bits of the start block.
    fn target(&self, inode: &Inode, node: &Node) -> Result<(u32, u16), &'static str> {
        if let Kind::CharDevice(major, minor) | Kind::BlockDevice(major, minor) = node.kind {
            // Linux new_encode_dev().
            return Ok(((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12), 0));
        }
        let block = match &inode.data {
            Data::Nothing => 0,
            Data::Chunks(_) => inode.chunk_format.into(),
            Data::Hole => NULL_BLOCK >> 16,
            Data::Flat(place) => self.unified(*place),
        };
        let high = u16::try_from(block >> 32).map_err(|_| "start block beyond 48 bits")?;
        Ok((block as u32, high))
    }

    fn chunk_entry(&self, inode: &Inode, chunk: Option<Place>) -> Result<Vec<u8>, &'static str> {
        let bits = if inode.chunk_format & 0x40 != 0 { 48 } else { 32 };
        let null = NULL_BLOCK >> (64 - bits);
        let (device, block) = match chunk {
            None => (0, null),
            Some(place) if inode.entry_bytes == 4 => (0, self.unified(place)),
            Some(place) => (place.device, place.block),
        };
        if block > null || (block == null && chunk.is_some()) {
            return Err("chunk address too high for its entry");
        }
        let mut out = Vec::with_capacity(8);
        if inode.entry_bytes == 8 {
            out.extend_from_slice(&((block >> 32) as u16).to_le_bytes());
            out.extend_from_slice(&device.to_le_bytes());
        }
        out.extend_from_slice(&(block as u32).to_le_bytes());
        Ok(out)
    }

    fn unified(&self, place: Place) -> u64 {
        self.uniaddr[usize::from(place.device)] + place.block
    }
}

impl Inode {
    fn set_chunks(&mut self, options: &Options, entry_bytes: u64, flags: u16) {
        self.layout = 4;
        self.entry_bytes = entry_bytes;
        self.chunk_format = flags | u16::from(options.chunk_bits - options.block_bits);
        self.body_bytes = self.size.div_ceil(options.chunk()) * entry_bytes;
    }

    /// Bytes of the inode itself.
    pub fn inode_bytes(&self) -> u64 {
        if self.extended { 64 } else { 32 }
    }

    /// Where the map or the tail starts.
    pub fn body_at(&self) -> u64 {
        let end = self.at + self.inode_bytes() + self.xattrs.len() as u64;
        end.next_multiple_of(self.entry_bytes.max(1))
    }

    fn total_bytes(&self) -> u64 {
        self.body_at() + self.body_bytes - self.at
    }

    /// Finds the inode a place at or after `cursor`, and returns the end.
    pub fn place(&mut self, cursor: u64, block: u64) -> u64 {
        self.at = cursor.next_multiple_of(32);
        if self.layout == 2 {
            let first = self.at;
            while self.body_at() % block + self.body_bytes > block && self.at < first + block {
                self.at += 32;
            }
            if self.body_at() % block + self.body_bytes > block {
                // No place in any block: the tail becomes a block of its own.
                self.at = first;
                self.layout = 0;
                self.body_bytes = 0;
            }
        }
        self.at + self.total_bytes()
    }
}
