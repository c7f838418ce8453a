//! A kernel for x86: its setup header, and the page by which it is told of the machine.
//!
//! Always: the kernel is entered in 64 bits, at byte 0x200 of what follows the setup code, and runs
//! wherever it is loaded.
//!
//! Source: Linux Documentation/arch/x86/boot.rst (protocol 2.15), zero-page.rst.

use alloc::boxed::Box;
use alloc::vec;

use rootlet_base::num::{index, low8, low32, wide};

use crate::bytes::{array, le16, le32, le64, put};
use crate::error::Refused;

/// Where the setup header has its fields; in the file and in the zero page alike.
mod at {
    pub const HEADER: usize = 0x1f1;
    pub const JUMP: usize = 0x201;
    pub const MAGIC: usize = 0x202;
    pub const VERSION: usize = 0x206;
    pub const LOADER: usize = 0x210;
    pub const INITRD: usize = 0x218;
    pub const INITRD_BYTES: usize = 0x21c;
    pub const COMMAND_LINE: usize = 0x228;
    pub const INITRD_LAST: usize = 0x22c;
    pub const ALIGN: usize = 0x230;
    pub const RELOCATABLE: usize = 0x234;
    pub const FLAGS: usize = 0x236;
    pub const COMMAND_LINE_BYTES: usize = 0x238;
    pub const PREFERRED: usize = 0x258;
    pub const INIT_BYTES: usize = 0x260;
    // In the zero page alone.
    pub const RSDP: usize = 0x070;
    pub const INITRD_HIGH: usize = 0x0c0;
    pub const INITRD_BYTES_HIGH: usize = 0x0c4;
    pub const COMMAND_LINE_HIGH: usize = 0x0c8;
    pub const MAP_ENTRIES: usize = 0x1e8;
    pub const MAP: usize = 0x2d0;
}

const MAGIC: &[u8] = b"HdrS";
/// The first protocol with an entry in 64 bits.
const VERSION_MIN: u16 = 0x20c;
/// Flags: there is an entry in 64 bits; kernel, initrd and the rest may lie above 4 GiB.
const FLAG_ENTRY: u16 = 1 << 0;
const FLAG_ABOVE_4G: u16 = 1 << 1;
/// A loader that has no number of its own.
const NO_NUMBER: u8 = 0xff;
const SECTOR_BYTES: u32 = 512;
/// Where the entry in 64 bits is.
const ENTRY: u64 = 0x200;
/// The largest alignment and the most memory that a kernel is believed to ask for.
const ALIGN_MAX: u32 = 1 << 30;
const INIT_BYTES_MAX: u32 = 1 << 30;
const MAP_ENTRY_BYTES: usize = 20;

/// Bytes of the zero page.
pub const ZERO_PAGE_BYTES: usize = 4096;
/// The most entries of a memory map that the zero page has room for.
pub const MAP_ENTRIES_MAX: usize = 128;

/// A range of the memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapEntry {
    /// The first address.
    pub start: u64,
    /// The length in bytes.
    pub bytes: u64,
    /// What is there, as the BIOS call E820 has it: 1 is RAM.
    pub kind: u32,
}

/// What a kernel is told.
#[derive(Clone, Copy, Debug)]
pub struct Zero<'z> {
    /// The address of the command line, which ends with a zero byte.
    pub command_line: u64,
    /// The bytes of the command line, without the zero.
    pub command_line_bytes: u64,
    /// The address and the length of the initrd; 0 for none.
    pub initrd: (u64, u64),
    /// The address of ACPI's first table; 0 for none.
    pub rsdp: u64,
    /// All memory of the machine.
    pub map: &'z [MapEntry],
}

/// A kernel for x86.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BzImage {
    /// The version of the boot protocol, 0x20f for 2.15.
    pub version: u16,
    /// The bytes of the file that come before what is loaded.
    pub setup_bytes: u32,
    /// The alignment of the address at which the kernel is loaded.
    pub align: u32,
    /// The lowest address that the kernel is to be loaded at: below it, it would move itself there.
    pub lowest: u64,
    /// The memory that the kernel needs from its address on.
    pub init_bytes: u32,
    /// The highest address of an initrd.
    pub initrd_last: u64,
    /// Whether the kernel may lie above 4 GiB.
    pub may_lie_high: bool,
    command_line_bytes: u32,
}

impl BzImage {
    /// Returns whether a file that begins so is one.
    pub(crate) fn is_one(head: &[u8]) -> bool {
        head.get(at::MAGIC..).is_some_and(|head| head.starts_with(MAGIC))
    }

