//! The options of `fuzz` and `power-cut`.

use std::path::PathBuf;

use clap::Args;
use rootlet_power::case::CaseName;
use rootlet_power::mix;

const POWER_CUT: &str = "\
A history is one to five lives of a guest over a simulated disk that keeps exactly the promise of
the storage traits: mounts, formats, reads, syncs, evictions (the images are larger than the
region), kills, and power cuts at any write or flush: before, during and after. A case is
  - one durable state that the last cut of a history may leave: every subset and order of unflushed
    sectors while at most ten of them change, seeded samples above, torn sectors and damaged
    neighbours; it is mounted, at times twice, and read; or
  - one history with faults, of the disk or of the sources, with two guests, a full blob table,
    scarce memory, mutated tables.
After every step the fifteen invariants are checked (crates/power/src/invariants). What fails prints
the line that runs it again. Exit status 1 if anything failed, or with --guards if nobody missed a
guard.";

/// Fuzzing.
#[derive(Args, Clone, Debug)]
pub struct FuzzArgs {
    /// What to fuzz; all of it if there is nothing here
    pub target: Option<String>,
    /// Name the targets
    #[arg(long)]
    pub list: bool,
    /// How long to fuzz each target
    #[arg(long, value_name = "SECONDS", default_value = "60",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// The same number makes the same cases [default: the clock]
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// Run the bytes of this file alone: a case that failed here or under cargo-fuzz
    #[arg(long, value_name = "FILE", requires = "target")]
    pub input: Option<PathBuf>,
}

/// Cutting the power.
#[derive(Args, Clone, Debug)]
#[command(after_help = POWER_CUT)]
pub struct PowerCutArgs {
    /// How many cases at least; whole histories are run [default: 100000, with --guards 300000, with --trust 10000]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub cases: Option<u64>,
    /// Which of them
    #[arg(long, default_value = "1")]
    pub seed: u64,
    /// Only histories of this family
    #[arg(long, value_name = "NAME", value_parser = mix::family, conflicts_with = "guards")]
    pub family: Option<&'static str>,
    /// Guests that verify, and an enemy that rewrites their region between boots with anything it has
    /// ever held
    #[arg(long, conflicts_with = "family")]
    pub trust: bool,
    /// Regions with a key; with --trust the guests do not verify, and have the key instead
    #[arg(long, conflicts_with = "guards")]
    pub key: bool,
    /// On how many threads [default: as many as there are processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,
    /// Run this case alone: FAMILY:NUMBERS, as a failure prints it
    #[arg(long, value_name = "CASE", conflicts_with_all = ["cases", "seed", "family", "trust", "key", "jobs", "guards"])]
    pub case: Option<CaseName>,
    /// Take out each guard of the region in turn, with --trust those of digests, and show what breaks,
    /// after how many cases
    #[arg(long)]
    pub guards: bool,
    /// Only the guards whose name has this in it
    #[arg(long, value_name = "TEXT", requires = "guards")]
    pub only: Option<String>,
}

impl PowerCutArgs {
    /// Returns how many cases at least: the guard that is missed last is missed after 160,000.
    pub fn cases(&self) -> u64 {
        let usual = match (self.guards, self.trust) {
            (true, false) => 300_000,
            (_, true) => 10_000,
            (false, false) => 100_000,
        };
        self.cases.unwrap_or(usual)
    }

    /// Returns the only family that is wanted.
    pub fn family(&self) -> Option<&'static str> {
        if self.trust { Some(mix::TRUST) } else { self.family }
    }
}
