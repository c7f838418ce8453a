//! Who has a file open for writing: a machine monitor, or another run of this tool.
//!
//! Always: only processes that this user may inspect are seen, so an empty answer proves nothing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Returns name and number of every other process that has `file` open for writing.
pub fn of(file: &Path) -> Vec<String> {
    let Ok(own) = fs::metadata(file) else { return Vec::new() };
    let key = |meta: &fs::Metadata| (meta.dev(), meta.ino());
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = process.file_name().to_string_lossy().into_owned();
        let Ok(pid) = name.parse::<u32>() else { continue };
        if pid == std::process::id() {
            continue;
        }
        let files = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        let holds = |entry: &fs::DirEntry| {
            // Follows to the open file, even if it has no name any more.
            let same = fs::metadata(entry.path()).is_ok_and(|meta| key(&meta) == key(&own));
            let info = process.path().join("fdinfo").join(entry.file_name());
            same && fs::read_to_string(info).is_ok_and(|info| writes(&info))
        };
        if files.into_iter().any(|entry| holds(&entry)) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            found.push(format!("{} (process {pid})", name.trim()));
        }
    }
    found
}

/// Returns whether a descriptor is open for writing, from its text in `fdinfo`
/// (proc_pid_fdinfo(5)).
fn writes(info: &str) -> bool {
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & 3 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_open_for_writing_are_held() {
        for (info, expected) in [
            ("pos:\t0\nflags:\t0100000\nmnt_id:\t1\n", false),
            ("pos:\t0\nflags:\t0100001\n", true),
            ("flags:\t02100002\n", true),
            ("pos:\t0\n", false),
        ] {
            assert_eq!(writes(info), expected, "{info}");
        }
    }
}
