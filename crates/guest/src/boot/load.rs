//! Loading what was chosen.
//!
//! Always: [`Plan::new`] takes all memory, and writes the zero page or the device tree;
//! [`Plan::load`] reads, and allocates nothing.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use rootlet::storage::Storage;
use rootlet::{Bug, Error};
use rootlet_base::num::{OrBug, narrow, wide};
use rootlet_base::units::ByteRange;
use rootlet_handover::tree::{Additions, extend};
use rootlet_handover::{Arch, BzImage, Gunzip, HEAD_BYTES, Image, Kernel, Refused, Zero};

use super::Facts;
use super::choice::Choice;
use super::error::{BootError, Why};
use super::part::Open;
use super::room::{Ask, Room};
use crate::command::GuestRoot;

/// Initrds begin at such an address, and one after another at multiples of four bytes, as the kernel
/// wants archives (Linux Documentation/driver-api/early-userspace/buffer-format.rst).
const INITRD_ALIGN: u64 = 4096;
const ARCHIVE_ALIGN: u64 = 4;
/// An Image lies at such a multiple, and a device tree, which may have 2 MiB, does not cross one
/// (Linux Documentation/arch/arm64/booting.rst).
const IMAGE_ALIGN: u64 = 2 << 20;
/// How much of a packed kernel is read at once.
const PACKED_STEP_BYTES: usize = 1 << 20;
/// Bytes at the end of a packed kernel that say how long it is (RFC 1952, ISIZE).
const LENGTH_BYTES: u64 = 4;

/// What the processor needs for the jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The address of the first instruction.
    pub entry: u64,
    /// The address of the zero page, or of the device tree.
    pub told: u64,
    /// Addresses and lengths of all that was written, for a processor that is to fetch past its
    /// caches.
    pub written: [(u64, u64); 3],
}

