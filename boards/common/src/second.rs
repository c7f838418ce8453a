//! A second processor, which works beside the first for one call.
//!
//! Always: work that is offered is taken once or withdrawn; [`Second::beside`] returns only after
//! the second processor has ended the work or can no longer take it, so the work may borrow; before
//! and after that the second processor halts.

use core::fmt;
use core::hint::spin_loop;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

use crate::{arch, exit};

/// Work for the second processor.
pub type Work<'w> = &'w (dyn Fn() + Sync);

/// One of the following.
static STATE: AtomicU8 = AtomicU8::new(NONE);
/// Nothing was offered yet.
const NONE: u8 = 0;
/// The second processor may take the work.
const OFFERED: u8 = 1;
/// The second processor works.
const TAKEN: u8 = 2;
/// The second processor has ended its work.
const ENDED: u8 = 3;
/// The first processor has taken the offer back.
const WITHDRAWN: u8 = 4;

/// Where the work is, while it is offered or taken.
static WORK: AtomicPtr<Work<'static>> = AtomicPtr::new(null_mut());

/// Why there is no second processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// No memory for its stacks.
    Memory,
    /// The machine has no way to start one that is known here.
    NoWay,
    /// The machine has only one.
    Alone,
    /// It had not come when the work was done.
    Late,
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "there is no memory for its stacks",
            Self::NoWay => "nothing is known that starts one",
            Self::Alone => "the device tree has only one",
            Self::Late => "none came",
        })
    }
}

/// A second processor that can be started.
pub struct Second(arch::Start);

impl Second {
    /// Allocates what a second processor needs.
    ///
    /// # Errors
    ///
    /// [`Absent`].
    pub fn prepare() -> Result<Self, Absent> {
        arch::Start::prepare().map(Self)
    }

    /// Runs `work` on the second processor, and `here` on this one at the same time. Returns whether
    /// the second processor took part: not if it had not come when `here` ended.
    pub fn beside(self, work: Work<'_>, here: impl FnOnce()) -> bool {
        let place: *const Work<'_> = &raw const work;
        WORK.store(place.cast_mut().cast(), Ordering::Relaxed);
        let was = STATE.swap(OFFERED, Ordering::Release);
        assert_eq!(was, NONE, "there is one second processor, and it works once");
        self.0.start();
        here();
        let (order, failed) = (Ordering::Relaxed, Ordering::Relaxed);
        if STATE.compare_exchange(OFFERED, WITHDRAWN, order, failed).is_ok() {
            return false;
        }
        // Ends as the work does, or with the machine.
        while STATE.load(Ordering::Acquire) != ENDED {
            if exit::has_begun() {
                arch::halt();
            }
            spin_loop();
        }
        true
    }
}

/// Takes the work, if it is still offered, and does it. The second processor calls this once, and
/// halts after it.
pub(crate) fn take() {
    let (order, failed) = (Ordering::Acquire, Ordering::Relaxed);
    if STATE.compare_exchange(OFFERED, TAKEN, order, failed).is_err() {
        return;
    }
    // SAFETY: `beside` stored the place before it offered the work, and it does not return before
    // the state is `ENDED`: until then the place and all that the work borrows are alive.
    let work = unsafe { *WORK.load(Ordering::Relaxed) };
    work();
    STATE.store(ENDED, Ordering::Release);
}
