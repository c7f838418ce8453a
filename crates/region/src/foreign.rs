//! Names what stands where a region was expected, so that nobody's data is formatted over.
//!
//! Always: only the start and the end of the area are looked at; what has no name here may still
//! be data, so the caller formats on its own only over zeros.

use crate::num;
use crate::signature;

/// A signature: how far before the end it begins, its bytes, and whose it is.
type Signature = (usize, &'static [u8], &'static str);

/// The end of an area that is looked at, in bytes.
pub const TAIL_BYTES: usize = 128 << 10;

/// Signatures by how far before the end they begin: copies of what was lost at the start, and
/// formats that are kept there.
const BEFORE_END: [Signature; 5] = [
    (64, b"AVBf", "an Android partition with an AVB footer"),
    (512, b"EFI PART", "the backup of a GPT partition table"),
    (4096, b"EFI PART", "the backup of a GPT partition table"),
    (8192, &[0xfc, 0x4e, 0x2b, 0xa9], "an md RAID member"),
    (65_536, &[0xfc, 0x4e, 0x2b, 0xa9], "an md RAID member"),
];

/// Returns what the first bytes of an area say it is.
pub fn name(head: &[u8]) -> Option<&'static str> {
    signature::Signature::find(head, 0).map(|(_, found)| found.name)
}

/// Returns what the last bytes of an area of `bytes` say it is.
pub fn name_at_end(tail: &[u8], bytes: u64) -> Option<&'static str> {
    // md 0.90 counts from the last whole 64 KiB of its device.
    let over = num::index(num::low32(bytes & 0xffff));
    let found = |(before, magic, _): &&Signature| {
        let slack = if *before == 65_536 { over } else { 0 };
        let at = before.checked_add(slack).and_then(|before| tail.len().checked_sub(before));
        at.and_then(|at| tail.get(at..)).is_some_and(|rest| rest.starts_with(magic))
    };
    BEFORE_END.iter().find(found).map(|(_, _, name)| *name)
}
