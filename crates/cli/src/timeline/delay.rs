//! What delayed the first byte of a file: the reads of devices before it, and the processor between.
//!
//! Always: steps follow each other without a gap from the entry to the first byte; their times sum
//! up to it.

use rootlet::storage::events::Event;

use super::model::{Timeline, is_read_of_device};

/// A part of the time before the first byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The last stage that was reached before it, or `entry`.
    pub stage: String,
    /// When it began.
    pub start_ns: u64,
    /// When it ended.
    pub end_ns: u64,
    /// The reads of devices that it was spent on, at the same time; none for the processor.
    pub reads: Vec<Event>,
}

impl Step {
    /// Returns how long it took.
    pub fn ns(&self) -> u64 {
        self.end_ns - self.start_ns
    }

    /// Returns the bytes of its reads.
    pub fn bytes(&self) -> u64 {
        self.reads.iter().map(|read| read.len).sum()
    }
}

/// Returns the steps to the first byte; none if no byte was read.
pub fn steps(timeline: &Timeline) -> Vec<Step> {
    let Some(first_byte) = timeline.first_byte_ns() else { return Vec::new() };
    let reads = timeline.events.iter().filter(|event| is_read_of_device(event));
    // By their beginnings. What ends later did not delay it.
    let mut waits: Vec<Step> = Vec::new();
    for read in reads.filter(|read| read.end_ns <= first_byte) {
        match waits.last_mut().filter(|wait| read.start_ns <= wait.end_ns) {
            Some(wait) => {
                wait.end_ns = wait.end_ns.max(read.end_ns);
                wait.reads.push(*read);
            }
            None => waits.push(Step {
                stage: String::new(),
                start_ns: read.start_ns,
                end_ns: read.end_ns,
                reads: vec![*read],
            }),
        }
    }
    let (mut steps, mut at) = (Vec::new(), 0);
    for wait in waits {
        work(timeline, &mut steps, at, wait.start_ns);
        at = wait.end_ns;
        let stage = stage(timeline, wait.start_ns);
        steps.push(Step { stage, ..wait });
    }
    work(timeline, &mut steps, at, first_byte);
    steps
}

/// Returns the `most` longest steps, in their order.
pub fn longest(steps: &[Step], most: usize) -> Vec<&Step> {
    let mut longest: Vec<(usize, &Step)> = steps.iter().enumerate().collect();
    longest.sort_by_key(|(_, step)| std::cmp::Reverse(step.ns()));
    longest.truncate(most);
    longest.sort_by_key(|(at, _)| *at);
    longest.into_iter().map(|(_, step)| step).collect()
}

/// Adds what the processor did meanwhile, cut where stages are reached.
fn work(timeline: &Timeline, steps: &mut Vec<Step>, start_ns: u64, end_ns: u64) {
    let marks = &timeline.marks;
    let inner = marks.iter().skip(marks.partition_point(|(_, ns)| *ns <= start_ns));
    let cuts = inner.map(|(_, ns)| *ns).take_while(|ns| *ns < end_ns).chain([end_ns]);
    let mut at = start_ns;
    for cut in cuts {
        if cut > at {
            let stage = stage(timeline, at);
            steps.push(Step { stage, start_ns: at, end_ns: cut, reads: Vec::new() });
            at = cut;
        }
    }
}

/// Returns the last stage that was reached at `ns`.
fn stage(timeline: &Timeline, ns: u64) -> String {
    let reached = timeline.marks.partition_point(|(_, at)| *at <= ns);
    let last = timeline.marks.iter().take(reached).next_back();
    last.map_or_else(|| "entry".into(), |(name, _)| name.clone())
}

#[cfg(test)]
mod tests {
    use super::super::model::sample;
    use super::*;

    #[test]
    fn steps_sum_up_to_the_first_byte_without_a_gap() {
        let timeline = sample();
        let steps = steps(&timeline);
        let mut at = 0;
        for step in &steps {
            assert_eq!(step.start_ns, at);
            assert!(step.end_ns > at);
            at = step.end_ns;
        }
        assert_eq!(Some(at), timeline.first_byte_ns());
        let reads = steps.iter().filter(|step| !step.reads.is_empty());
        let found: Vec<_> =
            reads.map(|step| (step.stage.as_str(), step.ns(), step.bytes())).collect();
        assert_eq!(
            found,
            [("bound", 100_000, 4096), ("bound", 500_000, 4096), ("mounted", 1_000_000, 131_072)]
        );
        assert_eq!(steps[0].stage, "entry");
    }

    #[test]
    fn reads_at_the_same_time_are_one_step() {
        let mut timeline = sample();
        let first = timeline.events.iter().position(|event| event.slot == Some(1)).unwrap();
        let mut more = timeline.events[first].with_time(5_500_000, 6_050_000);
        more.slot = Some(0);
        timeline.events.insert(first + 1, more);
        let steps = steps(&timeline);
        let last = steps.iter().rev().find(|step| !step.reads.is_empty()).unwrap();
        assert_eq!((last.reads.len(), last.ns()), (2, 1_050_000));
    }

    #[test]
    fn boot_without_a_byte_has_no_steps() {
        assert!(steps(&Timeline::default()).is_empty());
    }

    #[test]
    fn longest_steps_stand_in_their_order() {
        let timeline = sample();
        let steps = steps(&timeline);
        let longest = longest(&steps, 3);
        let found: Vec<_> = longest.iter().map(|step| step.ns()).collect();
        assert_eq!(found, [1_000_000, 1_000_000, 1_000_000]);
        assert!(longest.windows(2).all(|pair| pair[0].start_ns < pair[1].start_ns));
        assert_eq!(super::longest(&steps, 99).len(), steps.len());
        assert!(super::longest(&steps, 0).is_empty());
    }
}
