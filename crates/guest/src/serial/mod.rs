//! A guest's output on one serial line, in two forms: frames for a line that loses nothing, lines of
//! text for one that does.
//!
//! Always: both forms tell the guest's bytes from those of others by a checksum.

pub mod frame;
pub(crate) mod hex;
pub mod wire;

use crc::{CRC_32_ISO_HDLC, Crc};

const CHECK: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
