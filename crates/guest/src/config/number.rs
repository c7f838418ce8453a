//! Numbers in words.
//!
//! Always: plain digits; a sign, a blank or another base is an error.

/// The suffixes, and what they multiply by.
const UNITS: [([char; 2], u64); 3] =
    [(['K', 'k'], 1 << 10), (['M', 'm'], 1 << 20), (['G', 'g'], 1 << 30)];

/// Returns the value of a decimal number with or without a suffix K, M or G; `None` for any other
/// text, and for a value of more than 64 bits.
pub fn number(text: &str) -> Option<u64> {
    let with_unit =
        UNITS.iter().find_map(|(suffix, unit)| Some((text.strip_suffix(*suffix)?, *unit)));
    let (digits, unit) = with_unit.unwrap_or((text, 1));
    // `parse` would take a sign.
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse::<u64>().ok().filter(|_| plain)?.checked_mul(unit)
}
