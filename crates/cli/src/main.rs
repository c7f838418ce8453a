//! `rootlet`: looks into EROFS images, their blobs and regions, and boots them in guests.

use std::process::ExitCode;

fn main() -> ExitCode {
    rootlet_cli::app::main()
}
