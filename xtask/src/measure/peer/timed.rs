//! The lines of a race, with the moments at which they came.
//!
//! Always: a step that began has ended, under its own name; whatever else a guest writes is
//! passed over.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// What one run showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Race {
    /// From the start of the machine to the first byte of a file, by the host's clock.
    pub first_byte: Option<Duration>,
    /// The steps in their order.
    pub steps: Vec<Timed>,
    /// Whether it came to its end.
    pub done: bool,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed {
    /// Its name.
    pub name: String,
    /// Bytes of files.
    pub bytes: u64,
    /// Pieces, entries or files.
    pub ops: u64,
    /// How long it took, by the guest's clock.
    pub guest_ns: u64,
    /// How long it took, by the host's.
    pub host_ns: u64,
    /// The sum of what was read.
    pub sum: u64,
}

/// Takes the lines of a race as they come.
#[derive(Default)]
pub struct Listener {
    line: Vec<u8>,
    begun: Option<(String, Instant)>,
    first: Option<Instant>,
    race: Race,
}

impl Listener {
    /// Takes bytes that came at `at`.
    pub fn feed(&mut self, bytes: &[u8], at: Instant) -> Result<()> {
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = String::from_utf8_lossy(&self.line).trim().to_string();
            self.line.clear();
            self.take(&line, at).with_context(|| format!("`{line}`"))?;
        }
        Ok(())
    }

    fn take(&mut self, line: &str, at: Instant) -> Result<()> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "FIRSTREAD" => self.first = Some(at),
            "BEG" => {
                if let Some((name, _)) = self.begun.replace((rest.into(), at)) {
                    bail!("{name} has not ended");
                }
            }
            "END" => {
                let (name, begin) = self.begun.take().context("nothing has begun")?;
                let host_ns = u64::try_from(at.duration_since(begin).as_nanos())?;
                let step = step(rest, host_ns).context("no result")?;
                if step.name != name {
                    bail!("{name} has begun");
                }
                self.race.steps.push(step);
            }
            "DONE" => self.race.done = true,
            _ => {}
        }
        Ok(())
    }

    /// Returns the race, if it came to its end, of a machine that was started at `started`.
    pub fn finish(self, started: Instant) -> Result<Race> {
        if let Some((name, _)) = self.begun {
            bail!("the guest ended in the middle of {name}");
        }
        if !self.race.done {
            bail!("the race did not come to its end");
        }
        let first_byte = self.first.map(|at| at.duration_since(started));
        Ok(Race { first_byte, ..self.race })
    }
}

fn step(text: &str, host_ns: u64) -> Option<Timed> {
    let (name, pairs) = text.split_once(' ')?;
    let number = |key: &str| -> Option<u64> {
        let mut values = pairs.split(' ').filter_map(|pair| pair.split_once('='));
        values.find(|(own, _)| *own == key)?.1.parse().ok()
    };
    Some(Timed {
        name: name.into(),
        bytes: number("bytes")?,
        ops: number("ops")?,
        guest_ns: number("ns")?,
        host_ns,
        sum: number("sum")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(text: &str, step: usize) -> Result<Race> {
        let (started, mut listener) = (Instant::now(), Listener::default());
        for bytes in text.as_bytes().chunks(step) {
            listener.feed(bytes, Instant::now())?;
        }
        listener.finish(started)
    }

    #[test]
    fn race_is_read_however_it_is_cut_and_among_other_lines() {
        let text =
            "[ 0.1] kernel\r\nFIRSTREAD 7\r\nBEG a\r\nEND a bytes=8 ops=2 ns=9 sum=5\r\nDONE\n";
        for step in 1..text.len() {
            let race = heard(text, step).unwrap();
            assert!(race.first_byte.is_some());
            let Timed { name, bytes, ops, guest_ns, sum, .. } = &race.steps[0];
            assert_eq!((name.as_str(), *bytes, *ops, *guest_ns, *sum), ("a", 8, 2, 9, 5));
        }
    }

    #[test]
    fn race_that_makes_no_sense_is_refused() {
        for wrong in [
            "",
            "BEG a\nDONE\n",
            "BEG a\nBEG b\n",
            "END a bytes=1 ops=1 ns=1 sum=1\nDONE\n",
            "BEG a\nEND b bytes=1 ops=1 ns=1 sum=1\nDONE\n",
            "BEG a\nEND a bytes=1 ops=1 ns=1\nDONE\n",
            "BEG a\nEND a bytes=1 ops=1 ns=1 sum=1\n",
        ] {
            assert!(heard(wrong, 1).is_err(), "{wrong}");
        }
    }
}