/// Memory with its address.
struct Memory(&'static mut [u8]);

impl Memory {
    fn take(room: &mut dyn Room, ask: &Ask) -> Option<Self> {
        room.take(ask).map(Self)
    }

    fn address(&self) -> u64 {
        wide(self.0.as_ptr().addr())
    }

    fn place(&self) -> (u64, u64) {
        (self.address(), wide(self.0.len()))
    }
}

/// How a kernel is loaded, and where.
struct Form {
    ask: Ask,
    /// Where in its memory the kernel begins, for the processor.
    start: u64,
    /// Where in its memory the bytes begin that are read or unpacked, and how many there are.
    data: ByteRange,
    /// What unpacks, and room for what is packed.
    packed: Option<(Gunzip, Box<[u8]>)>,
    /// A form for x86, and how it is entered.
    x86: Option<BzImage>,
}

/// A start of a kernel whose memory is taken.
pub struct Plan<'p, 'r, S> {
    kernel: Open<'p, 'r, S>,
    form: Form,
    memory: Memory,
    initrds: Vec<Open<'p, 'r, S>>,
    initrd: Option<Memory>,
    entry: u64,
    told: Memory,
    line_bytes: usize,
}

impl<'p, 'r, S: Storage> Plan<'p, 'r, S> {
    /// Looks at the files of a choice, and takes the memory that they need.
    ///
    /// # Errors
    /// [`BootError`].
    pub fn new(
        root: &'r GuestRoot<S>,
        choice: &'p Choice,
        facts: &Facts<'_>,
        room: &mut dyn Room,
    ) -> Result<Self, BootError<'p>> {
        if choice.line.contains('\0') {
            return Err(BootError::at("", Why::Zero));
        }
        let mut head = vec![0; HEAD_BYTES];
        let (kernel, form) = look(choice.kernel.open(root)?, facts.arch, &mut head)?;
        let Ask { bytes, from, .. } = form.ask;
        let memory = Memory::take(room, &form.ask);
        let memory = memory.ok_or_else(|| kernel.fault(Why::KernelMemory { bytes, from }))?;
        let load = memory.address().checked_add(form.start);
        let load = load.or_bug().map_err(|bug| kernel.bug(bug))?;
        let last = form.x86.map_or(u64::MAX, |image| image.initrd_last);
        let (initrds, initrd) = initrds(root, choice, last, room)?;
        let initrd_place = initrd.as_ref().map_or((0, 0), Memory::place);
        let told = match &form.x86 {
            Some(image) => tell_by_page(image, &head, choice, facts, initrd_place, room),
            None => tell_by_tree(choice, facts, initrd_place, room),
        };
        let told = told.map_err(|why| kernel.fault(why))?;
        let entry = form.x86.map_or(Some(load), |image| image.entry(load));
        let entry = entry.or_bug().map_err(|bug| kernel.bug(bug))?;
        let line_bytes = choice.line.len();
        Ok(Self { kernel, form, memory, initrds, initrd, entry, told, line_bytes })
    }

    /// Reads kernel and initrds. Returns what the processor needs, and how many files and bytes
    /// were read.
    ///
    /// # Errors
    /// [`BootError`].
    pub fn load(self) -> Result<Handover, BootError<'p>> {
        let Self { kernel, mut form, memory, initrds, initrd, entry, told, .. } = self;
        let bug = |bug: Bug| kernel.bug(bug);
        let written = [memory.place(), initrd.as_ref().map_or((0, 0), Memory::place), told.place()];
        let start = narrow(form.data.start()).map_err(bug)?;
        let len = narrow(form.data.len()).map_err(bug)?;
        let data = memory.0.get_mut(start..).and_then(|rest| rest.get_mut(..len));
        let data = data.or_bug().map_err(bug)?;
        match form.packed.take() {
            None => kernel.read_all(data)?,
            Some((mut gunzip, mut buffer)) => {
                let feed = |piece: &[u8]| gunzip.feed(piece, data).map_err(Why::Gzip);
                kernel.read_pieces(&mut buffer, feed)?;
                gunzip.finish(len).map_err(|error| kernel.fault(Why::Gzip(error)))?;
            }
        }
        let mut rest = initrd.map_or(&mut [][..], |memory| memory.0);
        for part in &initrds {
            let bug = |bug: Bug| part.bug(bug);
            let room = padded(part.bytes()).or_bug().map_err(bug)?;
            let room = narrow(room).map_err(bug)?;
            let (own, next) = rest.split_at_mut_checked(room).or_bug().map_err(bug)?;
            let len = narrow(part.bytes()).map_err(bug)?;
            let (bytes, padding) = own.split_at_mut_checked(len).or_bug().map_err(bug)?;
            part.read_all(bytes)?;
            padding.fill(0);
            rest = next;
        }
        Ok(Handover { entry, told: told.address(), written })
    }

    /// Returns how many files are handed over.
    pub fn files(&self) -> u64 {
        wide(self.initrds.len()).wrapping_add(1)
    }
}

impl<S: Storage> fmt::Display for Plan<'_, '_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, form, memory, initrds, initrd, line_bytes, .. } = self;
        let at = memory.address().wrapping_add(form.start);
        write!(f, "{kernel}, {} bytes at {at:#x}", kernel.bytes())?;
        if let Some(image) = &form.x86 {
            let [major, minor] = image.version.to_be_bytes();
            write!(f, ", boot protocol {major}.{minor:02}")?;
        }
        if let (Some(memory), [first, more @ ..]) = (initrd, &initrds[..]) {
            write!(f, "; initrd {first}")?;
            more.iter().try_for_each(|part| write!(f, " and {part}"))?;
            write!(f, ", {} bytes at {:#x}", memory.0.len(), memory.address())?;
        }
        write!(f, "; {line_bytes} bytes of words")
    }
}

