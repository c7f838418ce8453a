//! The map of a compressed file, of any bytes.
//!
//! Always: an extent covers the byte that was asked for, within the limits of the format; each
//! costs a bounded number of reads, none of them outside the space.

use rootlet::erofs::compressed::{CompressedMap, Data, Extent, Metadata};
use rootlet::erofs::compressed::{DECODED_BYTES_MAX, ENCODED_BYTES_MAX};
use rootlet::erofs::{FormatError, Inode, Nid, Superblock};

use crate::input::Input;

/// Extents that are asked for in a row.
const EXTENTS_MAX: usize = 64;
/// Where the inode is, in 512-byte blocks.
const NID: u64 = 64;
const INODE_AT: usize = 2048;
const SPACE_BYTES: usize = 16 << 10;
/// Reads that one extent may cost: as many hops back as a pcluster has lclusters, and looks ahead.
const READS_MAX: usize = 1 << 12;

struct Space {
    bytes: Vec<u8>,
    reads: usize,
}

impl Metadata for Space {
    type Error = FormatError;

    fn read(&mut self, at: u64, out: &mut [u8]) -> Result<(), FormatError> {
        self.reads += 1;
        let at = usize::try_from(at).unwrap();
        // `open` has checked the span of the index against the image.
        out.copy_from_slice(&self.bytes[at..at + out.len()]);
        Ok(())
    }
}

pub fn run(bytes: &[u8]) {
    let input = &mut Input(bytes);
    let (how, block_bits, algorithms) = (input.byte(), input.byte(), input.byte());
    let size = input.number(6) >> (how >> 3);
    let asked = input.number(6);
    let mut space = vec![0; SPACE_BYTES];
    // Blocks of 512 to 4096 bytes; with COMPR_CFGS or without.
    superblock(&mut space, 9 + block_bits % 4, how & 1 != 0);
    let format: u16 = if how & 2 != 0 { 1 | 1 << 1 } else { 1 | 3 << 1 };
    space[INODE_AT..INODE_AT + 2].copy_from_slice(&format.to_le_bytes());
    space[INODE_AT + 4..INODE_AT + 6].copy_from_slice(&0o100_644_u16.to_le_bytes());
    space[INODE_AT + 8..INODE_AT + 16].copy_from_slice(&size.to_le_bytes());
    let map = &mut space[INODE_AT + 64..];
    let len = input.0.len().min(map.len());
    map[..len].copy_from_slice(&input.0[..len]);

    let superblock = Superblock::from_bytes(&space).unwrap();
    let inode = Inode::from_bytes(&superblock, Nid(NID), &space[INODE_AT..]).unwrap();
    let mut space = Space { bytes: space, reads: 0 };
    let algorithms = u16::from(algorithms);
    let Ok(mut map) = CompressedMap::open(&superblock, algorithms, &inode, &mut space) else {
        return;
    };
    let fresh = map;
    let mut at = asked % size.max(1);
    for _ in 0..EXTENTS_MAX {
        if at >= size {
            break;
        }
        space.reads = 0;
        let Ok(extent) = map.find(&mut space, at) else { break };
        assert!(space.reads <= READS_MAX, "{} reads", space.reads);
        check(&extent, at, size);
        let anew = fresh.clone().find(&mut space, at);
        let same = anew == Ok(extent);
        let excused = same || (how & 2 != 0 && out_of_order(&space, size));
        assert!(excused, "what was found before changes what is found: {anew:?}, not {extent:?}");
        if !same {
            break;
        }
        at = extent.end();
    }
}

/// Whether the records of extents have their starts in no order, or after the file. The
/// result of a bisection, and whether it finds the fault, then depends on where it began.
fn out_of_order(space: &Space, size: u64) -> bool {
    let number =
        |at: usize, len: usize| Input(space.bytes.get(at..).unwrap_or_default()).number(len);
    let header = INODE_AT + 64;
    // Records of 16 or 32 bytes, in layout 1.
    let advise = number(header + 4, 1);
    let bits = if advise & 1 != 0 { 2 + (advise >> 1 & 3) } else { 0 };
    let bytes = 1 << bits;
    let count = number(header, 4) | number(header + 6, 2) << 32;
    let first = (header + 8).next_multiple_of(bytes);
    let starts = (0..count as usize).map(|record| {
        let at = first + record * bytes;
        let high = if bits == 5 { number(at + 16, 4) } else { 0 };
        number(at + 12, 4) | high << 32
    });
    bits >= 4 && !starts.chain([size]).is_sorted()
}

fn check(extent: &Extent, at: u64, size: u64) {
    assert!(extent.covers(at) && extent.len > 0 && extent.end() <= size, "{extent:?} for {at}");
    match extent.data {
        Data::Hole => {}
        Data::Fragment { at } => assert!(at.checked_add(extent.len).is_some()),
        Data::Encoded { len, encoding, .. } => {
            assert!((1..=ENCODED_BYTES_MAX).contains(&len), "{extent:?}");
            let most = if encoding.algorithm().is_some() { DECODED_BYTES_MAX } else { len };
            assert!(extent.len <= most, "{extent:?}");
        }
    }
}

fn superblock(space: &mut [u8], block_bits: u8, configured: bool) {
    let blocks = (space.len() >> block_bits) as u32;
    let mut put = |at: usize, bytes: &[u8]| {
        space[1024 + at..1024 + at + bytes.len()].copy_from_slice(bytes);
    };
    put(0, &0xe0f5_e1e2_u32.to_le_bytes());
    put(12, &[block_bits]);
    put(14, &(NID as u16).to_le_bytes());
    put(36, &blocks.to_le_bytes());
    if configured {
        // No algorithms, so that no settings follow.
        put(80, &2_u32.to_le_bytes());
    }
}
