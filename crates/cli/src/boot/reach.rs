//! Whether the servers of a machine's disks are there, asked before the machine is started.
//!
//! Always: QEMU itself is asked, with the very options that the machine will have, so that what opens
//! here opens there; the answer comes within [`PATIENCE`].

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};

use super::child::{Child, bound_command};
use super::monitor::Disk;
use crate::exit;
use crate::source::Source;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What QEMU does without a machine: it opens the disks, and ends.
const ALONE: [&str; 7] = ["-M", "none", "-nodefaults", "-display", "none", "-qmp", "stdio"];
const QUIT: &str = "{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"quit\"}\n";

/// Returns why the source of `disk` cannot be opened by QEMU's `program`; `None` if it can, or is a
/// raw file.
///
/// # Errors
/// QEMU cannot be started. Status 3: it lacks the driver.
pub fn away(program: &Path, disk: &Disk) -> Result<Option<String>> {
    let node = match &disk.source {
        Source::Node(node) => node,
        Source::VhostUser(socket) => return Ok(no_socket(socket)),
        Source::File(_) | Source::Web(_) | Source::Oci(_) | Source::Store(_) => return Ok(None),
    };
    let mut command = bound_command(program.as_os_str());
    command.args(ALONE).arg("-drive").arg(disk.drive("asked"));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = Child::spawn(command)?;
    let (stdin, stderr) = (child.pipes().stdin.take(), child.pipes().stderr.take());
    let mut stdin = stdin.context("QEMU's input")?;
    // QEMU that failed reads nothing, and says why.
    let _ = stdin.write_all(QUIT.as_bytes());
    let Some(status) = child.wait_for(PATIENCE)? else {
        child.stop()?;
        return Ok(Some(format!("no answer within {} s", PATIENCE.as_secs())));
    };
    if status.success() {
        return Ok(None);
    }
    let mut said = Vec::new();
    stderr.context("QEMU's output")?.read_to_end(&mut said).context("QEMU's output")?;
    let why = reason(&String::from_utf8_lossy(&said));
    match why.contains("Unknown driver") {
        true => Err(exit::stop(
            exit::SETUP,
            format!("missing: QEMU's driver for {node} (Debian: qemu-block-extra): {why}"),
        )),
        false => Ok(Some(why)),
    }
}

/// Returns why `path` is not a socket. Nobody connects to it: some daemons end with their first client.
fn no_socket(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Err(error) => Some(error.to_string()),
        Ok(stat) if !stat.file_type().is_socket() => Some("not a socket".into()),
        Ok(_) => None,
    }
}

/// Returns what QEMU says, without the options that it repeats.
fn reason(said: &str) -> String {
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
    let options = last.split_once(": -drive ").and_then(|(_, rest)| rest.split_once(": "));
    options.map_or(last, |(_, why)| why).trim().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::find_in_path;
    use std::os::unix::net::UnixListener;
    use std::thread;
    use std::time::Instant;

    fn disk(name: &str) -> Disk {
        let source = name.parse().unwrap();
        Disk { serial: "a".into(), source, read_only: true, blkdebug: None, options: None }
    }

    fn asked(name: &str) -> Option<Option<String>> {
        let Some(qemu) = find_in_path("qemu-system-x86_64") else {
            crate::note!("skipped: qemu-system-x86_64 is not installed");
            return None;
        };
        Some(away(&qemu, &disk(name)).unwrap())
    }

    #[test]
    fn options_are_not_repeated_in_a_reason() {
        let said = "qemu: -drive if=none,file.server.host=h: Failed to connect to 'h:1': refused\n";
        assert_eq!(reason(said), "Failed to connect to 'h:1': refused");
        assert_eq!(reason("x: unknown\n\n"), "x: unknown");
        assert_eq!(reason(""), "it says nothing");
    }

    #[test]
    fn server_that_is_not_there_is_away_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let name = format!("nbd+unix:///?socket={}/none", dir.path().display());
        let Some(why) = asked(&name) else { return };
        let why = why.unwrap();
        assert!(why.contains("No such file or directory"), "{why}");
        let file = dir.path().join("file");
        std::fs::write(&file, [0; 512]).unwrap();
        let why = asked(&format!("qcow2:{}", file.display())).unwrap().unwrap();
        assert!(why.contains("Image is not in qcow2 format"), "{why}");
    }

    #[test]
    fn daemon_of_a_disk_is_there_with_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        assert!(no_socket(&socket).unwrap().contains("No such file"));
        fs::write(&socket, "").unwrap();
        assert_eq!(no_socket(&socket).unwrap(), "not a socket");
        fs::remove_file(&socket).unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        assert_eq!(no_socket(&socket), None);
    }

    #[test]
    fn server_that_says_nothing_is_away_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("silent");
        let listener = UnixListener::bind(&socket).unwrap();
        let held = thread::spawn(move || listener.accept().unwrap());
        let begin = Instant::now();
        let Some(why) = asked(&format!("nbd+unix:///?socket={}", socket.display())) else {
            // Ends the thread.
            std::os::unix::net::UnixStream::connect(&socket).unwrap();
            held.join().unwrap();
            return;
        };
        assert_eq!(why.unwrap(), "no answer within 5 s");
        assert!(begin.elapsed() < PATIENCE * 4, "{:?}", begin.elapsed());
        held.join().unwrap();
    }
}
