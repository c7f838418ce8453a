//! The options of `fleet`.

use std::path::PathBuf;

use clap::Args;

/// Counting bytes at an origin.
#[derive(Args, Clone, Debug)]
pub struct FleetArgs {
    /// How many hosts there are
    #[arg(long, default_value = "10000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub hosts: u32,
    /// How many guests a host boots
    #[arg(long, default_value = "100", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub guests: u32,
    /// How often each guest boots before the image changes
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub boots: u32,
    /// What a guest fetches: the output of `rootlet timeline LOG --json` [default: a boot that summed 40
    /// MiB of an image of 502 MiB]
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Percent of a guest's reads that are those of the trace; the others are anywhere in the image
    #[arg(long, default_value = "80", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub same: u32,
    /// Seconds over which the first boots of all guests are spread
    #[arg(long, default_value = "60", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub arrival: u32,
    /// How many hosts are below one cache of a mid-tier
    #[arg(long, default_value = "100", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub tier: u32,
    /// Milliseconds from a request to its answer; who asks for the same meanwhile waits, or asks again
    #[arg(long, default_value = "50", value_parser = clap::value_parser!(u32).range(0..=60_000))]
    pub latency: u32,
    /// Percent of caches and regions that are lost during the first boots
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub lost: u32,
    /// Percent of the image that the next release changes
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub changed: u32,
    /// Gbit/s that the origin can send
    #[arg(long, default_value = "100", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub gbit: u32,
    /// The seed of what is drawn
    #[arg(long, default_value = "1")]
    pub seed: u64,
}
