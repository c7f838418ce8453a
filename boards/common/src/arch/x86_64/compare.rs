//! `memcmp`, byte by byte.
//!
//! Always: what is compared here are names and words of a few bytes. The one of the compiler takes
//! sixteen at a time, which is ten times the code, and an emulator translates all of it before the
//! first byte of a file.

/// Compares `len` bytes as C does.
///
/// # Safety
///
/// Both are readable for `len` bytes.
#[inline(never)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, len: usize) -> i32 {
    for at in 0..len {
        // SAFETY: the caller promises this byte.
        let one = unsafe { *one.wrapping_add(at) };
        // SAFETY: and this one.
        let other = unsafe { *other.wrapping_add(at) };
        if one != other {
            return i32::from(one) - i32::from(other);
        }
    }
    0
}
