//! Threads that take turns: one runs at a time, and a seed says which is next.
//!
//! Always: a thread gives its turn away only where it lets others run ([`Turns::pass`]), so the same
//! seed takes the same course, whatever the processors do.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::Rng;

thread_local! {
    /// The number of this thread among those that take turns.
    static OWN: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Turns after which the threads wait for each other.
const PASSES_MAX: u64 = 5_000_000;

/// The turns of some threads.
pub struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    rng: Rng,
    /// The threads that have not ended.
    alive: Vec<usize>,
    /// The thread whose turn it is.
    turn: Option<usize>,
    passes: u64,
}

impl Turns {
    /// Turns that the seed decides.
    pub fn new(seed: u64) -> Self {
        let state = State { rng: Rng::new(seed), alive: Vec::new(), turn: None, passes: 0 };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Runs `count` threads of `body`, which is given their number, until all have ended.
    ///
    /// # Panics
    /// If one of them panics.
    pub fn run(&self, count: usize, body: impl Fn(usize) + Sync) {
        {
            let mut state = self.lock();
            state.alive = (0..count).collect();
            state.next();
        }
        std::thread::scope(|scope| {
            for number in 0..count {
                let body = &body;
                scope.spawn(move || {
                    OWN.set(Some(number));
                    let _ends = Ends(self, number);
                    self.wait_for(self.lock(), number);
                    body(number);
                });
            }
        });
    }

    /// Gives the turn to another thread, or to this one again. Does nothing in a thread that takes no
    /// turns.
    ///
    /// # Panics
    /// After millions of turns: the threads wait for each other.
    pub fn pass(&self) {
        let Some(own) = OWN.get() else { return };
        let mut state = self.lock();
        state.passes += 1;
        let is_stuck = state.passes == PASSES_MAX;
        state.next();
        self.changed.notify_all();
        self.wait_for(state, own);
        assert!(!is_stuck, "the threads wait for each other");
    }

    /// How often a turn was given away.
    pub fn passes(&self) -> u64 {
        self.lock().passes
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for(&self, state: MutexGuard<'_, State>, own: usize) {
        let state = self.changed.wait_while(state, |state| state.turn != Some(own));
        drop(state.unwrap_or_else(PoisonError::into_inner));
    }
}

impl State {
    fn next(&mut self) {
        let place = (!self.alive.is_empty()).then(|| self.rng.index(self.alive.len()));
        self.turn = place.map(|place| self.alive[place]);
    }
}

/// Takes a thread out of the turns when it ends, by a panic too.
struct Ends<'t>(&'t Turns, usize);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.alive.retain(|other| *other != self.1);
        state.next();
        self.0.changed.notify_all();
    }
}
