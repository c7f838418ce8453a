//! The stages of a guest, and when each was reached.

/// A stage of a guest's run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The devices are found.
    Devices,
    /// The image and its blobs are bound.
    Bound,
    /// The region is open, or there is none.
    Region,
    /// The root is mounted.
    Mounted,
    /// The command has read all that it reads.
    Read,
    /// The region is durable.
    End,
}

impl Stage {
    const ALL: [Self; 6] =
        [Self::Devices, Self::Bound, Self::Region, Self::Mounted, Self::Read, Self::End];

    /// Returns the word of the stage.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Devices => "devices",
            Self::Bound => "bound",
            Self::Region => "region",
            Self::Mounted => "mounted",
            Self::Read => "read",
            Self::End => "end",
        }
    }
}

/// The times at which a guest reached its stages, in nanoseconds since its entry.
#[derive(Clone, Debug, Default)]
pub struct Marks([Option<u64>; Stage::ALL.len()]);

impl Marks {
    /// Notes that `stage` is reached at `ns`.
    pub fn reach(&mut self, stage: Stage, ns: u64) {
        for (_, mark) in Stage::ALL.iter().zip(&mut self.0).filter(|(own, _)| **own == stage) {
            *mark = Some(ns);
        }
    }

    /// Returns the stages that were reached, in the order of [`Stage`], with their times.
    pub fn iter(&self) -> impl Iterator<Item = (Stage, u64)> {
        Stage::ALL.into_iter().zip(&self.0).filter_map(|(stage, ns)| Some((stage, (*ns)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_that_were_reached_stand_in_their_order() {
        let mut marks = Marks::default();
        marks.reach(Stage::End, 9);
        marks.reach(Stage::Bound, 3);
        assert!(marks.iter().eq([(Stage::Bound, 3), (Stage::End, 9)]));
    }
}
