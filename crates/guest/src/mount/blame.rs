//! The source that made a read fail, by its name on the command line.
//!
//! Always: an error keeps its own words; the name comes after them.

use super::Mounted;
use crate::command::CommandError;
use crate::config::{Config, SourceName, SourceWord};
use core::fmt;
use rootlet::Error;
use rootlet::storage::DeviceId;
use rootlet_base::units::count;
use rootlet_trust::Subject;

/// An error with the name of the source that failed.
pub struct Blamed<'e, E> {
    error: &'e CommandError<E>,
    culprit: Option<(DeviceId, Culprit<'e>)>,
}

enum Culprit<'e> {
    /// The source with this name.
    Named(&'e SourceName),
    /// The source of this slot, which was found by its tag.
    Slot(Subject),
}

impl Mounted {
    /// Returns `error` with the name of the device that failed, if that is the source of a slot.
    pub fn blame<'e, E>(&self, config: &'e Config, error: &'e CommandError<E>) -> Blamed<'e, E> {
        let culprit = match error {
            CommandError::Read(_, Error::Io(io)) | CommandError::Rows(_, Error::Io(io), _) => {
                self.culprit(config, io.device).map(|culprit| (io.device, culprit))
            }
            _ => None,
        };
        Blamed { error, culprit }
    }

    fn culprit<'e>(&self, config: &'e Config, device: DeviceId) -> Option<Culprit<'e>> {
        let (layer, slot, _) = self.sources().find(|(_, _, source)| source.device == device)?;
        let name = match (layer, slot) {
            (0, 0) => config.image.as_ref(),
            (layer, slot) => config.blob(layer, slot),
        };
        Some(name.map_or(Culprit::Slot(Subject::of_layer(layer, slot)), Culprit::Named))
    }
}

impl<'e, E> Blamed<'e, E> {
    /// Returns the error in words for someone who has seen the fault of each row: with the number of
    /// rows.
    pub fn ending(&self) -> Ending<'_, 'e, E> {
        Ending(self)
    }
}

/// How a command failed, without the faults of its rows; see [`Blamed::ending`].
pub struct Ending<'b, 'e, E>(&'b Blamed<'e, E>);

impl<E: fmt::Debug> fmt::Display for Ending<'_, '_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Blamed { error, culprit }) = self;
        match error {
            CommandError::Rows(_, _, 0) => f.write_str("1 row is absent")?,
            CommandError::Rows(_, _, more) => {
                let mut rows = 1;
                count(&mut rows, *more);
                write!(f, "{rows} rows are absent")?
            }
            error => error.fmt(f)?,
        }
        write_culprit(culprit.as_ref(), f)
    }
}

impl<E: fmt::Debug> fmt::Display for Blamed<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)?;
        write_culprit(self.culprit.as_ref(), f)
    }
}

fn write_culprit(
    culprit: Option<&(DeviceId, Culprit<'_>)>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    match culprit {
        Some((device, Culprit::Named(name))) => write!(f, " ({device} is {})", SourceWord(name)),
        Some((device, Culprit::Slot(slot))) => {
            write!(f, " ({device} is the source of {slot})")
        }
        None => Ok(()),
    }
}