    /// Parses the setup header.
    pub(crate) fn parse(head: &[u8]) -> Result<Self, Refused> {
        let short = || Refused::Short("its setup header");
        let version = le16(head, at::VERSION).ok_or_else(short)?;
        if version < VERSION_MIN {
            return Err(Refused::Old(version));
        }
        let flags = le16(head, at::FLAGS).ok_or_else(short)?;
        if flags & FLAG_ENTRY == 0 {
            return Err(Refused::NoEntry(flags));
        }
        let [setup_sectors] = array(head, at::HEADER).ok_or_else(short)?;
        let [relocatable] = array(head, at::RELOCATABLE).ok_or_else(short)?;
        if relocatable == 0 {
            return Err(Refused::Fixed);
        }
        let align = le32(head, at::ALIGN).ok_or_else(short)?;
        if !align.is_power_of_two() || !(4096..=ALIGN_MAX).contains(&align) {
            let wanted = "a power of two from 4096 to 2^30";
            return Err(Refused::Field { name: "kernel_alignment", value: align.into(), wanted });
        }
        let init_bytes = le32(head, at::INIT_BYTES).ok_or_else(short)?;
        if !(1..=INIT_BYTES_MAX).contains(&init_bytes) {
            let (value, wanted) = (init_bytes.into(), "at most 2^30");
            return Err(Refused::Field { name: "init_size", value, wanted });
        }
        let may_lie_high = flags & FLAG_ABOVE_4G != 0;
        let initrd_last = u64::from(le32(head, at::INITRD_LAST).ok_or_else(short)?);
        // 0 stands for 4 (boot.rst, setup_sects); the first sector comes before them.
        let setup_sectors = u32::from(if setup_sectors == 0 { 4 } else { setup_sectors });
        Ok(Self {
            version,
            setup_bytes: setup_sectors.wrapping_add(1).wrapping_mul(SECTOR_BYTES),
            align,
            lowest: le64(head, at::PREFERRED).ok_or_else(short)?,
            init_bytes,
            initrd_last: if may_lie_high { u64::MAX } else { initrd_last },
            may_lie_high,
            command_line_bytes: le32(head, at::COMMAND_LINE_BYTES).ok_or_else(short)?,
        })
    }

    /// Returns where the kernel is entered that is loaded at `load`; `None` beyond all addresses.
    pub const fn entry(&self, load: u64) -> Option<u64> {
        load.checked_add(ENTRY)
    }

    /// Returns the zero page: the setup header of `head`, and what `zero` says.
    ///
    /// # Errors
    /// [`Refused::CommandLine`], [`Refused::Map`], and [`Refused::Short`] for a head that is not the
    /// one that was parsed.
    pub fn zero_page(&self, head: &[u8], zero: &Zero<'_>) -> Result<Box<[u8]>, Refused> {
        let most = u64::from(self.command_line_bytes);
        if zero.command_line_bytes > most {
            return Err(Refused::CommandLine { bytes: zero.command_line_bytes, most });
        }
        if zero.map.len() > MAP_ENTRIES_MAX {
            return Err(Refused::Map(zero.map.len()));
        }
        let mut page = vec![0; ZERO_PAGE_BYTES].into_boxed_slice();
        self.fill(&mut page, head, zero).ok_or(Refused::Short("its setup header"))?;
        Ok(page)
    }

    fn fill(&self, page: &mut [u8], head: &[u8], zero: &Zero<'_>) -> Option<()> {
        // The jump over the header says where it ends (boot.rst, "The real-mode kernel header").
        let [jump] = array(head, at::JUMP)?;
        let end = at::MAGIC.checked_add(usize::from(jump))?.min(at::MAP);
        put(page, at::HEADER, head.get(at::HEADER..end)?)?;
        put(page, at::LOADER, &[NO_NUMBER])?;
        let mut halves = |low: usize, high: usize, value: u64| {
            put(page, low, &low32(value).to_le_bytes())?;
            put(page, high, &low32(value >> 32).to_le_bytes())
        };
        let (initrd, initrd_bytes) = zero.initrd;
        halves(at::INITRD, at::INITRD_HIGH, initrd)?;
        halves(at::INITRD_BYTES, at::INITRD_BYTES_HIGH, initrd_bytes)?;
        halves(at::COMMAND_LINE, at::COMMAND_LINE_HIGH, zero.command_line)?;
        put(page, at::RSDP, &zero.rsdp.to_le_bytes())?;
        // At most 128, as compared above.
        let entries = low8(low32(wide(zero.map.len())));
        put(page, at::MAP_ENTRIES, &[entries])?;
        let places = (at::MAP..).step_by(MAP_ENTRY_BYTES);
        for (place, entry) in places.zip(zero.map) {
            put(page, place, &entry.start.to_le_bytes())?;
            put(page, place.checked_add(8)?, &entry.bytes.to_le_bytes())?;
            put(page, place.checked_add(16)?, &entry.kind.to_le_bytes())?;
        }
        Some(())
    }

