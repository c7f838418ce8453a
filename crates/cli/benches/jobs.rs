//! `sum`, `manifest`, `check` and `extract` of 10,000 small files in LZ4, with one job and with two, each
//! a run of the program. Prints medians and their ratio.
//!
//! Always: runs are in turn, and the output of all is the same. Restored files lie in the folder that
//! `ROOTLET_OUT` names, or beside the image. Where mkfs.erofs is missing, it says that it is skipped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use rootlet_sim::Rng;
use rootlet_sim::image::Content;

const FILES: usize = 10_000;
const PER_DIR: usize = 100;
/// Runs of each; figures are medians.
const RUNS: usize = 15;

/// Makes the image, unless an earlier run did.
fn image(dir: &Path) -> Result<PathBuf, String> {
    let image = dir.join("lz4.erofs");
    if image.exists() {
        return Ok(image);
    }
    let tree = dir.join("tree");
    let rng = &mut Rng::new(7);
    for number in 0..FILES {
        let home = tree.join(format!("{:02}", number / PER_DIR));
        fs::create_dir_all(&home).unwrap();
        // From 0 bytes to 64 KiB, half of them below 2 KiB.
        let bits = 6 + rng.below(11);
        let bytes = Content::words(rng.next_u64(), rng.index(1 << bits)).to_vec();
        fs::write(home.join(format!("file-{number:05}")), bytes).unwrap();
    }
    let new = dir.join("new");
    let options = ["-zlz4hc,9", "-C65536", "-T0", "--quiet"];
    let ran = Command::new("mkfs.erofs").args(options).args([&new, &tree]).output();
    let ran = ran.map_err(|error| format!("mkfs.erofs: {error}"))?;
    if !ran.status.success() {
        return Err(format!("mkfs.erofs: {}", String::from_utf8_lossy(&ran.stderr)));
    }
    fs::remove_dir_all(tree).unwrap();
    fs::rename(&new, &image).unwrap();
    Ok(image)
}

/// The seconds of one run, and its output, which goes to a file: to read a pipe would take a processor.
fn run(word: &str, image: &Path, out: &Path, jobs: usize) -> (f64, Vec<u8>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
    command.arg(word).arg(image);
    if word == "extract" {
        let _ = fs::remove_dir_all(out);
        command.arg(out);
    }
    let output = image.with_extension("output");
    command.args(["--jobs", &jobs.to_string()]).stdin(Stdio::null()).stderr(Stdio::null());
    command.stdout(File::create(&output).unwrap());
    let start = Instant::now();
    let status = command.status().unwrap();
    let seconds = start.elapsed().as_secs_f64();
    assert!(status.success(), "{word}");
    (seconds, fs::read(output).unwrap())
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn main() {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-jobs");
    fs::create_dir_all(&dir).unwrap();
    let image = match image(&dir) {
        Ok(image) => image,
        Err(why) => return println!("skipped: {why}"),
    };
    let out = std::env::var_os("ROOTLET_OUT").map_or_else(|| dir.clone(), PathBuf::from);
    let out = out.join("rootlet-bench-jobs");
    println!("| 10,000 files, LZ4 | 1 job, ms | 2 jobs, ms | ratio |\n|-|-:|-:|-:|");
    for word in ["sum", "manifest", "check", "extract"] {
        let (mut one, mut two) = (Vec::new(), Vec::new());
        // The first is a warm-up.
        for number in 0..=RUNS {
            let ran = [1, 2].map(|jobs| run(word, &image, &out, jobs));
            assert!(ran[0].1 == ran[1].1, "{word}");
            if number > 0 {
                one.push(ran[0].0);
                two.push(ran[1].0);
            }
        }
        let [one, two] = [one, two].map(|seconds| median(seconds) * 1e3);
        println!("| {word} | {one:.0} | {two:.0} | {:.2} |", one / two);
    }
    let _ = fs::remove_dir_all(out);
}
