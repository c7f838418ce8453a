//! Numbers out of a fuzzer's bytes.
//!
//! Always: where the bytes end, zeros follow.

/// Bytes that are taken from the front.
pub struct Input<'i>(pub &'i [u8]);

impl<'i> Input<'i> {
    /// The next bytes; fewer at the end.
    pub fn take(&mut self, len: usize) -> &'i [u8] {
        let (front, behind) = self.0.split_at(len.min(self.0.len()));
        self.0 = behind;
        front
    }

    /// A little-endian number of `bytes` bytes, at most 8.
    pub fn number(&mut self, bytes: usize) -> u64 {
        let mut raw = [0; 8];
        let front = self.take(bytes);
        raw[..front.len()].copy_from_slice(front);
        u64::from_le_bytes(raw)
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.number(1) as u8
    }

    /// The next two bytes.
    pub fn short(&mut self) -> usize {
        self.number(2) as usize
    }

    /// Whether all was taken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
