//! The first and only program of the Linux guest that rootlet is compared with: loads modules,
//! mounts what rootlet mounts, runs the steps of a race and ends the machine.
//!
//! Always: it takes the steps from the library, so that both guests read the same pieces of the
//! same files and sum them alike; it writes the lines that rootlet writes.
//!
//! The initramfs has beside it, each with one entry a line:
//! - `/modules`: paths of modules, in the order in which they are loaded;
//! - `/disks`: serials, that of the image first, then those of its device slots;
//! - `/share`: the mount tag of a share, if there is one;
//! - `/settings`: `FILE=VALUE`, to be written once all is mounted;
//! - `/steps`: the steps.

mod machine;
mod read;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use rootlet_guest::race::{Step, Sum, What};

use machine::Machine;
use read::Done;

/// Where the image is mounted.
pub const ROOT: &str = "/root";
/// Where the share is mounted.
pub const SHARE: &str = "/mnt";

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!("this is the first program of a guest: `cargo run -- bench --peer linux`");
        return ExitCode::FAILURE;
    }
    match run() {
        Ok(()) => println!("PASS"),
        Err(error) => println!("FAIL {error:#}"),
    }
    machine::end()
}

fn lines(file: &str) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter(|line| !line.is_empty()).map(Into::into).collect()
}

fn run() -> Result<()> {
    let steps: Vec<Step> = lines("/steps")
        .iter()
        .map(|word| Step::parse(word).context("a step"))
        .collect::<Result<_>>()?;
    let mut machine = Machine::start(&lines("/modules"), &lines("/disks"), &lines("/share"))?;
    machine.set(&lines("/settings"))?;
    let mut memory = read::Memory::new();
    for Step { name, what, path } in &steps {
        match what {
            What::First => {
                read::first(path)?;
                println!("FIRSTREAD {}", machine::now_ns());
            }
            What::Fresh => machine.forget()?,
            _ => {
                if let What::Again(_) = what {
                    read::step(&machine, *what, path, &mut memory)?;
                }
                println!("BEG {name}");
                let begin = machine::now_ns();
                let done = read::step(&machine, *what, path, &mut memory);
                let ns = machine::now_ns() - begin;
                let Done { bytes, ops, sum: Sum(sum) } =
                    done.with_context(|| format!("{name}: {path}"))?;
                println!("END {name} bytes={bytes} ops={ops} ns={ns} sum={sum}");
            }
        }
    }
    if steps.is_empty() {
        bail!("there are no steps");
    }
    println!("DONE");
    Ok(())
}
