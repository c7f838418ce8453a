//! The library over files of this machine: the guest's commands without a guest.
//!
//! Always: the same words mean the same as in a guest, down to the names of disks and shares.

use std::io::{self, BufWriter, Write};

use anyhow::{Context, Result, anyhow};
use rootlet::storage::Retry;
use rootlet::storage::file::FileStorage;
use rootlet_guest::bench::{BenchError, Setup};
use rootlet_guest::config::Config;
use rootlet_guest::{
    self as guest, Command, CommandError, Counters, Memory, Runner, SYNC_TIME, Scratch,
};

use crate::boot::make_cache;
use crate::check;
use crate::cli::HostArgs;
use crate::disk_file;
use crate::exit::usage;
use crate::extract;
use crate::interrupt::Interrupt;
use crate::output;
use crate::plan::{Plan, plan};
use crate::region;
use crate::verdict::Verdict;

/// Memory that the host tool lets a mount have.
const HEAP_BYTES: usize = 64 << 20;

/// The task.
pub fn task(args: &HostArgs, interrupt: &Interrupt) -> Result<()> {
    if args.source.image.is_none() {
        return Err(usage("host needs an --image FILE"));
    }
    let mut plan = plan(&args.source)?;
    make_cache(&plan, args.source.cache_size)?;
    plan.tell_versions();
    let mut config = Config::parse(&plan.append())?;
    config.cache_file = plan.cache.as_ref().map(region::quoted);
    let storage = guest::retrying(storage(&plan)?, &config);
    match Own::parse(&config.command)? {
        Some(own) => run_own(storage, &config, &own, interrupt),
        None => {
            // Nothing has to be undone: the region can lose its writer at any instant.
            interrupt.ends_the_process();
            run(storage, &config)
        }
    }
}

/// A command that only the host has.
enum Own {
    Extract(extract::Request),
    Check,
}

impl Own {
    fn parse(words: &[String]) -> Result<Option<Self>> {
        match words.split_first() {
            Some((name, words)) if name == "extract" => {
                extract::Request::parse(words).map(|request| Some(Self::Extract(request)))
            }
            Some((name, [])) if name == "check" => Ok(Some(Self::Check)),
            Some((name, _)) if name == "check" => Err(usage("too many words for check")),
            _ => Ok(None),
        }
    }

    /// How it ends if the image cannot be mounted. To whom checks it, why is the first fault, and
    /// the last.
    fn cannot_mount(&self, why: impl Into<anyhow::Error>) -> anyhow::Error {
        let why = why.into();
        let told = match self {
            Self::Check => output::line(format_args!("/: {why}")),
            Self::Extract(_) => Ok(()),
        };
        told.err().unwrap_or(why)
    }
}

fn run_own(
    mut storage: Retry<FileStorage>,
    config: &Config,
    own: &Own,
    interrupt: &Interrupt,
) -> Result<()> {
    let mut notice = |line: std::fmt::Arguments<'_>| eprintln!("{line}");
    let memory = &Memory::of(HEAP_BYTES, config)?;
    let mounted = match guest::open(&mut storage, config) {
        Ok(mounted) => mounted,
        Err(error) => return Err(own.cannot_mount(error)),
    };
    mounted.describe(config, &mut notice);
    let region =
        guest::open_region(&mut storage, config, &mounted, entropy()?, memory, &mut notice);
    let root = match mounted.root(storage, region, memory) {
        Ok(root) => root,
        Err(error) => return Err(own.cannot_mount(error)),
    };
    let result = match own {
        Own::Extract(request) => extract::task(&root, request, interrupt),
        Own::Check => check::task(&root, &mounted, interrupt),
    };
    if !root.leave(SYNC_TIME) {
        eprintln!("region  not all of it is durable");
    }
    result
}

/// The files of `plan` as the devices that a guest would see, under the same names.
fn storage(plan: &Plan) -> Result<FileStorage> {
    let mut storage = FileStorage::new();
    for disk in &plan.disks {
        disk_file::check(disk)?;
        storage
            .add_disk(&disk.serial, &disk.file, disk.read_only)
            .map_err(|error| usage(format!("{}: {error}", disk.file.display())))?;
    }
    for (tag, dir) in &plan.shares {
        storage
            .add_share(tag, dir)
            .map_err(|error| usage(format!("--share {}: {error}", dir.display())))?;
    }
    Ok(storage)
}

