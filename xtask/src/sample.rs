//! The sample: what a bare `cargo run` shows.
//!
//! Always: it passes only if every row of the guest's manifest equals the host's own sums, in
//! both boots, and the second boot fetched nothing.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, bail};
use rootlet_sim::image::{FileLayout, Options, Spread, build};
use serde_json::Value;

use crate::accel;
use crate::boot;
use crate::build::{self, Firmware};
use crate::cli::{BlobArg, BlobPlace, BootArgs, CacheArg, LogLevel};
use crate::guest::Report;
use crate::interrupt::Interrupt;
use crate::setup;
use crate::size::human;
use crate::tree;

/// The region's disk in bytes.
const REGION_BYTES: u64 = 64 << 20;
/// How many differing rows are shown.
const DIFFERENCES_MAX: usize = 5;
const BLOBS: [&str; 3] = ["a.blob", "b.blob", "c.blob"];
/// Which of the blobs the guest finds on the share.
const SHARED: usize = 2;

/// The files of the sample.
pub struct Sample {
    dir: PathBuf,
    /// What a correct reader reports.
    rows: Vec<Value>,
}

/// The task.
pub fn task(args: &BootArgs, interrupt: &Interrupt) -> Result<()> {
    let sample = Sample::make(interrupt)?;
    let args = sample.arguments(args);
    setup::ensure(&boot::needs(&args))?;
    let firmware = build::board(args.machine.board, boot::level(&args), args.machine.verbose)?;
    sample.introduce(&args, &firmware)?;
    sample.clear_region()?;
    eprintln!("\nboot 1, with an empty region");
    let first = sample.boot(&args, &firmware, interrupt)?;
    eprintln!("\nboot 2, with the region as boot 1 left it");
    let second = sample.boot(&args, &firmware, interrupt)?;
    let fetched = |report: &Report| {
        let verdict = report.verdict.as_ref();
        verdict.and_then(|verdict| verdict.number("fetched_bytes"))
    };
    match (fetched(&first), fetched(&second)) {
        (Some(first), Some(0)) if first > 0 => {
            eprintln!(
                "\nPASS  every file equal to the host's sums, twice; the second boot fetched 0 bytes"
            );
            Ok(())
        }
        (Some(0), _) => bail!("boot 1 claims to have fetched nothing into an empty region"),
        (Some(_), Some(bytes)) => bail!("boot 2 fetched {} again", human(bytes)),
        _ => bail!("the verdict names no fetched bytes"),
    }
}

impl Sample {
    /// Makes the files, or takes those that are there if nothing that made them has changed.
    pub fn make(interrupt: &Interrupt) -> Result<Self> {
        let dir = build::target_directory()?.join("rootlet-sample");
        let mut sample = Self { dir, rows: Vec::new() };
        if let Some(rows) = sample.kept_rows() {
            sample.rows = rows;
            return Ok(sample);
        }
        let bar = build::spinner(format!("making {}", sample.dir.display()));
        fs::create_dir_all(sample.share()).with_context(|| sample.dir.display().to_string())?;
        let tree = tree::sample();
        sample.rows = tree::rows(&tree, interrupt)?;
        let built = build(&tree, &options()).context("the sample's image")?;
        built.image.write_to(&sample.image())?;
        for (number, blob) in built.blobs.iter().enumerate() {
            blob.write_to(&sample.blob(number))?;
        }
        let text: String = sample.rows.iter().map(|row| format!("{row}\n")).collect();
        fs::write(sample.manifest(), text)?;
        // Last: an interrupted making leaves no stamp that fits.
        fs::write(sample.dir.join("stamp"), sample.stamp()?)?;
        bar.finish_and_clear();
        Ok(sample)
    }

    fn share(&self) -> PathBuf {
        self.dir.join("share")
    }

    fn image(&self) -> PathBuf {
        self.dir.join("image.erofs")
    }

    fn manifest(&self) -> PathBuf {
        self.dir.join("manifest.jsonl")
    }

    fn region(&self) -> PathBuf {
        self.dir.join("region.img")
    }

    fn blob(&self, number: usize) -> PathBuf {
        let dir = if number == SHARED { self.share() } else { self.dir.clone() };
        dir.join(BLOBS[number])
    }

    fn files(&self) -> impl Iterator<Item = PathBuf> {
        std::iter::once(self.image()).chain((0..BLOBS.len()).map(|number| self.blob(number)))
    }

    /// The rows that were kept with files that still are what was made.
    fn kept_rows(&self) -> Option<Vec<Value>> {
        let stamp = fs::read_to_string(self.dir.join("stamp")).ok()?;
        if stamp != self.stamp().ok()? {
            return None;
        }
        parse(&fs::read(self.manifest()).ok()?).ok()
    }

    /// Size and time of what was made and of what made it: the tree, the layout and the builder
    /// are all in the tool itself.
    fn stamp(&self) -> Result<String> {
        let mut stamp = String::new();
        for file in self.files().chain([self.manifest(), std::env::current_exe()?]) {
            let meta = fs::metadata(&file)?;
            let time = meta.modified()?.duration_since(UNIX_EPOCH)?.as_nanos();
            stamp.push_str(&format!("{} {} {time}\n", file.display(), meta.len()));
        }
        Ok(stamp)
    }

