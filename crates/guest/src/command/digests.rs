//! Digests of files, made by several processors, and taken in the order in which they were asked for.
//!
//! Always: at most [`PLACES`] digests are asked for and not yet taken; each is made once; nothing is
//! allocated.

use super::run::{GuestRoot, catch_up};
use heapless::Deque;
use rootlet::Error;
use rootlet::erofs::Inode;
use rootlet::storage::{Spin, Storage};
use sha2::{Digest as _, Sha256};
use spin::mutex::SpinMutex as Mutex;

/// The SHA-256 of a file.
pub type Digest = [u8; 32];

/// How far a list may be ahead of the file that is slowest to sum.
pub const PLACES: usize = 16;

/// A digest that is asked for.
enum Place {
    Asked(Inode),
    Begun,
    Made(Result<Digest, Error>),
}

struct State {
    /// The oldest first.
    places: Deque<Place, PLACES>,
    /// Digests that have been taken: the number of the oldest place.
    taken: u64,
    /// Whether nothing more will be asked for.
    is_closed: bool,
}

/// The digests of a list.
pub struct Digests(Mutex<State>);

/// What there is to do.
enum Next {
    /// To make the digest with this number.
    Make(u64, Inode),
    Wait,
    /// Nothing, for good.
    Nothing,
}

impl Default for Digests {
    fn default() -> Self {
        Self(Mutex::new(State { places: Deque::new(), taken: 0, is_closed: false }))
    }
}

impl Digests {
    /// Asks for the digest of a file. Returns false, and does nothing, if there is no place.
    pub fn ask(&self, file: &Inode) -> bool {
        self.0.lock().places.push_back(Place::Asked(*file)).is_ok()
    }

    /// Says that nothing more is asked for: helpers end when all is made.
    pub fn close(&self) {
        self.0.lock().is_closed = true;
    }

    /// Takes the digest that was asked for first; makes it, or others, until it is made. `None` if
    /// none is asked for.
    pub fn take<S: Storage>(&self, root: &GuestRoot<S>) -> Option<Result<Digest, Error>> {
        let mut wait = Spin::default();
        loop {
            if let Some(made) = self.take_made()? {
                return Some(made);
            }
            self.make_one(root, &mut wait);
        }
    }

    /// Takes the digest that was asked for first, if it is made; the outer `None` is that none is
    /// asked for.
    fn take_made(&self) -> Option<Option<Result<Digest, Error>>> {
        let state = &mut *self.0.lock();
        if matches!(state.places.front()?, Place::Made(_))
            && let Some(Place::Made(made)) = state.places.pop_front()
        {
            state.taken = state.taken.wrapping_add(1);
            return Some(Some(made));
        }
        Some(None)
    }

    /// Makes digests as they are asked for, until [`Digests::close`].
    pub fn help<S: Storage>(&self, root: &GuestRoot<S>) {
        let mut wait = Spin::default();
        while self.make_one(root, &mut wait) {}
    }

    /// Makes a digest, or waits for a moment if none is to be begun. Returns whether there may be
    /// more to do.
    fn make_one<S: Storage>(&self, root: &GuestRoot<S>, wait: &mut Spin) -> bool {
        let next = self.next();
        match next {
            Next::Make(number, file) => {
                let made = digest(root, &file);
                self.end(number, made);
                *wait = Spin::default();
            }
            Next::Wait => {
                if let Some(ns) = wait.round() {
                    root.storage().rest(ns);
                }
            }
            Next::Nothing => return false,
        }
        true
    }

    fn next(&self) -> Next {
        let state = &mut *self.0.lock();
        for (number, place) in (state.taken..).zip(&mut state.places) {
            if let Place::Asked(file) = *place {
                *place = Place::Begun;
                return Next::Make(number, file);
            }
        }
        if state.is_closed { Next::Nothing } else { Next::Wait }
    }

    fn end(&self, number: u64, made: Result<Digest, Error>) {
        let state = &mut *self.0.lock();
        let mut places = (state.taken..).zip(&mut state.places);
        let place = places.find(|(at, _)| *at == number);
        // A place is taken only after its digest was made.
        if let Some((_, place @ Place::Begun)) = place {
            *place = Place::Made(made);
        } else {
            panic!("digest {number} was made and is not asked for");
        }
    }
}

/// Reads a file, and returns its digest.
fn digest<S: Storage>(root: &GuestRoot<S>, file: &Inode) -> Result<Digest, Error> {
    let mut stream = root.stream_inode(*file)?;
    let mut hash = Sha256::new();
    loop {
        let bytes = stream.lend()?;
        if bytes.is_empty() {
            return Ok(hash.finalize().into());
        }
        let len = bytes.len();
        hash.update(bytes);
        stream.advance(len);
        catch_up(root);
    }
}
