//! The state of a mount, under its lock: each part keeps its own promises. And the reads of data: from
//! an inode to a plan, and from the plan to the devices.
//!
//! Always: a read fills its whole buffer with the file's bytes or fails; every loop over disk
//! data is bounded by the sizes that were checked when the inode was parsed.

#[cfg(feature = "alloc")]
use super::blocks::Blocks;
use super::budget::Budget;
#[cfg(feature = "alloc")]
use super::decoded::Decoding;
use super::failed::MountError;
use super::guard::{Guard, Shared};
#[cfg(feature = "alloc")]
use super::io::BOUNCES;
use super::io::{self, Bounces, Extent, Io};
use super::memory::Lent;
#[cfg(not(feature = "alloc"))]
use super::memory::Memory;
use super::metadata::Metadata;
use super::mount::Mount;
use super::plan::{Plan, UNIFIED, in_tail};
use super::stop::Stop;
#[cfg(feature = "alloc")]
use super::stream::Flights;
#[cfg(feature = "alloc")]
use super::task::Tasks;
#[cfg(feature = "alloc")]
use super::union::{Dirs, LAYERS_MAX};
#[cfg(feature = "alloc")]
use crate::blob::SOURCES_MAX;
use crate::blob::{Image, Sources};
use crate::cache::Layer;
#[cfg(feature = "alloc")]
use crate::erofs::Nid;
#[cfg(feature = "alloc")]
use crate::erofs::Unsupported;
use crate::erofs::{ChunkMap, Inode, Layout, Space};
use crate::error::Error;
#[cfg(feature = "alloc")]
use crate::error::PathError;
use crate::num::{OrBug, wide};
use crate::origin::fresh;
use crate::storage::events::Recorder;
use crate::storage::{DeviceId, Storage};
use crate::units::DeviceSlot;
use crate::units::{ByteRange, Fill, Pow2};

/// Bytes of a chunk map that are read together.
const MAP_BYTES: usize = 512;

/// The state of a mount.
#[derive(Debug)]
pub struct Inner<L> {
    /// The layer and the counters.
    pub io: Io<L>,
    /// Inodes, directories and their pages.
    pub metadata: Metadata,
    /// Blocks in memory, for small reads.
    #[cfg(feature = "alloc")]
    pub blocks: Blocks,
    /// Decoders, and decoded bytes in memory.
    #[cfg(feature = "alloc")]
    pub decoding: Decoding,
    /// Reads under way in the background.
    #[cfg(feature = "alloc")]
    pub flights: Flights,
    /// Readers that do not wait.
    #[cfg(feature = "alloc")]
    pub tasks: Tasks,
    /// Merged directories of a stack.
    #[cfg(feature = "alloc")]
    pub dirs: Dirs,
}

/// The images of a mount.
pub struct Images<'i> {
    /// One image, or several as a stack, the bottom first.
    pub images: &'i [(&'i Image, &'i Sources)],
    /// Whether names are those that an overlay of the images shows.
    #[cfg(feature = "alloc")]
    pub is_overlay: bool,
    /// An image whose files are objects, and whose names are not shown.
    #[cfg(feature = "alloc")]
    pub objects: Option<(&'i Image, &'i Sources)>,
}

impl<'i> Images<'i> {
    /// Returns an image alone.
    pub const fn alone(images: &'i [(&'i Image, &'i Sources); 1]) -> Self {
        Self {
            images,
            #[cfg(feature = "alloc")]
            is_overlay: false,
            #[cfg(feature = "alloc")]
            objects: None,
        }
    }
}

