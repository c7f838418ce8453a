//! `rootlet mount`: an image as a directory, compared with what Linux makes of the same image.
//!
//! Always: where this machine has no FUSE, or this user may not mount, a test says that it was
//! skipped. What a test mounts is unmounted when the test ends, however that is.

mod bad_input;
mod ends;
mod files;
mod layers;
mod linux;
mod mounted;
mod parallel;
