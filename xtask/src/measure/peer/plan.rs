//! What is run, and what is made of it.
//!
//! Always: both guests get the same steps in the same order; a row names the step that it shows.

/// Which image a scenario mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// A large file and many small ones, uncompressed, in a blob.
    Plain,
    /// One file in LZ4.
    Packed,
}

/// One boot.
#[derive(Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// The image that the boot mounts.
    pub image: Image,
    /// Whether it has a region, which Linux has no like of.
    pub region: bool,
    /// The steps.
    pub steps: &'static [&'static str],
}

/// All boots of a run.
pub const SCENARIOS: [Scenario; 4] = [
    Scenario {
        name: "plain",
        image: Image::Plain,
        region: false,
        steps: &[
            "first=first:/disk.bin",
            "raw-1M=raw-1M:blob1",
            "fresh=fresh:/",
            "seq-1M=seq-1M:/disk.bin",
            "fresh=fresh:/",
            "seq-4K=seq-4K:/disk.bin",
            "fresh=fresh:/",
            "rand-4K=rand-4K:/disk.bin",
            "fresh=fresh:/",
            "batch-4K=batch-4K:/disk.bin",
            "again-4K=again-4K:/disk.bin",
            "fresh=fresh:/",
            "walk-cold=walk:/many",
            "walk-warm=walk:/many",
            "fresh=fresh:/",
            "files=files:/many",
            "share-1M=share-1M:disk.blob",
            "sum=sum:/disk.bin",
        ],
    },
    Scenario {
        name: "packed",
        image: Image::Packed,
        region: false,
        steps: &["lz4=seq-1M:/packed.bin", "sum=sum:/packed.bin"],
    },
    Scenario {
        name: "region",
        image: Image::Plain,
        region: true,
        steps: &[
            "raw-beside=raw-1M:blob1",
            "cold-1M=seq-1M:/disk.bin",
            "fresh=fresh:/",
            "warm-1M=seq-1M:/disk.bin",
        ],
    },
    Scenario {
        name: "region-random",
        image: Image::Plain,
        region: true,
        steps: &["cold-4K=rand-4K:/disk.bin", "fresh=fresh:/", "warm-4K=rand-4K:/disk.bin"],
    },
];

/// The least that a guest has to do to count as running.
pub const LEAST: [&str; 2] = ["first=first:/many/00/00000", "sum=sum:/many/00/00000"];

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds; less is better.
    Ms,
    /// MiB a second.
    MibS,
    /// Thousands a second.
    KiloS,
    /// MiB of memory or of files; less is better.
    Mib,
}

impl Unit {
    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ms => "ms",
            Self::MibS => "MiB/s",
            Self::KiloS => "k/s",
            Self::Mib => "MiB",
        }
    }

    /// Returns how many times better `ours` is than `theirs`.
    pub fn ratio(self, ours: f64, theirs: f64) -> f64 {
        match self {
            Self::Ms | Self::Mib => theirs / ours.max(1e-12),
            Self::MibS | Self::KiloS => ours / theirs.max(1e-12),
        }
    }
}

/// Where a row's figures come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Source {
    /// The first byte of the first scenario.
    FirstByte,
    /// A step of any scenario that both guests run.
    Step(&'static str),
    /// A step of rootlet's alone, and what a Linux with EROFS over fscache gave elsewhere.
    Known(&'static str, f64),
    /// A step of rootlet's alone, and another of the same guest.
    Own(&'static str, &'static str),
    /// The least memory.
    Memory,
    /// The bytes that are loaded.
    Size,
}

/// A row of the table.
#[derive(Debug)]
pub struct Row {
    /// The name of the quantity that the row compares.
    pub title: &'static str,
    /// From where.
    pub source: Source,
    /// In what.
    pub unit: Unit,
    /// The ratio that is aimed at.
    pub at_least: f64,
}

const fn row(title: &'static str, source: Source, unit: Unit, at_least: f64) -> Row {
    Row { title, source, unit, at_least }
}

/// The table.
pub const ROWS: [Row; 21] = [
    row("exec to first file byte", Source::FirstByte, Unit::Ms, 8.0),
    row("raw disk, 1 MiB, direct", Source::Step("raw-1M"), Unit::MibS, 1.0),
    row("cold sequential 1 MiB", Source::Step("seq-1M"), Unit::MibS, 3.0),
    row("cold sequential 4 KiB", Source::Step("seq-4K"), Unit::MibS, 2.0),
    row("cold random 4 KiB, one by one", Source::Step("rand-4K"), Unit::KiloS, 1.0),
    row("cold random 4 KiB, 16 at once", Source::Step("batch-4K"), Unit::KiloS, 1.5),
    row("warm random 4 KiB", Source::Step("again-4K"), Unit::KiloS, 1.0),
    row("walk with stat, cold", Source::Step("walk-cold"), Unit::KiloS, 2.0),
    row("walk with stat, warm", Source::Step("walk-warm"), Unit::KiloS, 2.0),
    row("10,000 small files, read", Source::Step("files"), Unit::KiloS, 3.0),
    row("LZ4, 64 KiB pclusters, 1 MiB", Source::Step("lz4"), Unit::MibS, 2.0),
    row("virtio-fs, 1 MiB, direct", Source::Step("share-1M"), Unit::MibS, 1.2),
    row("on demand, cold, 1 MiB (known)", Source::Known("cold-1M", 135.0), Unit::MibS, 4.0),
    row("on demand, cold, 4 KiB (known)", Source::Known("cold-4K", 2.5), Unit::KiloS, 4.0),
    row("region, warm, 1 MiB (known)", Source::Known("warm-1M", 394.0), Unit::MibS, 2.0),
    row("region, warm, 4 KiB (known)", Source::Known("warm-4K", 6.5), Unit::KiloS, 1.0),
    row("least memory", Source::Memory, Unit::Mib, 4.0),
    row("image size", Source::Size, Unit::Mib, 10.0),
    row("EROFS to raw, 1 MiB", Source::Own("seq-1M", "raw-1M"), Unit::MibS, 0.95),
    row("region warm to raw, 1 MiB", Source::Own("warm-1M", "raw-beside"), Unit::MibS, 0.8),
    row("region cold to raw, 1 MiB", Source::Own("cold-1M", "raw-beside"), Unit::MibS, 0.8),
];

#[cfg(test)]
mod tests {
    use super::*;
    use rootlet_guest::race::Step;

    #[test]
    fn rows_show_steps_that_are_run_by_those_who_are_shown() {
        for Row { title, source, .. } in &ROWS {
            let (steps, by_both): (Vec<&str>, bool) = match source {
                Source::Step(step) => (vec![step], true),
                Source::Known(step, _) => (vec![step], false),
                Source::Own(step, other) => (vec![step, other], false),
                Source::FirstByte | Source::Memory | Source::Size => continue,
            };
            for step in steps {
                let runs = |scenario: &&Scenario| {
                    scenario.steps.iter().any(|word| word.split('=').next() == Some(step))
                };
                let scenario = SCENARIOS.iter().find(runs).unwrap_or_else(|| panic!("{title}"));
                assert!(!(by_both && scenario.region), "{title}");
            }
        }
    }

    #[test]
    fn steps_are_steps_and_names_are_one_of_a_kind() {
        let words = SCENARIOS.iter().flat_map(|scenario| scenario.steps).chain(&LEAST);
        for word in words {
            Step::parse(word).unwrap();
        }
        let mut names: Vec<&str> = SCENARIOS
            .iter()
            .flat_map(|scenario| scenario.steps)
            .map(|word| word.split('=').next().unwrap())
            .filter(|name| !["fresh", "sum"].contains(name))
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
