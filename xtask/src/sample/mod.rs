//! The sample: what a bare `cargo run` shows.
//!
//! Always: it passes only if every row of the guest's manifest equals the host's own sums, in
//! both boots, and the second boot fetched nothing.

pub mod fixture;
pub mod tree;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;

use rootlet_sim::image::Spread;

use crate::boot;
use crate::boot::build;
use crate::sample::fixture::{Fixture, Recipe};
use crate::setup;
use rootlet_cli::boot::guest::Report;
use rootlet_cli::boot::{BootArgs, Firmware, LogLevel};
use rootlet_cli::interrupt::Interrupt;
use rootlet_cli::region;
use rootlet_cli::rows::{differences, parse_rows};
use rootlet_cli::size::human;
use rootlet_cli::source::BlobPlace;
use rootlet_cli::timeline;

static RECIPE: Recipe = Recipe {
    folder: "rootlet-sample",
    tree: tree::sample,
    chunk_bits: tree::CHUNK_BITS,
    spread: Spread::RoundRobin,
    blobs: &["a.blob", "b.blob", "c.blob"],
    region_bytes: 64 << 20,
};

/// Makes the sample, boots it twice, and compares.
pub fn task(args: &BootArgs, interrupt: &Interrupt) -> Result<()> {
    let sample = Sample(Fixture::make(&RECIPE, interrupt)?);
    let args = sample.0.arguments(args, &["manifest".into(), "/".into()]);
    setup::ensure(&boot::needs(&args))?;
    let firmware =
        build::board(args.machine.board(), rootlet_cli::boot::level(&args), args.machine.verbose)?;
    sample.introduce(&args, &firmware)?;
    sample.0.clear_region()?;
    eprintln!("\nboot 1, with an empty region");
    let first = sample.boot(&args, &firmware, interrupt)?;
    eprintln!("\nboot 2, with the region as boot 1 left it");
    let second = sample.boot(&args, &firmware, interrupt)?;
    let picture = sample.0.dir.join("region.svg");
    region::draw(&sample.0.region(), &picture)?;
    eprintln!("  picture   {}", picture.display());
    if let Some(file) = &args.machine.timeline {
        let titles = ["boot 1, with an empty region", "boot 2, with the region of boot 1"];
        timeline::draw(&[(titles[0], &first), (titles[1], &second)], file)?;
        eprintln!("  timeline  {}", file.display());
    }
    match (fetched(&first), fetched(&second)) {
        (Some(first), Some(0)) if first > 0 => {
            eprintln!("\nPASS  all files equal to the host's sums, twice; boot 2 fetched 0 bytes");
            Ok(())
        }
        (Some(0), _) => bail!("boot 1 claims to have fetched nothing into an empty region"),
        (Some(_), Some(bytes)) => bail!("boot 2 fetched {} again", human(bytes)),
        _ => bail!("the verdict names no fetched bytes"),
    }
}

fn fetched(report: &Report) -> Option<u64> {
    report.verdict.as_ref().and_then(|verdict| verdict.number("fetched_bytes"))
}

struct Sample(Fixture);

impl Sample {
    fn introduce(&self, args: &BootArgs, firmware: &Firmware) -> Result<()> {
        let fixture = &self.0;
        let (files, bytes) = tree::file_bytes(&fixture.rows);
        let (chunk, blobs) = (human(1 << RECIPE.chunk_bits), RECIPE.blobs.len());
        eprintln!(
            "sample    {files} files, {}, in chunks of {chunk} over {blobs} blobs",
            human(bytes)
        );
        eprintln!("          {}", fixture.dir.display());
        line("image", &fixture.image(), "virtio-blk, serial image")?;
        for number in 0..blobs {
            let place = match &args.source.blob[number].place {
                BlobPlace::Share(name) => format!("virtio-fs, share:{name} on mount tag share"),
                BlobPlace::Disk(_) => format!("virtio-blk, serial blob{}", number + 1),
            };
            line(&format!("slot {}", number + 1), &fixture.blob(number), &place)?;
        }
        let region = human(RECIPE.region_bytes);
        eprintln!("{:9} {:12} {region:>9}  virtio-blk, serial cache", "region", "region.img");
        let machine = &args.machine;
        let accel = machine.accel()?.name();
        let name = machine.board().package();
        let monitor = machine.monitor.name();
        let loaded = human(firmware.loaded_bytes());
        eprintln!(
            "machine   {name}, {monitor}, {} of RAM, {accel}, firmware {loaded}",
            human(machine.mem.0)
        );
        Ok(())
    }

    /// Boots once, compares every row, prints the cost of the boot, and returns the report.
    fn boot(&self, args: &BootArgs, firmware: &Firmware, interrupt: &Interrupt) -> Result<Report> {
        let mut output = Vec::new();
        let shown = args.machine.log.unwrap_or(LogLevel::Warn);
        let report = rootlet_cli::boot::run(args, firmware, shown, interrupt, &mut |bytes, _| {
            output.extend_from_slice(bytes);
            Ok(())
        })?;
        report.judge()?;
        let rows = parse_rows(&output)?;
        compare(&self.0.rows, &rows)?;
        eprintln!("  checked   {0} of {0} rows equal to the host's sums", rows.len());
        if let Some(verdict) = &report.verdict {
            let bytes = |name: &str| verdict.number(name).map_or("?".into(), human);
            eprintln!(
                "  bytes     asked {}, fetched {}, kept {}",
                bytes("asked_bytes"),
                bytes("fetched_bytes"),
                bytes("kept_bytes")
            );
            let ms = |time: Duration| time.as_secs_f64() * 1e3;
            let first = verdict.number("first_byte_us").map_or(0.0, |us| us as f64 / 1e3);
            eprintln!(
                "  time      entry to first file byte {first:.1} ms; exec to first output {:.0} ms, \
                 to the end {:.0} ms",
                report.first_output.map_or(0.0, ms),
                ms(report.total)
            );
            if args.machine.verbose {
                eprintln!("  verdict   {}", verdict.line());
            }
        }
        Ok(report)
    }
}

/// Prints what the guest is given, its size, and how the guest knows it.
fn line(what: &str, file: &Path, place: &str) -> Result<()> {
    let bytes = fs::metadata(file)?.len();
    let name = file.file_name().unwrap_or_default().display().to_string();
    eprintln!("{what:9} {name:12} {:>9}  {place}", human(bytes));
    Ok(())
}

/// Returns an error, after the first rows that differ were shown.
fn compare(expected: &[Value], found: &[Value]) -> Result<()> {
    match differences(expected, found) {
        (0, _) => Ok(()),
        (count, shown) => {
            eprintln!("{}", shown.join("\n"));
            bail!("{count} rows differ from the host's sums")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_that_differs_or_is_missing_fails_the_sample() {
        let rows = [json!({"path": "/"}), json!({"path": "/a", "size": 1})];
        compare(&rows, &rows).unwrap();
        assert!(compare(&rows, &rows[..1]).is_err());
        assert!(compare(&rows[..1], &rows).is_err());
        let wrong = [rows[0].clone(), json!({"path": "/a", "size": 2})];
        assert!(compare(&rows, &wrong).unwrap_err().to_string().starts_with("1 rows"));
    }
}
