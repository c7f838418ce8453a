//! An executor of futures whose seed says which is polled next.
//!
//! Always: a future is polled only after a wake, so one that loses a wake is noticed; the same seed
//! takes the same course.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::Rng;

/// Calls of `drive` without a wake after which one was lost.
const DRIVES_MAX: usize = 20_000;

/// A future of an executor.
pub type Task<'t, T> = Pin<Box<dyn Future<Output = T> + 't>>;

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// Polls `tasks` until all are done, and calls `drive` between polls: always when no task was woken,
/// with the number of such calls since the last poll. Returns their results in order.
///
/// # Panics
/// If no task is woken for long: a wake was lost.
pub fn join<T>(rng: &mut Rng, tasks: Vec<Task<'_, T>>, drive: impl Fn(usize)) -> Vec<T> {
    let flags: Vec<Arc<Flag>> =
        tasks.iter().map(|_| Arc::new(Flag(AtomicBool::new(true)))).collect();
    let mut tasks: Vec<Option<Task<'_, T>>> = tasks.into_iter().map(Some).collect();
    let mut results: Vec<Option<T>> = tasks.iter().map(|_| None).collect();
    let mut drives = 0;
    while results.iter().any(Option::is_none) {
        let is_ready = |at: &usize| tasks[*at].is_some() && flags[*at].0.load(Ordering::Acquire);
        let ready: Vec<usize> = (0..tasks.len()).filter(is_ready).collect();
        if ready.is_empty() || rng.below(8) == 0 {
            drive(drives);
            drives += 1;
            assert!(drives < DRIVES_MAX, "a wake was lost");
            continue;
        }
        drives = 0;
        let at = ready[rng.index(ready.len())];
        flags[at].0.store(false, Ordering::Release);
        let waker = Waker::from(Arc::clone(&flags[at]));
        let Some(task) = &mut tasks[at] else { continue };
        if let Poll::Ready(result) = task.as_mut().poll(&mut Context::from_waker(&waker)) {
            (results[at], tasks[at]) = (Some(result), None);
        }
    }
    results.into_iter().flatten().collect()
}

/// Returns the result of `future`, and the number of its polls; `None` if it is not ready after
/// `polls_max` of them: then it is dropped.
pub async fn within<T>(polls_max: usize, future: impl Future<Output = T>) -> Option<(T, usize)> {
    let mut future = pin!(future);
    let mut polls = 0;
    std::future::poll_fn(|context| {
        if polls == polls_max {
            return Poll::Ready(None);
        }
        polls += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some((value, polls))),
            // The future that is given up may have asked for no wake.
            Poll::Pending if polls == polls_max => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