/// Returns a kernel, and how it is loaded, by its first bytes, which are left in `head`.
fn look<'p, 'r, S: Storage>(
    kernel: Open<'p, 'r, S>,
    arch: Arch,
    head: &mut Vec<u8>,
) -> Result<(Open<'p, 'r, S>, Form), BootError<'p>> {
    let len = kernel.read(0, head)?;
    head.truncate(len);
    let found = Kernel::of(arch, head);
    let form = match found.map_err(|refused| kernel.fault(Why::Refused(refused)))? {
        Kernel::BzImage(image) => of_bzimage(&kernel, image),
        Kernel::Image(image) => of_image(image, kernel.bytes()),
        Kernel::Gzip => of_gzip(&kernel, arch, head)?,
        Kernel::Zboot(packed) => {
            let range = ByteRange::sized(packed.start.into(), packed.bytes.into());
            let range = range.or_bug().map_err(|bug| kernel.bug(bug))?;
            let kernel = kernel.within(range)?;
            head.resize(HEAD_BYTES, 0);
            let len = kernel.read(0, head)?;
            head.truncate(len);
            let form = of_gzip(&kernel, arch, head)?;
            return match form {
                Some(form) => Ok((kernel, form)),
                None => Err(kernel.fault(Why::Refused(Refused::Short("what is packed in it")))),
            };
        }
    };
    match form {
        Some(form) => Ok((kernel, form)),
        None => Err(kernel.fault(Why::Refused(Refused::Short("its first part")))),
    }
}

/// Returns how a bzImage is loaded: all of the file, such that what is loaded is aligned, so that
/// each read is a whole one of the file. `None` for a file that ends with its setup code.
fn of_bzimage<S: Storage>(kernel: &Open<'_, '_, S>, image: BzImage) -> Option<Form> {
    let (setup, align) = (u64::from(image.setup_bytes), u64::from(image.align));
    let loaded = kernel.bytes().checked_sub(setup).filter(|bytes| *bytes > 0)?;
    let start = setup.checked_next_multiple_of(align)?;
    let bytes = start.checked_add(loaded.max(image.init_bytes.into()))?;
    let from = image.lowest.checked_sub(start).map_or(0, |from| from);
    let last = if image.may_lie_high { u64::MAX } else { u32::MAX.into() };
    let ask = Ask { bytes, align, from, last };
    let data = ByteRange::sized(start.checked_sub(setup)?, kernel.bytes())?;
    Some(Form { ask, start, data, packed: None, x86: Some(image) })
}

/// Returns how an Image of `bytes` bytes is loaded. Nothing else lies in its last 2 MiB: Linux on
/// riscv64 takes whole ones for its image (arch/riscv/mm/init.c), and gives up an initrd there.
fn of_image(image: Image, bytes: u64) -> Option<Form> {
    let start = image.offset;
    let whole = start.checked_add(image.bytes.max(bytes))?.checked_next_multiple_of(IMAGE_ALIGN)?;
    let ask = Ask { bytes: whole, align: IMAGE_ALIGN, from: 0, last: u64::MAX };
    let data = ByteRange::sized(start, bytes)?;
    Some(Form { ask, start, data, packed: None, x86: None })
}

/// Returns how an Image is unpacked.
fn of_gzip<'p, S: Storage>(
    kernel: &Open<'p, '_, S>,
    arch: Arch,
    head: &[u8],
) -> Result<Option<Form>, BootError<'p>> {
    let mut header = [0; Image::HEADER_BYTES];
    let first = Gunzip::first(head, &mut header);
    first.map_err(|error| kernel.fault(Why::Gzip(error)))?;
    let image = Image::unpacked(arch, &header);
    let image = image.map_err(|refused| kernel.fault(Why::Refused(refused)))?;
    let Some(at) = kernel.bytes().checked_sub(LENGTH_BYTES) else { return Ok(None) };
    let mut length = [0; 4];
    kernel.read(at, &mut length)?;
    let bytes = u64::from(u32::from_le_bytes(length));
    let Some(form) = of_image(image, bytes) else { return Ok(None) };
    let packed = (Gunzip::default(), vec![0; PACKED_STEP_BYTES].into_boxed_slice());
    Ok(Some(Form { packed: Some(packed), ..form }))
}

