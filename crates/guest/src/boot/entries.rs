//! The boot entries of an image.
//!
//! Always: an entry whose file cannot be read ends the choice, as a menu with a hole would choose
//! another system; an entry for another architecture is passed over.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use rootlet::storage::Storage;
use rootlet::{Error, PathError};
use rootlet_base::num::{OrBug, narrow};
use rootlet_handover::{Arch, Entry, HEAD_BYTES, Tries, Unified, order};

use super::choice::{Choice, Words};
use super::error::{BootError, Why};
use super::part::Part;
use crate::command::{Escaped, GuestRoot};

/// Where a loader's partition may be mounted in a system's root. Paths of an entry begin there.
const PREFIXES: [&str; 2] = ["", "/boot"];
const ENTRIES: &str = "/loader/entries";
const UNIFIED: &str = "/EFI/Linux";
/// The most entries of an image.
const ENTRIES_MAX: usize = 64;
/// The longest text of an entry or of a section.
const TEXT_BYTES_MAX: u64 = 64 << 10;

type Notice<'n> = &'n mut dyn FnMut(fmt::Arguments<'_>);

/// Returns what the words of `boot` name: a file, or one of the entries, all of which `notice` gets.
///
/// # Errors
/// [`BootError`].
pub fn choose<S: Storage>(
    root: &GuestRoot<S>,
    words: &Words,
    arch: Arch,
    notice: Notice<'_>,
) -> Result<Choice, BootError<'static>> {
    let (path, initrds, line) = match &words.path {
        Some(path) => (path.clone(), words.initrds.clone(), String::new()),
        None => {
            let entry = entry(root, words.entry.as_deref(), arch, notice)?;
            (entry.linux, entry.initrds, entry.options)
        }
    };
    let initrds = initrds.into_iter().map(Part::whole).collect();
    let mut choice = Choice { kernel: Part::whole(path), initrds, line };
    take_apart(root, &mut choice)?;
    words.append.iter().for_each(|words| choice.append(words));
    Ok(choice)
}

/// Returns the entry of this name, or the first one.
fn entry<S: Storage>(
    root: &GuestRoot<S>,
    id: Option<&str>,
    arch: Arch,
    notice: Notice<'_>,
) -> Result<Entry, BootError<'static>> {
    let mut entries = Vec::new();
    for prefix in PREFIXES {
        list(root, prefix, &mut entries)?;
    }
    entries.sort_by(order);
    let is_ours = |entry: &Entry| {
        let given = entry.architecture.as_deref();
        given.is_none_or(|given| given == arch.entry_name())
    };
    for entry in &entries {
        notice(format_args!("entry   {}", Line(entry, is_ours(entry))));
    }
    if entries.iter().any(|entry| entry.tries.is_some()) {
        notice(format_args!(
            "boot    the image is not written: counters of tries stay as they are"
        ));
    }
    let found = match id {
        Some(id) => entries.into_iter().find(|entry| entry.id == id),
        None => entries.into_iter().find(is_ours),
    };
    found.ok_or(BootError::at("", if id.is_some() { Why::NoSuchEntry } else { Why::NoEntry }))
}

/// An entry for a person.
struct Line<'e>(&'e Entry, bool);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Entry { id, title, version, tries, .. }, is_ours) = self;
        Escaped(id.as_bytes()).fmt(f)?;
        for text in [title, version].into_iter().flatten() {
            write!(f, ", {}", Escaped(text.as_bytes()))?;
        }
        if let Some(Tries { left, done }) = tries {
            write!(f, ", {left} tries left, {done} done")?;
        }
        if *is_ours { Ok(()) } else { f.write_str(", for another architecture") }
    }
}

/// Adds the entries below `prefix`.
fn list<S: Storage>(
    root: &GuestRoot<S>,
    prefix: &str,
    entries: &mut Vec<Entry>,
) -> Result<(), BootError<'static>> {
    let below = |path: &str| format!("{prefix}/{}", path.trim_start_matches('/'));
    for (stem, path) in files(root, &below(ENTRIES), ".conf", entries.len())? {
        let text = read(root, &Part::whole(path.clone()))?;
        let entry = Entry::parse(&stem, &text).map_err(|error| at(path, Why::Entry(error)))?;
        let initrds = entry.initrds.iter().map(|initrd| below(initrd)).collect();
        entries.push(Entry { linux: below(&entry.linux), initrds, ..entry });
    }
    for (stem, path) in files(root, &below(UNIFIED), ".efi", entries.len())? {
        let mut entry = Entry { linux: path.clone(), ..Entry::named(&stem) };
        let unified = unified(root, &Part::whole(path.clone()))?;
        let unified = unified.ok_or_else(|| at(path.clone(), Why::NotUnified))?;
        if let Some(range) = unified.osrel {
            let text = read(root, &Part { path: path.clone(), range: Some(range) })?;
            describe(&mut entry, &text);
        }
        if let Some(range) = unified.uname {
            let text = read(root, &Part { path, range: Some(range) })?;
            entry.version = Some(text_of(&text));
        }
        entries.push(entry);
    }
    Ok(())
}

