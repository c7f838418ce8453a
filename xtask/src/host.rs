//! The library over files of this machine: the guest's commands without a guest.
//!
//! Always: the same words mean the same as in a guest, down to the names of disks and shares.

use anyhow::{Context, Result, bail};
use rootlet::command::config::Config;
use rootlet::storage::file::FileStorage;

use crate::boot::make_cache;
use crate::cli::HostArgs;
use crate::exit::usage;
use crate::plan::{Plan, plan};

/// The task.
pub fn task(args: &HostArgs) -> Result<()> {
    if args.source.image.is_none() {
        return Err(usage("host needs an --image FILE"));
    }
    let plan = plan(&args.source)?;
    make_cache(&plan, args.source.cache_size)?;
    let config = Config::parse(&plan.append())?;
    run(storage(&plan)?, &config)
}

/// The files of `plan` as the devices that a guest would see, under the same names.
fn storage(plan: &Plan) -> Result<FileStorage> {
    let mut storage = FileStorage::new();
    for disk in &plan.disks {
        storage
            .add_disk(&disk.serial, &disk.file, disk.read_only)
            .map_err(|error| usage(format!("{}: {error}", disk.file.display())))?;
    }
    for (tag, dir) in &plan.shares {
        storage.add_share(tag, dir).with_context(|| dir.display().to_string())?;
    }
    Ok(storage)
}

/// The seam to the library: `config` is what a guest would read from its command line.
fn run(storage: FileStorage, config: &Config) -> Result<()> {
    // WIRING: mount over `storage` and run `config.command`, with its output on standard output;
    // then judge as `boot::show` does.
    drop(storage);
    bail!("not wired to the library yet (command `{}`)", config.command.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Task};
    use clap::Parser;
    use rootlet::command::config::SourceName;
    use rootlet::storage::Discover;

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
