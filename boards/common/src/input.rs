//! Lines of what is typed, and why there is none.
//!
//! Always: a line lies in the room that is given; no byte is lost but the ends of lines.

use core::fmt;
use core::time::Duration;

use embedded_io::Read;

/// Why nothing was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputError {
    /// Nobody typed anything for this long.
    Silent(Duration),
    /// A line is longer than the room for it.
    Long {
        /// Bytes that there is room for.
        room: usize,
    },
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(time) => write!(f, "console: no input for {} s", time.as_secs()),
            Self::Long { room } => write!(f, "console: a line of more than {room} bytes"),
        }
    }
}

impl core::error::Error for InputError {}

impl embedded_io::Error for InputError {
    fn kind(&self) -> embedded_io::ErrorKind {
        match self {
            Self::Silent(_) => embedded_io::ErrorKind::TimedOut,
            Self::Long { .. } => embedded_io::ErrorKind::InvalidData,
        }
    }
}

/// Reads a line as [`Console::line`](crate::app::Console::line) does.
pub(crate) fn line<'r>(
    from: &mut impl Read<Error = InputError>,
    room: &'r mut [u8],
) -> Result<Option<&'r [u8]>, InputError> {
    let mut len = 0;
    loop {
        let mut byte = [0];
        if from.read(&mut byte)? == 0 {
            return Ok((len > 0).then_some(&room[..len]));
        }
        match (byte, room.get_mut(len)) {
            // An empty line, or the second byte of an end.
            ([b'\n' | b'\r'], _) if len == 0 => {}
            ([b'\n' | b'\r'], _) => return Ok(Some(&room[..len])),
            ([byte], Some(place)) => {
                *place = byte;
                len += 1;
            }
            (_, None) => return Err(InputError::Long { room: len }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec::Vec;
    use embedded_io::ErrorType;

    /// What is typed, and then nothing.
    struct Typed<'t>(&'t [u8]);

    impl ErrorType for Typed<'_> {
        type Error = InputError;
    }

    impl Read for Typed<'_> {
        fn read(&mut self, out: &mut [u8]) -> Result<usize, InputError> {
            let Ok(len) = self.0.read(out);
            Ok(len)
        }
    }

    #[test]
    fn lines_end_by_either_end_or_both_and_the_last_one_needs_none() {
        let mut typed = Typed(b"one\ntwo\r\n\n\rthree\rfour");
        let (mut room, mut lines) = ([0; 5], Vec::new());
        while let Some(line) = line(&mut typed, &mut room).unwrap() {
            lines.push(line.to_vec());
        }
        assert_eq!(lines, [&b"one"[..], b"two", b"three", b"four"]);
    }

    #[test]
    fn line_that_is_longer_than_its_room_is_an_error() {
        let mut typed = Typed(b"12345678\n");
        assert_eq!(line(&mut typed, &mut [0; 4]), Err(InputError::Long { room: 4 }));
    }

    #[test]
    fn input_that_does_not_come_is_an_error_with_the_time_that_it_had() {
        let error = InputError::Silent(Duration::from_secs(600));
        assert_eq!(error.to_string(), "console: no input for 600 s");
        assert_eq!(embedded_io::Error::kind(&error), embedded_io::ErrorKind::TimedOut);
    }
}