/// Returns the bytes that an initrd takes before the next one; `None` if no memory has this number.
const fn padded(bytes: u64) -> Option<u64> {
    bytes.checked_next_multiple_of(ARCHIVE_ALIGN)
}

/// An initrd's parts, and the memory of all.
type Initrds<'p, 'r, S> = (Vec<Open<'p, 'r, S>>, Option<Memory>);

/// Opens the initrds, and takes memory for all of them together.
fn initrds<'p, 'r, S: Storage>(
    root: &'r GuestRoot<S>,
    choice: &'p Choice,
    last: u64,
    room: &mut dyn Room,
) -> Result<Initrds<'p, 'r, S>, BootError<'p>> {
    let (mut parts, mut bytes) = (Vec::new(), 0_u64);
    for initrd in &choice.initrds {
        let part = initrd.open(root)?;
        let sum = padded(part.bytes()).and_then(|padded| bytes.checked_add(padded));
        let too_large = || part.fault(Why::InitrdMemory { bytes: part.bytes(), last });
        bytes = sum.ok_or_else(too_large)?;
        parts.push(part);
    }
    let Some(first) = parts.first().filter(|_| bytes > 0) else { return Ok((parts, None)) };
    let ask = Ask { bytes, align: INITRD_ALIGN, from: 0, last };
    let memory = Memory::take(room, &ask);
    let memory = memory.ok_or_else(|| first.fault(Why::InitrdMemory { bytes, last }))?;
    Ok((parts, Some(memory)))
}

/// Writes the zero page, and the command line after it.
fn tell_by_page(
    image: &BzImage,
    head: &[u8],
    choice: &Choice,
    facts: &Facts<'_>,
    initrd: (u64, u64),
    room: &mut dyn Room,
) -> Result<Memory, Why> {
    const PAGE: u64 = 4096;
    let line = choice.line.as_bytes();
    let bytes = wide(line.len()).checked_add(PAGE).and_then(|bytes| bytes.checked_add(1));
    let bytes = bytes.or_bug().map_err(bug)?;
    let last = if image.may_lie_high { u64::MAX } else { u32::MAX.into() };
    let ask = Ask { bytes, align: PAGE, from: 0, last };
    let memory = Memory::take(room, &ask).ok_or(Why::Memory { bytes })?;
    let command_line = memory.address().checked_add(PAGE).or_bug().map_err(bug)?;
    let command_line_bytes = wide(line.len());
    let &Facts { rsdp, map, .. } = facts;
    let zero = Zero { command_line, command_line_bytes, initrd, rsdp, map };
    let page = image.zero_page(head, &zero).map_err(Why::Refused)?;
    write(memory, &[&page, line, &[0]])
}

/// Writes the device tree with what is added to it.
fn tell_by_tree(
    choice: &Choice,
    facts: &Facts<'_>,
    (start, bytes): (u64, u64),
    room: &mut dyn Room,
) -> Result<Memory, Why> {
    let initrd = if bytes > 0 { ByteRange::sized(start, bytes) } else { None };
    let initrd = initrd.map(|range| (range.start(), range.end()));
    let tree = extend(facts.tree, &Additions { line: &choice.line, initrd }).map_err(Why::Tree)?;
    let bytes = wide(tree.len());
    // A smaller tree does not cross a multiple of 2 MiB either.
    let align = bytes.checked_next_power_of_two().or_bug().map_err(bug)?;
    let ask = Ask { bytes, align: align.max(8), from: 0, last: u64::MAX };
    let memory = Memory::take(room, &ask).ok_or(Why::Memory { bytes })?;
    write(memory, &[&tree])
}

/// Fills memory with parts, one after another.
fn write(memory: Memory, parts: &[&[u8]]) -> Result<Memory, Why> {
    let mut rest = &mut *memory.0;
    for part in parts {
        let (own, next) = rest.split_at_mut_checked(part.len()).or_bug().map_err(bug)?;
        own.copy_from_slice(part);
        rest = next;
    }
    Ok(memory)
}

fn bug(bug: Bug) -> Why {
    Why::Read(Error::Bug(bug))
}
