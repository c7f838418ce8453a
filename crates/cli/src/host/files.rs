//! `stat`, `cat`, `sum` and `manifest`: the guest's commands over several paths.
//!
//! Always: the image is mounted once; a path that cannot be read has a line on standard error, and
//! the command continues with the next.

use std::io::{self, BufWriter};

use anyhow::Result;
use data_encoding::HEXLOWER;
use rootlet::Error;
use rootlet::erofs::FileKind;
use rootlet::read::{PATH_BYTES_MAX, XATTR_BYTES_MAX};
use rootlet_guest::{AtPath, Command, CommandError, Done, List, Memory, Runner, Scratch};
use serde_json::{Map, Value, json};

use super::args::{FilesArgs, StatArgs, named, paths};
use super::jobs::Jobs;
use super::many::{self, HandedOut, Tally};
use super::ordered::ordered;
use super::row;
use crate::exit::{self, FAILED};
use crate::interrupt::Interrupt;
use crate::note;
use crate::output;
use crate::progress::Progress;
use crate::source::{Opened, Standard, open, open_for};

/// What to do with each path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Show everything known of it.
    Stat,
    /// Write its bytes.
    Cat,
    /// Write its sum, or those of all files below it.
    Sum,
    /// Write one JSON object for everything below it.
    Manifest,
}

impl Verb {
    /// The list whose rows several threads can make.
    fn list(self) -> Option<List> {
        match self {
            Self::Stat | Self::Cat => None,
            Self::Sum => Some(List::Sum),
            Self::Manifest => Some(List::Manifest),
        }
    }

    /// The guest's command.
    fn command(self, path: &str) -> Command {
        let path = path.to_string();
        match self {
            Self::Stat => Command::Stat(path),
            Self::Cat => Command::Cat(path),
            Self::Sum => Command::Sum(path),
            Self::Manifest => Command::Manifest(path),
        }
    }
}

/// Runs the command over every path. With more than one job, files are read at once.
pub fn task(verb: Verb, args: &FilesArgs, jobs: Jobs, interrupt: &Interrupt) -> Result<()> {
    let image = named(args.image.as_ref(), &args.read.source)?;
    if verb == Verb::Cat && args.paths.is_empty() {
        return Err(exit::usage("no PATH given (see --help)"));
    }
    // Nothing has to be undone: the region can lose its writer at any instant.
    interrupt.ends_the_process();
    let opened = open_for(jobs.count(), image, &args.read.source, args.read.verbose)?;
    let mut files = 0;
    let result = each(&args.paths, |path| match one(&opened, verb, path, jobs) {
        Ok(done) => {
            files += done.files;
            Ok(None)
        }
        Err(CommandError::Output(error)) => Err(output::failed(error)),
        Err(error) => Ok(Some(opened.mounted.blame(&opened.config, &error).ending().to_string())),
    });
    opened.end(files, &result);
    result
}

/// Calls `one` for every path; `one` returns why the path failed, or an error that ends the command.
///
/// # Errors
/// That error; a path has failed, which is printed then.
fn each(named: &[String], mut one: impl FnMut(&str) -> Result<Option<String>>) -> Result<()> {
    let mut result = Ok(());
    for path in paths(named) {
        if let Some(why) = one(path)? {
            note!("rootlet: {why}");
            result = Err(exit::stop(FAILED, ""));
        }
    }
    result
}

/// Runs the command over one path.
#[expect(clippy::result_large_err, reason = "the runner's error, made once a path")]
fn one(
    opened: &Opened,
    verb: Verb,
    path: &str,
    jobs: Jobs,
) -> Result<Done, CommandError<io::Error>> {
    let (root, command) = (&opened.root, verb.command(path));
    let memory = Memory { row: Memory::ROW_MAX, ..opened.memory };
    let mut scratch = Scratch::new(&command, &memory);
    let progress = Progress::of_bytes(match root.metadata(path.as_bytes()) {
        Ok(inode) if inode.kind() == FileKind::Regular => Some(inode.size()),
        _ => None,
    });
    let tally = Tally::new(&progress);
    let mut notice = |line: std::fmt::Arguments<'_>| progress.suspend(|| output::notice(line));
    let mut watch = |done: Done| tally.show(tally.and(done));
    let out = Standard(BufWriter::new(io::stdout().lock()));
    let runner = Runner::new(root, out, &mut scratch);
    let mut runner = runner.noticed(&mut notice).watched(&mut watch);
    match verb.list().filter(|_| jobs.count() > 1) {
        None => runner.run(&command)?,
        Some(list) => {
            let maker = || many::maker(root, list, Scratch::new(&command, &memory), &tally);
            ordered(jobs, maker, |work| runner.run_by(&command, &mut HandedOut(work)))?;
        }
    }
    let done = runner.done;
    Ok(tally.and(done))
}

/// `stat`, as rows for a program where that is asked for.
pub fn stat(args: &StatArgs, interrupt: &Interrupt) -> Result<()> {
    if !args.json {
        return task(Verb::Stat, &args.files, Jobs::ONE, interrupt);
    }
    let files = &args.files;
    interrupt.ends_the_process();
    let opened = open(
        named(files.image.as_ref(), &files.read.source)?,
        &files.read.source,
        files.read.verbose,
    )?;
    let result = each(&files.paths, |path| match object(&opened, path.as_bytes()) {
        Ok(row) => output::line(format_args!("{row}")).map(|()| None),
        Err(error) => Ok(Some(AtPath(path.as_bytes(), &error).to_string())),
    });
    opened.end(0, &result);
    result
}

/// All that is known of a file.
fn object(opened: &Opened, path: &[u8]) -> Result<Value, Error> {
    let inode = opened.root.symlink_metadata(path)?;
    let mut target = vec![0; PATH_BYTES_MAX];
    let target = match inode.kind() {
        FileKind::Symlink => Some(opened.root.read_link_inode(&inode, &mut target)?),
        _ => None,
    };
    let mut row = row::json(path, &inode, target);
    let mut xattrs = Map::new();
    opened.root.xattrs(&inode, &mut vec![0; XATTR_BYTES_MAX], |name, value| {
        let name = String::from_utf8_lossy(&name.parts().concat()).into_owned();
        xattrs.insert(name, json!(HEXLOWER.encode(value)));
        Ok(())
    })?;
    row["extended"] = json!(inode.extended());
    row["xattr"] = Value::Object(xattrs);
    Ok(row)
}
