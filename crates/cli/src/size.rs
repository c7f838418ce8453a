//! Byte counts, and counts of things, as people write and read them.
//!
//! Always: suffixes are powers of 1024 (K, M, G, alone or with `B` or `iB`), as QEMU reads them.

use std::str::FromStr;

/// A number of bytes on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, suffix) = text.split_at(digits_end);
        let number: u64 = digits.parse().map_err(|_| format!("`{text}` is not a size like 64M"))?;
        let shift = match suffix {
            "" | "B" => 0,
            "K" | "k" | "KB" | "KiB" => 10,
            "M" | "m" | "MB" | "MiB" => 20,
            "G" | "g" | "GB" | "GiB" => 30,
            _ => return Err(format!("`{suffix}` is not one of the suffixes K, M, G")),
        };
        let bytes = number.checked_mul(1 << shift).ok_or("that is more than 2^64 bytes")?;
        if bytes == 0 { Err("a size of 0 makes no sense here".into()) } else { Ok(Self(bytes)) }
    }
}

/// `bytes` with one digit after the point, in the largest unit that leaves at least 1.
pub fn human(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} bytes"),
    }
}

/// `count` things, by the name of one or of several.
pub fn counted(count: u64, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_binary_suffixes_and_refuse_the_rest() {
        assert_eq!("64M".parse(), Ok(Size(64 << 20)));
        assert_eq!("1GiB".parse(), Ok(Size(1 << 30)));
        assert_eq!("4096".parse(), Ok(Size(4096)));
        for wrong in ["", "M", "0", "3T", "-1", "99999999999G", "64MiBiB", "64iB", "64MBB"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn human_sizes_pick_their_unit() {
        assert_eq!(human(0), "0 bytes");
        assert_eq!(human(1536), "1.5 KiB");
        assert_eq!(human(31 << 20), "31.0 MiB");
    }
}
