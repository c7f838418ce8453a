//! Memory for what is handed over.
//!
//! Always: a platform gives memory that nothing else uses from then on, and that the processor
//! reaches at the address of its first byte.

/// A request for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The bytes.
    pub bytes: u64,
    /// The alignment, a power of two.
    pub align: u64,
    /// The lowest address.
    pub from: u64,
    /// The highest address.
    pub last: u64,
}

/// A giver of memory.
pub trait Room {
    /// Returns memory as asked, with any content; `None` if there is none.
    fn take(&mut self, ask: &Ask) -> Option<&'static mut [u8]>;
}
