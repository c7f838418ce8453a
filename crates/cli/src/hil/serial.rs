//! A serial port.
//!
//! Always: raw, 8 bits, no parity, no flow control, at the rate that was asked for or not at all;
//! nothing that waited in the port from before is read.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use rustix::fs::OFlags;
use rustix::termios::{
    ControlModes, OptionalActions, QueueSelector, isatty, tcflush, tcgetattr, tcsetattr,
};

/// The rate where none is given.
const BAUD: u32 = 115_200;

/// A port and its rate: `PORT[,BAUD]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The device.
    pub path: PathBuf,
    /// Bits a second.
    pub baud: u32,
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (path, baud) = match text.rsplit_once(',') {
            Some((path, baud)) => {
                let rate = baud.parse().ok().filter(|baud| *baud > 0);
                (path, rate.ok_or_else(|| format!("`{baud}` is no rate in bits a second"))?)
            }
            None => (text, BAUD),
        };
        if path.is_empty() {
            return Err("no port given".into());
        }
        Ok(Self { path: path.into(), baud })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.path.display(), self.baud)
    }
}

impl Port {
    /// Opens the port and sets it up; reads of it do not wait.
    pub fn open(&self) -> Result<File> {
        let name = || format!("serial port {}", self.path.display());
        let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).custom_flags(flags.bits().cast_signed());
        let port = options.open(&self.path).with_context(name)?;
        if !isatty(&port) {
            bail!("{} is no serial port", self.path.display());
        }
        let mut settings = tcgetattr(&port).with_context(name)?;
        settings.make_raw();
        settings.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
        settings.control_modes &= !(ControlModes::CRTSCTS | ControlModes::CSTOPB);
        let baud = self.baud;
        settings.set_speed(baud).with_context(|| format!("{}: {baud} baud", name()))?;
        tcsetattr(&port, OptionalActions::Flush, &settings).with_context(name)?;
        let set = tcgetattr(&port).with_context(name)?.input_speed();
        if set != baud {
            bail!("{}: {baud} baud cannot be had, the nearest is {set}", name());
        }
        tcflush(&port, QueueSelector::IOFlush).with_context(name)?;
        Ok(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_and_rate_are_read() {
        let port = |text: &str| text.parse::<Port>();
        let usb = Port { path: "/dev/ttyUSB0".into(), baud: 1_500_000 };
        assert_eq!(port("/dev/ttyUSB0,1500000"), Ok(usb));
        assert_eq!(port("/dev/ttyS1").unwrap().baud, 115_200);
        for wrong in ["/dev/ttyS1,fast", "/dev/ttyS1,0", "/dev/ttyS1,-1", ",9600", ""] {
            assert!(port(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_port_is_told() {
        let plain = tempfile::NamedTempFile::new().unwrap();
        let open = |path: PathBuf| format!("{:#}", Port { path, baud: BAUD }.open().unwrap_err());
        assert!(open(plain.path().into()).contains("is no serial port"));
        let missing = open("/dev/no-such-port".into());
        assert!(missing.contains("serial port /dev/no-such-port: No such file"), "{missing}");
    }
}