    /// Returns the bytes of a file that come before what is loaded, as a length.
    pub const fn setup_len(&self) -> usize {
        index(self.setup_bytes)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails panics")]
pub(crate) mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    /// Returns the head of a kernel as Debian's 6.1 has it.
    pub fn head() -> Vec<u8> {
        let mut head = vec![0; 4096];
        let mut set = |place: usize, value: &[u8]| put(&mut head, place, value).unwrap();
        set(at::HEADER, &[39]);
        set(0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
        set(at::MAGIC, MAGIC);
        set(at::VERSION, &0x20f_u16.to_le_bytes());
        set(at::INITRD_LAST, &0x7fff_ffff_u32.to_le_bytes());
        set(at::ALIGN, &0x20_0000_u32.to_le_bytes());
        set(at::RELOCATABLE, &[1]);
        set(at::FLAGS, &0x7f_u16.to_le_bytes());
        set(at::COMMAND_LINE_BYTES, &2047_u32.to_le_bytes());
        set(at::PREFERRED, &0x100_0000_u64.to_le_bytes());
        set(at::INIT_BYTES, &0x338_0000_u32.to_le_bytes());
        head
    }

    const MAP: [MapEntry; 2] = [
        MapEntry { start: 0, bytes: 0x9_fc00, kind: 1 },
        MapEntry { start: 0x10_0000, bytes: 0x1234_5678_9000, kind: 2 },
    ];
    const ZERO: Zero<'_> = Zero {
        command_line: 0x1_2345_6789,
        command_line_bytes: 2047,
        initrd: (0x2_1000_0000, 0x1_0000_0003),
        rsdp: 0xf_5ab0,
        map: &MAP,
    };

    #[test]
    fn header_says_where_and_how_the_kernel_is_loaded() {
        let kernel = BzImage::parse(&head()).unwrap();
        assert_eq!((kernel.version, kernel.setup_bytes), (0x20f, 40 * 512));
        assert_eq!(
            (kernel.lowest, kernel.align, kernel.init_bytes),
            (16 << 20, 2 << 20, 54_001_664)
        );
        assert_eq!((kernel.initrd_last, kernel.may_lie_high), (u64::MAX, true));
        assert_eq!(kernel.entry(0x100_0000), Some(0x100_0200));
    }

    #[test]
    fn kernel_with_an_old_protocol_has_four_setup_sectors_by_a_zero_and_keeps_its_initrd_low() {
        let mut head = head();
        head[at::HEADER] = 0;
        head[at::FLAGS] = 1;
        let kernel = BzImage::parse(&head).unwrap();
        assert_eq!((kernel.setup_bytes, kernel.initrd_last), (5 * 512, 0x7fff_ffff));
    }

    #[test]
    fn zero_page_has_the_header_and_all_that_the_kernel_is_told() {
        let head = head();
        let page = BzImage::parse(&head).unwrap().zero_page(&head, &ZERO).unwrap();
        assert_eq!(page[at::MAGIC..at::MAGIC + 4], *MAGIC);
        assert_eq!(page[at::LOADER], 0xff);
        assert_eq!(page[at::COMMAND_LINE..][..4], 0x2345_6789_u32.to_le_bytes());
        assert_eq!(page[at::COMMAND_LINE_HIGH..][..4], 1_u32.to_le_bytes());
        assert_eq!(page[at::INITRD_HIGH..][..4], 2_u32.to_le_bytes());
        assert_eq!(page[at::INITRD_BYTES..][..4], 3_u32.to_le_bytes());
        assert_eq!(page[at::INITRD_BYTES_HIGH..][..4], 1_u32.to_le_bytes());
        assert_eq!(le64(&page, at::RSDP), Some(0xf_5ab0));
        assert_eq!(page[at::MAP_ENTRIES], 2);
        assert_eq!(le64(&page, at::MAP + 20), Some(0x10_0000));
        assert_eq!(le64(&page, at::MAP + 28), Some(0x1234_5678_9000));
        assert_eq!(le32(&page, at::MAP + 36), Some(2));
        // Nothing of the setup code before the header.
        assert!(page[0x100..at::MAP_ENTRIES].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn refusals_say_what_the_kernel_has() {
        let said = |place: usize, value: &[u8]| {
            let mut head = head();
            put(&mut head, place, value).unwrap();
            BzImage::parse(&head).unwrap_err().to_string()
        };
        let old =
            "boot protocol 2.11 is too old: an entry in 64 bits has 2.12 (Linux 3.8) and later";
        assert_eq!(said(at::VERSION, &[0x0b, 2]), old);
        assert!(said(at::FLAGS, &[0x7e]).starts_with("no entry in 64 bits (xloadflags 0x7e)"));
        assert!(said(at::RELOCATABLE, &[0]).starts_with("not relocatable"));
        assert!(said(at::ALIGN, &[3]).starts_with("kernel_alignment is 0x200003; it may be"));
        assert!(said(at::INIT_BYTES, &[0, 0, 0, 0x7f]).starts_with("init_size is 0x7f000000"));
        let short = BzImage::parse(&head()[..0x250]).unwrap_err().to_string();
        assert_eq!(short, "ends in the middle of its setup header");
    }

    #[test]
    fn command_line_and_map_that_are_too_long_are_refused() {
        let head = head();
        let kernel = BzImage::parse(&head).unwrap();
        let long = Zero { command_line_bytes: 2048, ..ZERO };
        let said = kernel.zero_page(&head, &long).unwrap_err().to_string();
        assert_eq!(said, "command line of 2048 bytes: this kernel takes at most 2047");
        let map = [MAP[0]; 129];
        let said = kernel.zero_page(&head, &Zero { map: &map, ..ZERO }).unwrap_err().to_string();
        assert_eq!(said, "memory map of 129 entries: the kernel takes at most 128");
    }
}