/// Returns a mount before the first read.
///
/// # Errors
/// [`BindError::Unfit`](crate::blob::BindError::Unfit); unsupported when decoding the images'
/// algorithms needs more memory than the budget has, or when there are too many images or sources.
// Not inlined: it writes its result where the caller wants it.
#[inline(never)]
pub fn mount<S: Storage, L: Layer<S>>(
    storage: S,
    layer: L,
    images: &Images<'_>,
    budget: &Budget,
    lent: Lent,
) -> Result<Shared<S, L>, MountError<S, L>> {
    let mut layer = layer;
    let heads = match heads(&storage, &mut layer, images, budget) {
        Ok(heads) => heads,
        Err(error) => return Err(MountError { error, storage, layer }),
    };
    #[cfg(feature = "alloc")]
    let (metadata, bounces, Lent) =
        (Metadata::new(budget.metadata_bytes), Bounces::empty(BOUNCES), lent);
    #[cfg(not(feature = "alloc"))]
    let (metadata, bounces) = {
        let Memory { pages, dir, bounce } = lent;
        (Metadata::over(pages, dir), Bounces::of([bounce.as_mut_slice()]))
    };
    #[cfg(feature = "alloc")]
    let recorder = Recorder::new(budget.events);
    #[cfg(not(feature = "alloc"))]
    let recorder = Recorder::default();
    let state = Inner {
        io: Io::new::<S>(layer, heads.read_bytes, bounces, recorder),
        metadata,
        #[cfg(feature = "alloc")]
        blocks: Blocks::new(budget.block_bytes),
        #[cfg(feature = "alloc")]
        decoding: heads.decoding,
        #[cfg(feature = "alloc")]
        flights: Flights::new(budget.stream_bytes),
        #[cfg(feature = "alloc")]
        tasks: Tasks::default(),
        #[cfg(feature = "alloc")]
        dirs: Dirs::default(),
    };
    let objects = heads.objects;
    #[cfg(feature = "alloc")]
    let mut shared = Shared::new(storage, heads.mount, heads.stack, heads.sources, state);
    #[cfg(not(feature = "alloc"))]
    let mut shared = Shared::new(storage, heads.mount, heads.sources, state);
    shared.objects = objects;
    #[cfg(feature = "alloc")]
    {
        shared.objects_root = heads.objects_root;
    }
    Ok(shared)
}

/// What the heads of the images give.
struct Heads {
    /// The topmost image.
    mount: Mount,
    /// All images of a stack, and the image of objects.
    #[cfg(feature = "alloc")]
    stack: alloc::vec::Vec<Mount>,
    /// The root of the image of objects.
    #[cfg(feature = "alloc")]
    objects_root: Option<Nid>,
    sources: io::Sources,
    /// The place of the objects among the sources.
    objects: Option<DeviceSlot>,
    #[cfg(feature = "alloc")]
    decoding: Decoding,
    read_bytes: u64,
}

#[cfg(feature = "alloc")]
fn heads<S: Storage, L: Layer<S>>(
    storage: &S,
    layer: &mut L,
    images: &Images<'_>,
    budget: &Budget,
) -> Result<Heads, Error> {
    let Images { images, is_overlay, objects } = *images;
    let (top, _) = images.last().ok_or(PathError::NotFound)?;
    let origin = fresh()?;
    let all = || images.iter().chain(&objects);
    let slots = all().map(|(image, _)| usize::from(image.devices().len()));
    let sources = slots.sum::<usize>().checked_add(all().count()).or_bug()?;
    if images.len() > LAYERS_MAX || sources > SOURCES_MAX {
        return Err(Unsupported::Stack { images: images.len(), sources }.into());
    }
    let (mut sources, mut stack) = (io::Sources::new(), alloc::vec::Vec::new());
    let mut digests = alloc::vec::Vec::new();
    for (place, (image, parts)) in all().enumerate() {
        let primary = DeviceSlot::new(u16::try_from(sources.len()).ok().or_bug()?);
        let mut is_first = true;
        if is_overlay || place == images.len() {
            let number = stack.len().checked_add(1).and_then(|number| u8::try_from(number).ok());
            stack.push(Mount::new(image, origin).in_layer(number.or_bug()?, primary)?);
            let digest = image.digest();
            is_first = !digests.contains(&digest);
            digests.push(digest);
        }
        // Without digests a region could not tell the blobs of images with equal heads apart.
        sources.extend(io::sources(storage, layer, image, parts, is_first)?);
    }
    let of_objects = stack.last().filter(|_| objects.is_some());
    let objects_root = of_objects.map(|mount| mount.superblock().root());
    let mount = match images.len().checked_sub(1).and_then(|top| stack.get(top)) {
        Some(mount) if is_overlay => mount.clone(),
        _ => Mount::new(top, origin),
    };
    let objects = io::add_objects(storage, layer, &mut sources)?;
    let decoding = Decoding::new(budget, all().map(|(image, _)| image.superblock()))?;
    let read_bytes = all().map(|(image, _)| image.read_bytes()).sum();
    Ok(Heads { mount, stack, objects_root, sources, objects, decoding, read_bytes })
}

