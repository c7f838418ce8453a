//! A race: timed steps that another guest runs, too, with a sum of what each of them read.
//!
//! Always: the words of the command say everything that is done, so that any guest can do the same;
//! the lines are `FIRSTREAD ns`, `BEG name`, `END name bytes= ops= ns= sum=`, and `DONE`.

mod run;
mod step;
mod sum;

pub use crate::bench::pieces::Pieces;
pub use run::run;
pub use step::{BATCH, PIECE_BYTES_MAX, Step, StepError, What};
pub use sum::Sum;