/// Mounts over `storage` as `config` says, and runs its command.
fn run(mut storage: Retry<FileStorage>, config: &Config) -> Result<()> {
    let command = Command::parse(&config.command).map_err(|error| usage(error.to_string()))?;
    let mut notice = |line: std::fmt::Arguments<'_>| eprintln!("{line}");
    let memory = &Memory::of(HEAP_BYTES, config)?;
    let mounted = guest::open(&mut storage, config)?;
    let stdout = BufWriter::new(io::stdout().lock());
    let entropy = entropy()?;
    let setup = Setup { config, mounted: &mounted, memory, entropy: &|| entropy };
    let counters = if let Command::Race(steps) = &command {
        guest::race::run(storage, &setup, steps, &mut Standard(stdout), &mut notice)
            .map_err(not_measured)?
    } else if let Command::Bench(paths) = &command {
        guest::bench::run(storage, &setup, paths, &mut Standard(stdout), |_| {}, &mut notice)
            .map_err(not_measured)?
    } else {
        mounted.describe(config, &mut notice);
        let region =
            guest::open_region(&mut storage, config, &mounted, entropy, memory, &mut notice);
        let root = mounted.root(storage, region, memory)?;
        let mut scratch = Scratch::new(&command, &Memory { row: Memory::ROW_MAX, ..*memory });
        let mut runner = Runner::new(&root, Standard(stdout), &mut scratch).noticed(&mut notice);
        let result = runner.run(&command);
        let files = runner.done.files;
        if !root.leave(SYNC_TIME) {
            eprintln!("region  not all of it is durable");
        }
        result.map_err(|error| match error {
            CommandError::Output(error) => output::failed(error),
            error => anyhow!("{}", mounted.blame(config, &error).ending()),
        })?;
        Counters { files, ..Counters::of(&root) }
    };
    if let Some(verdict) = Verdict::parse(&format!("PASS {counters}")) {
        eprintln!("{}", verdict.line());
    }
    Ok(())
}

fn not_measured(error: BenchError<io::Error>) -> anyhow::Error {
    match error {
        BenchError::Output(error) => output::failed(error),
        error => anyhow!("{error}"),
    }
}

/// Random bytes of this machine.
fn entropy() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    let mut source = std::fs::File::open("/dev/urandom").context("/dev/urandom")?;
    io::Read::read_exact(&mut source, &mut bytes).context("/dev/urandom")?;
    Ok(bytes)
}

/// A writer of the standard library for the library's commands.
struct Standard<W: Write>(W);

impl<W: Write> embedded_io::ErrorType for Standard<W> {
    type Error = io::Error;
}

impl<W: Write> embedded_io::Write for Standard<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Task};
    use clap::Parser;
    use rootlet::storage::Discover;
    use rootlet_guest::config::SourceName;

    #[test]
    fn the_devices_have_the_names_that_the_command_line_tells() {
        let dir = tempfile::tempdir().unwrap();
        let name = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
        for file in ["image", "b.blob", "region"] {
            std::fs::write(dir.path().join(file), [0; 512]).unwrap();
        }
        let (image, region) = (name("image"), name("region"));
        let line = [
            "rootlet",
            "host",
            "--image",
            &image,
            "--cache",
            &region,
            "--share",
            &name(""),
            "--blob",
            "1=share:b.blob",
            "--",
            "cat",
            "/a b",
        ];
        let Some(Task::Host(args)) = Cli::try_parse_from(line).unwrap().task else { panic!() };
        let plan = plan(&args.source).unwrap();
        let config = Config::parse(&plan.append()).unwrap();
        let mut storage = storage(&plan).unwrap();
        let Some(SourceName::Disk(serial)) = &config.image else { panic!("{config:?}") };
        storage.disk(serial).unwrap();
        storage.disk(&config.cache.unwrap().serial).unwrap();
        let SourceName::File { mount_tag, name } = &config.blobs[0].1 else { panic!() };
        storage.share_file(mount_tag.as_deref(), name).unwrap();
        assert_eq!(config.command, ["cat", "/a b"]);
    }
}