/// Takes title and sort key of an entry from a text of os-release.
fn describe(entry: &mut Entry, text: &[u8]) {
    let text = text_of(text);
    let value = |key: &str| {
        let mut values = text.lines().filter_map(|line| line.strip_prefix(key));
        values.next().map(|value| String::from(value.trim().trim_matches(['"', '\''])))
    };
    entry.title = value("PRETTY_NAME=");
    entry.sort_key = value("IMAGE_ID=").or_else(|| value("ID="));
    entry.version = value("IMAGE_VERSION=").or_else(|| value("VERSION_ID="));
}

/// Returns a text without what fills its section, and with signs in place of bytes that are not UTF-8.
fn text_of(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).map_or(bytes.len(), |end| end);
    String::from_utf8_lossy(bytes.split_at(end).0).trim().into()
}

/// Returns the files of a directory with this suffix: each name without it, and each path. None if
/// there is no such directory.
fn files<S: Storage>(
    root: &GuestRoot<S>,
    dir: &str,
    suffix: &str,
    known: usize,
) -> Result<Vec<(String, String)>, BootError<'static>> {
    let fault = |error| at(dir.into(), Why::Read(error));
    let mut cursor = match root.read_dir(dir.as_bytes()) {
        Ok(cursor) => cursor,
        Err(Error::Path(PathError::NotFound)) => return Ok(Vec::new()),
        Err(error) => return Err(fault(error)),
    };
    let mut files = Vec::new();
    while let Some(entry) = cursor.next(root).map_err(fault)? {
        let Ok(name) = core::str::from_utf8(&entry.name) else { continue };
        let Some(stem) = name.strip_suffix(suffix) else { continue };
        if files.len().checked_add(known).is_none_or(|count| count >= ENTRIES_MAX) {
            return Err(at(dir.into(), Why::Entries(ENTRIES_MAX)));
        }
        files.push((stem.into(), format!("{dir}/{name}")));
    }
    Ok(files)
}

/// Reads a text.
fn read<S: Storage>(root: &GuestRoot<S>, part: &Part) -> Result<Vec<u8>, BootError<'static>> {
    let keep = |error: BootError<'_>| at(error.path.into(), error.why);
    let open = part.open(root).map_err(keep)?;
    if open.bytes() > TEXT_BYTES_MAX {
        let (bytes, most) = (open.bytes(), TEXT_BYTES_MAX);
        return Err(at(part.path.clone(), Why::Text { bytes, most }));
    }
    let bug = |bug: rootlet::Bug| at(part.path.clone(), Why::Read(bug.into()));
    let mut text = vec![0; narrow(open.bytes()).map_err(bug)?];
    let got = open.read(0, &mut text).map_err(keep)?;
    (got == text.len()).then_some(text).or_bug().map_err(bug)
}

/// Returns the unified image that a file is, if it is one.
fn unified<S: Storage>(
    root: &GuestRoot<S>,
    part: &Part,
) -> Result<Option<Unified>, BootError<'static>> {
    let keep = |error: BootError<'_>| at(error.path.into(), error.why);
    let mut head = vec![0; HEAD_BYTES];
    let got = part.open(root).and_then(|open| open.read(0, &mut head)).map_err(keep)?;
    Ok(head.get(..got).and_then(Unified::parse))
}

/// If the kernel of a choice is a unified image, makes the choice one of its parts. Its own command
/// line and initrd come first.
fn take_apart<S: Storage>(
    root: &GuestRoot<S>,
    choice: &mut Choice,
) -> Result<(), BootError<'static>> {
    let Some(found) = unified(root, &choice.kernel)? else { return Ok(()) };
    let path = choice.kernel.path.clone();
    let part = |range| Part { path: path.clone(), range: Some(range) };
    choice.kernel = part(found.linux);
    if let Some(range) = found.initrd {
        choice.initrds.insert(0, part(range));
    }
    if let Some(range) = found.cmdline {
        let text = text_of(&read(root, &part(range))?);
        let given = core::mem::replace(&mut choice.line, text);
        choice.append(&given);
    }
    Ok(())
}

/// Returns an error of a path that nobody keeps: the run ends with it.
fn at(path: String, why: Why) -> BootError<'static> {
    BootError::at(path.leak(), why)
}