    /// The arguments that boot the sample, on the machine that the user wants.
    pub fn arguments(&self, args: &BootArgs) -> BootArgs {
        let mut args = args.clone();
        args.source.image = Some(self.image());
        args.source.blob = (0..BLOBS.len())
            .map(|number| BlobArg {
                slot: u16::try_from(number + 1).unwrap_or_default(),
                place: match number {
                    SHARED => BlobPlace::Share(BLOBS[number].into()),
                    _ => BlobPlace::File(self.blob(number)),
                },
            })
            .collect();
        args.source.share = vec![self.share()];
        args.source.cache = Some(CacheArg { file: self.region(), sectors: None });
        args.source.words = vec!["manifest".into(), "/".into()];
        args
    }

    /// Makes the region's disk anew, all zero.
    pub fn clear_region(&self) -> Result<()> {
        let name = self.region();
        let file = File::create(&name).with_context(|| name.display().to_string())?;
        file.set_len(REGION_BYTES).with_context(|| name.display().to_string())
    }

    fn introduce(&self, args: &BootArgs, firmware: &Firmware) -> Result<()> {
        let (files, bytes) = tree::file_bytes(&self.rows);
        let chunk = human(1 << tree::CHUNK_BITS);
        eprintln!("sample    {files} files, {}, in chunks of {chunk} over 3 blobs", human(bytes));
        eprintln!("          {}", self.dir.display());
        let line = |what: &str, file: &Path, place: &str| -> Result<()> {
            let bytes = fs::metadata(file)?.len();
            let name = file.file_name().unwrap_or_default().display().to_string();
            eprintln!("{what:9} {name:12} {:>9}  {place}", human(bytes));
            Ok(())
        };
        line("image", &self.image(), "virtio-blk, serial image")?;
        for number in 0..BLOBS.len() {
            let place = match number {
                SHARED => "virtio-fs, share:c.blob on mount tag share".to_string(),
                _ => format!("virtio-blk, serial blob{}", number + 1),
            };
            line(&format!("slot {}", number + 1), &self.blob(number), &place)?;
        }
        let region = human(REGION_BYTES);
        eprintln!("{:9} {:12} {region:>9}  virtio-blk, serial cache", "region", "region.img");
        let machine = &args.machine;
        let accel = accel::choose(machine.accel, machine.board.arch())?.name();
        let name = machine.board.package();
        let loaded = human(firmware.loaded_bytes());
        eprintln!("machine   {name}, {} of RAM, {accel}, firmware {loaded}", human(machine.mem.0));
        Ok(())
    }

    /// Boots once, compares every row, and says what it cost.
    fn boot(&self, args: &BootArgs, firmware: &Firmware, interrupt: &Interrupt) -> Result<Report> {
        let mut output = Vec::new();
        let shown = args.machine.log.unwrap_or(LogLevel::Warn);
        let report = boot::run(args, firmware, shown, interrupt, &mut |bytes, _| {
            output.extend_from_slice(bytes);
            Ok(())
        })?;
        report.judge()?;
        let rows = parse(&output)?;
        compare(&self.rows, &rows)?;
        eprintln!("  checked   {0} of {0} rows equal to the host's sums", rows.len());
        if let Some(verdict) = &report.verdict {
            let bytes = |name: &str| verdict.number(name).map_or("?".into(), human);
            eprintln!(
                "  bytes     asked {}, fetched {}, kept {}",
                bytes("asked_bytes"),
                bytes("fetched_bytes"),
                bytes("kept_bytes")
            );
            let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
            let first = verdict.number("first_byte_us").map_or(0.0, |us| us as f64 / 1e3);
            eprintln!(
                "  time      entry to first file byte {first:.1} ms; exec to first output {:.0} ms, \
                 to the end {:.0} ms",
                report.first_output.map_or(0.0, ms),
                ms(report.total)
            );
            eprintln!("  verdict   {}", verdict.line());
        }
        Ok(report)
    }
}

fn options() -> Options {
    Options {
        layout: FileLayout::ChunkIndexes,
        chunk_bits: tree::CHUNK_BITS,
        blobs: 3,
        spread: Spread::RoundRobin,
        tags: BLOBS.iter().map(|name| name.as_bytes().to_vec()).collect(),
        volume: *b"rootlet-sample\0\0",
        ..Options::default()
    }
}

fn parse(output: &[u8]) -> Result<Vec<Value>> {
    let lines = output.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            serde_json::from_slice(line)
                .with_context(|| format!("the guest printed `{}`", String::from_utf8_lossy(line)))
        })
        .collect()
}

/// An error that shows the first rows that differ.
fn compare(expected: &[Value], found: &[Value]) -> Result<()> {
    let mut differences = Vec::new();
    for at in 0..expected.len().max(found.len()) {
        let (want, have) = (expected.get(at), found.get(at));
        if want != have {
            let show = |row: Option<&Value>| row.map_or("nothing".into(), Value::to_string);
            differences.push(format!(
                "row {at}\n  expected {}\n  found    {}",
                show(want),
                show(have)
            ));
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    let count = differences.len();
    differences.truncate(DIFFERENCES_MAX);
    let mut stderr = std::io::stderr();
    // Standard error may be closed; the error below is what counts.
    let _ = writeln!(stderr, "{}", differences.join("\n"));
    bail!("{count} rows differ from the host's sums")
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
        assert!(parse(b"{\"path\": \"/\"}\nnot json\n").is_err());
    }
}
