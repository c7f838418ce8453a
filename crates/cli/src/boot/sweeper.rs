//! What a boot made on the side, removed even if the tool is killed.
//!
//! Always: it waits until the program has ended or was killed, removes the files that are left, and
//! ends.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::boot::virtiofsd;

/// Reads to the end of its input, which comes when nobody can write any more.
const SCRIPT: &str = r#"trap '' INT TERM HUP; read -r _; rm -rf -- "$@""#;

/// A process that outlives the tool by a moment.
#[derive(Debug)]
pub struct Sweeper(Option<Child>);

impl Sweeper {
    /// Watches over `dir` and the lock files of the daemons that listen on `sockets`.
    pub fn start(dir: &Path, sockets: &[PathBuf]) -> Self {
        let locks = sockets.iter().map(|socket| virtiofsd::lock_file(socket));
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "sh"]).arg(dir).args(locks);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Without it, a tool that is killed leaves an empty folder: no reason not to boot.
        Self(command.spawn().ok())
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // Ends the input of the child. An error reaches nobody here.
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn folder_is_removed_once_the_watched_process_is_gone() {
        let around = tempfile::tempdir().unwrap();
        let dir = around.path().join("it's a folder; \"$1\"");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("socket"), b"").unwrap();
        let sweeper = Sweeper::start(&dir, &[around.path().join("fs.sock")]);
        assert!(dir.join("socket").exists());
        // As if the tool were killed: the kernel closes its end of the pipe.
        drop(sweeper);
        assert!(!dir.exists());
        assert!(around.path().exists());
    }
}
