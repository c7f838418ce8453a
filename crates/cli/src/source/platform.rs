//! What an image runs on, in the words of OCI.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// The operating system that stands for what is not an image, as statements about one.
const UNKNOWN: &str = "unknown";

/// An operating system and a processor.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Platform {
    /// The operating system.
    pub os: String,
    /// The processor.
    pub architecture: String,
    /// Which kind of it, where that matters.
    pub variant: Option<String>,
}

impl Platform {
    /// Linux on a processor like this machine's.
    pub fn here() -> Self {
        Self::of(std::env::consts::ARCH)
    }

    /// Linux on a processor that Rust calls `arch`.
    pub fn of(arch: &str) -> Self {
        let architecture = match arch {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self { os: "linux".into(), architecture: architecture.into(), variant: None }
    }

    /// Whether what is for this platform is for the `wanted` one.
    pub fn fits(&self, wanted: &Self) -> bool {
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && (wanted.variant.is_none() || self.variant == wanted.variant)
    }

    /// Whether what is for this platform is an image.
    pub fn is_of_image(&self) -> bool {
        self.os != UNKNOWN
    }
}

impl FromStr for Platform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split('/').map(String::from);
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some(os), Some(architecture), variant, None)
                if ![&os, &architecture].contains(&&String::new()) =>
            {
                Ok(Self { os, architecture, variant })
            }
            _ => Err("expected OS/ARCH or OS/ARCH/VARIANT, as in linux/arm64".into()),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platform_has_two_or_three_words() {
        let platform: Platform = "linux/arm/v7".parse().unwrap();
        assert_eq!(platform.to_string(), "linux/arm/v7");
        assert_eq!("linux/amd64".parse::<Platform>().unwrap().variant, None);
        for wrong in ["linux", "/amd64", "linux/", "a/b/c/d"] {
            assert!(wrong.parse::<Platform>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn variant_counts_where_one_is_wanted() {
        let fits = |is: &str, wanted: &str| {
            let [is, wanted] = [is, wanted].map(|text| text.parse::<Platform>().unwrap());
            is.fits(&wanted)
        };
        assert!(fits("linux/arm/v7", "linux/arm") && fits("linux/arm/v7", "linux/arm/v7"));
        assert!(!fits("linux/arm", "linux/arm/v7") && !fits("linux/arm64", "linux/arm"));
        assert_eq!(Platform::of("riscv64").to_string(), "linux/riscv64");
    }
}
