//! Numbers in lowercase hexadecimal digits.
//!
//! Always: capitals, signs and blanks are not digits, so a number of known width has one spelling.

use rootlet_base::num::low8;

/// Returns the digit of the lowest 4 bits of `nibble`.
pub const fn digit(nibble: u8) -> u8 {
    match nibble & 0xf {
        decimal @ 0..=9 => b'0'.wrapping_add(decimal),
        letter => (b'a' - 10).wrapping_add(letter),
    }
}

/// Fills `out` with the lowest digits of `value`.
pub fn write(value: u32, out: &mut [u8]) {
    let mut rest = value;
    for place in out.iter_mut().rev() {
        *place = digit(low8(rest));
        rest >>= 4;
    }
}

/// Returns the value of at most 8 digits.
pub fn read(digits: &[u8]) -> Option<u32> {
    let mut value = 0_u32;
    for &digit in digits {
        let nibble = match digit {
            b'0'..=b'9' => digit.wrapping_sub(b'0'),
            b'a'..=b'f' => digit.wrapping_sub(b'a' - 10),
            _ => return None,
        };
        value = value << 4 | u32::from(nibble);
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_is_read_as_it_was_written() {
        for value in [0, 9, 10, 0xabcd, u32::MAX] {
            let mut digits = [0; 8];
            write(value, &mut digits);
            assert_eq!(read(&digits), Some(value));
            assert_eq!(digits.to_vec(), std::format!("{value:08x}").into_bytes());
        }
        assert_eq!((read(b"1F"), read(b"+1"), read(b"0 ")), (None, None, None));
    }
}
