//! How many files a command reads at once.

use std::thread;

use clap::Args;

/// The most threads of a command.
const MOST: u8 = 16;

/// How many files a command reads at once.
#[derive(Args, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Jobs {
    /// Read this many files at once, at most 16 [default: the processors]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=i64::from(MOST)))]
    jobs: Option<u8>,
}

impl Jobs {
    /// One file after the other.
    pub const ONE: Self = Self { jobs: Some(1) };

    /// Returns the number of threads, from 1 to 16.
    pub fn count(self) -> u8 {
        self.jobs.unwrap_or_else(|| {
            let processors = thread::available_parallelism();
            processors
                .map_or(1, |count| u8::try_from(count.get()).map_or(MOST, |count| count.min(MOST)))
        })
    }
}

#[cfg(test)]
impl Jobs {
    /// This many.
    pub const fn of(jobs: u8) -> Self {
        Self { jobs: Some(jobs) }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        jobs: Jobs,
    }

    #[test]
    fn jobs_are_one_to_sixteen_and_else_the_processors() {
        let of = |words: &[&str]| {
            Line::try_parse_from([&["line"], words].concat()).map(|line| line.jobs)
        };
        assert_eq!(of(&["--jobs", "1"]).unwrap(), Jobs::ONE);
        assert_eq!(of(&["-j16"]).unwrap().count(), 16);
        assert!((1..=MOST).contains(&of(&[]).unwrap().count()));
        for wrong in ["0", "17", "-1", "many"] {
            assert!(of(&["--jobs", wrong]).is_err(), "{wrong}");
        }
    }
}
