//! Texts as devices and loaders have them.
//!
//! Always: what is returned lies in what was given.

/// The bytes before the first zero; all of them where there is none.
// Not inlined: an emulator translates each copy.
#[inline(never)]
pub(crate) fn until_zero(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    &bytes[..end]
}
