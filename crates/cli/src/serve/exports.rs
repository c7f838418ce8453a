//! Sockets for guests that read by vhost-user, in the hands of qemu-storage-daemon.
//!
//! Always: each socket is one guest's, and all have the bytes of the one engine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::ServeArgs;
use crate::boot::child::bound_command;
use crate::boot::daemon::Daemon;
use crate::engine::Wait;
use crate::exit;
use crate::programs::find_in_path;

/// The program.
pub const PROGRAM: &str = "qemu-storage-daemon";

/// The sockets that are asked for.
pub fn sockets(args: &ServeArgs) -> Vec<PathBuf> {
    let named = |number| {
        let mut name = args.socket.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    };
    (0..args.vhost_user).map(named).collect()
}

/// Starts the daemon, whose output goes to the file `says`; `None` if nobody wants it.
///
/// # Errors
/// Status 3: the program is missing.
pub fn start(args: &ServeArgs, says: &Path) -> Result<Option<Daemon>> {
    let sockets = sockets(args);
    let Some(last) = sockets.last() else { return Ok(None) };
    let program = find_in_path(PROGRAM).ok_or_else(|| {
        exit::stop(
            exit::SETUP,
            format!("missing: {PROGRAM}, which --vhost-user needs, is not in PATH"),
        )
    })?;
    let mut command = bound_command(program.as_os_str());
    command.args(arguments(&args.socket, &sockets));
    // It makes its sockets in their order.
    Daemon::start(command, PROGRAM, last, says, "").map(Some)
}

fn arguments(origin: &Path, sockets: &[PathBuf]) -> Vec<OsString> {
    let mut args = vec!["--blockdev".into(), {
        let node = format!(
            "driver=nbd,node-name=origin,read-only=on,reconnect-delay={},server.type=unix,\
             server.path=",
            Wait::new(None, None).monitor_s()
        );
        joined(&node, origin)
    }];
    for (number, socket) in sockets.iter().enumerate() {
        let export = format!(
            "type=vhost-user-blk,id=guest{number},node-name=origin,writable=off,num-queues=1,\
             addr.type=unix,addr.path="
        );
        args.extend(["--export".into(), joined(&export, socket)]);
    }
    args
}

/// An option whose last value is a path; QEMU wants commas in that doubled.
fn joined(option: &str, path: &Path) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut bytes = option.as_bytes().to_vec();
    for &byte in path.as_os_str().as_bytes() {
        bytes.extend_from_slice(if byte == b',' { b",," } else { std::slice::from_ref(&byte) });
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_guest_has_a_socket_of_its_own() {
        let args = ServeArgs {
            source: "https://h/x".into(),
            socket: "/run/a,b".into(),
            vhost_user: 2,
            pid_file: None,
            statistics: None,
            web: Default::default(),
        };
        let sockets = sockets(&args);
        assert_eq!(sockets, ["/run/a,b.0", "/run/a,b.1"].map(PathBuf::from));
        let words = arguments(&args.socket, &sockets);
        assert_eq!(
            words,
            [
                "--blockdev",
                "driver=nbd,node-name=origin,read-only=on,reconnect-delay=23,server.type=unix,\
                 server.path=/run/a,,b",
                "--export",
                "type=vhost-user-blk,id=guest0,node-name=origin,writable=off,num-queues=1,\
                 addr.type=unix,addr.path=/run/a,,b.0",
                "--export",
                "type=vhost-user-blk,id=guest1,node-name=origin,writable=off,num-queues=1,\
                 addr.type=unix,addr.path=/run/a,,b.1",
            ]
            .map(OsString::from)
        );
    }
}
