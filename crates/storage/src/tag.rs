//! Tags: the names of background jobs; and the table of one user's jobs under way.
//!
//! Always: a tag of the library names one job of one user. The tag of a job that comes back twice,
//! after its user gave it up, or to another user is unknown there.

use alloc::vec::Vec;

use super::atomic::{AtomicU32, Ordering};

/// The name of a background job.
///
/// An embedder names its own jobs by numbers: `Tag::from(7)`. Only the library makes the tags of
/// its own jobs, and no number equals one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag(Name);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Name {
    Number(u64),
    Library {
        user: u32,
        place: u32,
        /// The number of jobs that had departed from the place.
        departure: u64,
    },
}

impl Tag {
    /// Returns the number by which an embedder named the job; `None` for a job of the library.
    pub fn number(self) -> Option<u64> {
        match self.0 {
            Name::Number(number) => Some(number),
            Name::Library { .. } => None,
        }
    }
}

impl From<u64> for Tag {
    fn from(number: u64) -> Self {
        Self(Name::Number(number))
    }
}

/// The jobs of one user that are under way, each with its user's record.
#[derive(Debug)]
pub struct UnderWay<T> {
    /// The number of the user: unique until 2^32 further users were made.
    user: u32,
    places: Vec<Place<T>>,
}

#[derive(Debug)]
struct Place<T> {
    departures: u64,
    /// The record of the job that departed last; `None` if the job has ended.
    known: Option<T>,
}

impl<T> UnderWay<T> {
    /// Returns the table of a new user, without jobs. Allocates room for `jobs` jobs: as long as no
    /// more are under way, nothing else is allocated.
    pub fn with_capacity(jobs: usize) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Self { user: NEXT.fetch_add(1, Ordering::Relaxed), places: Vec::with_capacity(jobs) }
    }

    /// Returns the number of the user, which no other user of this program has until 2^32 further
    /// users were made.
    pub fn user(&self) -> u32 {
        self.user
    }

    /// Keeps the record `known` of a job that is about to start, and returns the job's tag; `None`
    /// if 2^32 jobs are under way.
    pub fn depart(&mut self, known: T) -> Option<Tag> {
        let free = self.places.iter().position(|place| place.known.is_none());
        let index = free.unwrap_or(self.places.len());
        let number = u32::try_from(index).ok()?;
        if free.is_none() {
            self.places.push(Place { departures: 0, known: None });
        }
        let place = self.places.get_mut(index)?;
        // One departure each nanosecond fills 64 bits in 584 years.
        place.departures = place.departures.wrapping_add(1);
        place.known = Some(known);
        let (user, departure) = (self.user, place.departures);
        Some(Tag(Name::Library { user, place: number, departure }))
    }

    /// Returns the record of the job with this tag; `None` if the job is not under way.
    pub fn get_mut(&mut self, tag: Tag) -> Option<&mut T> {
        self.known_mut(tag)?.as_mut()
    }

    /// Ends the job with this tag, and returns its record; `None` if the job is not under way.
    pub fn end(&mut self, tag: Tag) -> Option<T> {
        self.known_mut(tag)?.take()
    }

    fn known_mut(&mut self, tag: Tag) -> Option<&mut Option<T>> {
        let Name::Library { user, place, departure } = tag.0 else { return None };
        let place = self.places.get_mut(usize::try_from(place).ok()?)?;
        (user == self.user && departure == place.departures).then_some(&mut place.known)
    }

    /// Returns whether this user started the job with this tag, at any time.
    pub fn owns(&self, tag: Tag) -> bool {
        matches!(tag.0, Name::Library { user, .. } if user == self.user)
    }

    /// Returns the records of all jobs.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|place| place.known.as_ref())
    }

    /// Returns the records of all jobs, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().filter_map(|place| place.known.as_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depart(jobs: &mut UnderWay<char>, known: char) -> Tag {
        jobs.depart(known).unwrap_or(Tag::from(0))
    }

    #[test]
    fn job_that_comes_back_twice_is_not_the_one_that_took_its_place() {
        let mut jobs = UnderWay::with_capacity(1);
        let first = depart(&mut jobs, 'a');
        assert_eq!(jobs.end(first), Some('a'));
        assert_eq!(jobs.end(first), None, "the place is empty");
        let second = depart(&mut jobs, 'b');
        assert_eq!(jobs.places.len(), 1, "the place is used again");
        assert_eq!(jobs.get_mut(first), None);
        assert_eq!(jobs.end(first), None);
        assert_eq!(jobs.get_mut(second), Some(&mut 'b'));
        assert!(jobs.owns(first) && jobs.owns(second));
    }

    #[test]
    fn users_know_their_own_jobs_alone() {
        let (mut one, mut other) = (UnderWay::with_capacity(1), UnderWay::with_capacity(1));
        let (tag, same) = (depart(&mut one, 'a'), depart(&mut other, 'b'));
        assert_ne!(tag, same);
        assert_eq!((other.end(tag), one.end(same)), (None, None));
        assert!(one.owns(tag) && !other.owns(tag));
    }

    #[test]
    fn number_of_an_embedder_is_never_a_job_of_the_library() {
        let mut jobs = UnderWay::with_capacity(1);
        let tags: Vec<Tag> = (0..4).map(|_| depart(&mut jobs, 'a')).collect();
        for number in [0, 1, 2, 1 << 32, 1 << 48, 1 << 48 | 1, u64::MAX] {
            let tag = Tag::from(number);
            assert_eq!((tag.number(), jobs.end(tag)), (Some(number), None));
            assert!(!jobs.owns(tag) && !tags.contains(&tag));
        }
        assert!(tags.iter().all(|tag| tag.number().is_none()));
    }

    #[test]
    fn places_are_used_again_before_there_are_more() {
        let mut jobs = UnderWay::with_capacity(1);
        for _ in 0..100 {
            let (a, b) = (depart(&mut jobs, 'a'), depart(&mut jobs, 'b'));
            assert_eq!(jobs.iter().copied().collect::<Vec<_>>(), ['a', 'b']);
            assert_eq!((jobs.end(b), jobs.end(a)), (Some('b'), Some('a')));
        }
        assert_eq!((jobs.places.len(), jobs.iter().count()), (2, 0));
    }
}