/// Without a heap there is one image.
#[cfg(not(feature = "alloc"))]
fn heads<S: Storage, L: Layer<S>>(
    storage: &S,
    layer: &mut L,
    images: &Images<'_>,
    _: &Budget,
) -> Result<Heads, Error> {
    let [(image, parts)] = *images.images else { return Err(Error::bug()) };
    let origin = fresh()?;
    let mut sources = io::sources(storage, layer, image, parts, false)?;
    let objects = io::add_objects(storage, layer, &mut sources)?;
    let (mount, read_bytes) = (Mount::new(image, origin), image.read_bytes());
    Ok(Heads { mount, sources, objects, read_bytes })
}

impl<S: Storage, L: Layer<S>> Guard<'_, S, L> {
    /// Returns the most bytes that reads may still allocate. Metadata and decoding count in full,
    /// with the bytes that they have allocated already.
    pub fn reserve_bytes(&self) -> usize {
        #[cfg(feature = "alloc")]
        let parts = [
            self.metadata.reserve_bytes(self.mount().superblock().block_size().bytes_usize()),
            self.decoding.bytes(),
            self.blocks.reserve_bytes(),
            self.flights.reserve_bytes(),
            self.io.reserve_bytes(),
            if self.is_stack() { Dirs::reserve_bytes() } else { 0 },
        ];
        #[cfg(not(feature = "alloc"))]
        let parts: [usize; 0] = [];
        // Each summand is within its part of the budget.
        parts.into_iter().sum()
    }

    /// Fills `out` with the bytes of `extents`, whose lengths sum up to `out.len()`, and all of
    /// which are needed.
    pub fn fetch(&mut self, extents: &[Extent], out: &mut [u8]) -> Result<(), Stop> {
        self.note_use(extents, wide(out.len()));
        self.fetch_around(extents, out)
    }

    /// As [`Guard::fetch`], of bytes of which not all are needed.
    pub fn fetch_around(&mut self, extents: &[Extent], out: &mut [u8]) -> Result<(), Stop> {
        if self.copy_viewed(extents, out)? {
            return Ok(());
        }
        #[cfg(feature = "alloc")]
        if let Some(id) = self.task {
            return self.fetch_by(id, extents, out);
        }
        #[cfg(feature = "alloc")]
        self.join(extents);
        let result = self.fetch_pieces(extents, out);
        // After the read, so that its reader does not wait for the prefetch.
        #[cfg(feature = "alloc")]
        self.go_on_prefetching();
        Ok(result?)
    }

    /// Fills `out` with the bytes of an inode's data from `offset` on; `offset + out.len()` is at
    /// most the inode's size.
    pub fn data(&mut self, inode: &Inode, offset: u64, out: &mut [u8]) -> Result<(), Stop> {
        self.turn_to(inode.nid());
        let mut rest = ByteRange::sized(offset, wide(out.len())).or_bug()?;
        let mut out = Fill::new(out);
        while let Some(want) = rest.non_empty() {
            rest = self.data_here(inode, want, &mut out)?;
            if rest == want {
                return Err(Error::bug().into());
            }
        }
        Ok(out.finish()?)
    }

    /// Reads the first bytes of `want`, at least one, into the next bytes of `out`; `want` counts
    /// bytes of the inode's data. Returns the rest of `want`.
    fn data_here(
        &mut self,
        inode: &Inode,
        want: ByteRange,
        out: &mut Fill<'_>,
    ) -> Result<ByteRange, Stop> {
        let none = want.skip(want.len());
        if let Layout::Compressed(_) = inode.layout() {
            self.decoded(inode, want, out.next(want.len())?)?;
            return Ok(none);
        }
        if let Some(at) = in_tail(inode, want.start())? {
            self.meta(inode.nid().space(), at, out.next(want.len())?)?;
            return Ok(none);
        }
        #[cfg(feature = "alloc")]
        if self.reads_small(want) {
            return self.read_small(inode, want, out);
        }
        let mut plan = Plan::new();
        self.plan(inode, want, &mut plan)?;
        self.fetch(plan.extents(), out.next(plan.bytes())?)?;
        Ok(want.skip(plan.bytes()))
    }

    /// Plans a read of the first bytes of `want`, at least one; `want` counts bytes of the inode's
    /// uncompressed data.
    pub fn plan(&mut self, inode: &Inode, want: ByteRange, plan: &mut Plan) -> Result<(), Stop> {
        self.turn_to(inode.nid());
        match inode.layout() {
            Layout::None | Layout::Compressed(_) | Layout::Plain { start: None } => {
                plan.push_hole(want)?;
            }
            Layout::Plain { start: Some(start) } => {
                plan.push_blocks(self.mount(), UNIFIED, start, want)?;
            }
            Layout::Inline { start, tail } => {
                let body = inode.size().checked_sub(tail.len).or_bug()?;
                let want = want.take(body.checked_sub(want.start()).or_bug()?);
                plan.push_blocks(self.mount(), UNIFIED, start, want)?;
            }
            Layout::Object { at } => {
                let (start, len) = (at.checked_add(want.start()).or_bug()?, want.len());
                let range = ByteRange::sized(start, len).or_bug()?;
                #[cfg(feature = "alloc")]
                self.load_nodes_of(at, want)?;
                plan.push_object(self.shared.objects.or_bug()?, range)?;
            }
            Layout::Chunked(map) => self.plan_chunks(inode.nid().space(), &map, want, plan)?,
        }
        if plan.bytes() == 0 || plan.bytes() > want.len() {
            Err(Error::bug().into())
        } else {
            Ok(())
        }
    }

    fn plan_chunks(
        &mut self,
        space: Space,
        map: &ChunkMap,
        want: ByteRange,
        plan: &mut Plan,
    ) -> Result<(), Stop> {
        let chunk_size = Pow2::from_bits(map.chunk_bits()).or_bug()?;
        let mut raw = [0; MAP_BYTES];
        let mut rest = want;
        // Each round takes at least one chunk.
        while let Some(here) = rest.non_empty() {
            let chunks = chunk_size.numbers(here);
            let span = map.entries(chunks.clone(), wide(MAP_BYTES))?;
            let entries = Fill::new(&mut raw).next(span.len)?;
            self.meta(space, span.at, entries)?;
            for (chunk, entry) in chunks.zip(entries.chunks_exact(map.entry().bytes_usize())) {
                let part = chunk_size.front(rest);
                let skip = chunk_size.offset(part.start());
                let inside = ByteRange::sized(skip, part.len()).or_bug()?;
                let target = map.parse(chunk, entry)?;
                let left = plan.push_chunk(self.mount(), target, inside)?;
                if !left.is_empty() {
                    return Ok(());
                }
                rest = rest.skip(part.len());
            }
        }
        Ok(())
    }

    /// Returns the device and byte offset where byte `offset` of a file is stored; for a compressed
    /// byte, where its pcluster begins. `None` for a hole or after the end.
    pub fn source_of(
        &mut self,
        inode: &Inode,
        offset: u64,
    ) -> Result<Option<(DeviceId, u64)>, Stop> {
        if offset >= inode.size() {
            return Ok(None);
        }
        self.turn_to(inode.nid());
        if let Layout::Compressed(_) = inode.layout() {
            return self.encoded_source(inode, offset);
        }
        if let Some(at) = in_tail(inode, offset)? {
            return self.meta_source(inode.nid().space(), at);
        }
        let mut plan = Plan::new();
        self.plan(inode, ByteRange::sized(offset, 1).or_bug()?, &mut plan)?;
        Ok(self.place(plan.extents()))
    }

    /// Returns the device and byte offset where byte `at` of a metadata space is stored.
    pub fn meta_source(&mut self, space: Space, at: u64) -> Result<Option<(DeviceId, u64)>, Stop> {
        match space {
            Space::Image => {
                let range = ByteRange::sized(at, 1).or_bug()?;
                Ok(self.place(&[Extent::Blob { slot: self.mount().primary(), range }]))
            }
            Space::Metabox => {
                let metabox = self.metabox()?;
                self.source_of(&metabox, at)
            }
        }
    }
}

/// Refuses compressed files: decoding needs `alloc`.
#[cfg(not(feature = "alloc"))]
impl<S: Storage, L: Layer<S>> Guard<'_, S, L> {
    fn decoded(&mut self, inode: &Inode, _: ByteRange, _: &mut [u8]) -> Result<(), Stop> {
        Err(crate::erofs::Unsupported::Compressed { nid: inode.nid() }.into())
    }

    fn encoded_source(&mut self, inode: &Inode, _: u64) -> Result<Option<(DeviceId, u64)>, Stop> {
        Err(crate::erofs::Unsupported::Compressed { nid: inode.nid() }.into())
    }
}
