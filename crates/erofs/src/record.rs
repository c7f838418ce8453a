//! An on-disk record of fixed size, whose little-endian fields are read at constant offsets.
//!
//! Always: an offset that does not fit the record fails to compile.

/// The bytes of one record of `N` bytes.
#[derive(Clone, Copy)]
pub(super) struct Record<'a, const N: usize>(pub &'a [u8; N]);

impl<'a, const N: usize> Record<'a, N> {
    /// Returns the record in the first `N` bytes of `bytes`; `None` if there are fewer.
    pub fn first_of(bytes: &'a [u8]) -> Option<Self> {
        bytes.first_chunk().map(Self)
    }

    /// Returns the `LEN` bytes at byte `AT`.
    pub fn bytes<const AT: usize, const LEN: usize>(self) -> [u8; LEN] {
        const { assert!(AT <= N && LEN <= N - AT, "a field beyond its record") };
        let mut field = [0; LEN];
        field.copy_from_slice(&self.0[AT..const { AT + LEN }]);
        field
    }

    pub fn u8<const AT: usize>(self) -> u8 {
        let [byte] = self.bytes::<AT, 1>();
        byte
    }

    pub fn u16<const AT: usize>(self) -> u16 {
        u16::from_le_bytes(self.bytes::<AT, 2>())
    }

    pub fn u32<const AT: usize>(self) -> u32 {
        u32::from_le_bytes(self.bytes::<AT, 4>())
    }

    pub fn u64<const AT: usize>(self) -> u64 {
        u64::from_le_bytes(self.bytes::<AT, 8>())
    }
}

/// Returns the 48-bit block number with these halves.
pub(super) fn block48(high: u16, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_little_endian_at_their_offsets() {
        let record = Record(&[0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(record.u8::<8>(), 8);
        assert_eq!(record.u16::<1>(), 0x0201);
        assert_eq!(record.u32::<2>(), 0x0504_0302);
        assert_eq!(record.u64::<1>(), 0x0807_0605_0403_0201);
        assert_eq!(block48(0x1234, 0xabcd_ef01), 0x1234_abcd_ef01);
    }

    #[test]
    fn short_bytes_are_no_record() {
        assert!(Record::<4>::first_of(&[1, 2, 3]).is_none());
    }
}
