//! Little-endian fields at fixed offsets of a page.
//!
//! Always: an offset outside the page reads as 0 and writes nothing; the offsets are constants
//! of FORMAT.md, which compile-time assertions keep inside.

/// The `N` bytes at `at`.
pub fn array<const N: usize>(raw: &[u8], at: usize) -> [u8; N] {
    raw.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

/// The u16 at `at`.
pub fn u16_at(raw: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(raw, at))
}

/// The u32 at `at`.
pub fn u32_at(raw: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(raw, at))
}

/// The u64 at `at`.
pub fn u64_at(raw: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(raw, at))
}

/// Puts `bytes` at `at`.
pub fn put(raw: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(end) = at.checked_add(bytes.len())
        && let Some(place) = raw.get_mut(at..end)
    {
        place.copy_from_slice(bytes);
    }
}
