//! Numbers in files.
//!
//! Always: a number that does not lie in the bytes is none.

/// Returns `N` bytes from `at` on.
pub fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Returns the little-endian number of 16 bits at `at`.
pub fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

/// Returns the little-endian number of 32 bits at `at`.
pub fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

/// Returns the little-endian number of 64 bits at `at`.
pub fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

/// Returns the big-endian number of 32 bits at `at`.
pub fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

/// Writes `value` at `at`; `None` if there is no room.
pub fn put(bytes: &mut [u8], at: usize, value: &[u8]) -> Option<()> {
    let (place, _) = bytes.get_mut(at..)?.split_at_mut_checked(value.len())?;
    place.copy_from_slice(value);
    Some(())
}
