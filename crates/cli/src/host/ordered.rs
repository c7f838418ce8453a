//! Work that several threads do at once, and whose results come in the order in which it was handed
//! out.
//!
//! Always: the results are those of one thread, in its order. At most [`WINDOW`] batches a thread are
//! under way, and each has at most [`PARTS`] parts that nobody has taken yet: who makes more waits
//! for its turn. A panic of a thread is a panic of the whole.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::jobs::Jobs;

/// Batches for each thread that are under way, so that one that takes long does not keep the threads
/// from others.
const WINDOW: usize = 4;
/// Items of a batch at most: to hand one over costs more than to read a small file.
const BATCH: usize = 16;
/// Bytes of work after which a batch is handed over.
const BATCH_BYTES: u64 = 256 << 10;
/// Parts of a batch that wait for their turn.
const PARTS: usize = 2 * BATCH;

/// Nobody takes the parts of a result any more: an earlier one has ended the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwanted;

/// A function that takes the next part of a result.
pub type Emit<'e, P> = &'e mut dyn FnMut(P) -> Result<(), Unwanted>;

/// A function that takes parts in order, on the thread that hands out work.
pub type Sink<'s, P, E> = &'s mut dyn FnMut(P) -> Result<(), E>;

/// What works on an item and emits the parts of its result.
type Worker<'w, T, P> = dyn FnMut(T, Emit<'_, P>) + 'w;

/// Work under way.
pub struct Ordered<'w, T, P>(How<'w, T, P>);

enum How<'w, T, P> {
    /// One job: done by who hands it out, at once.
    Here(Box<Worker<'w, T, P>>),
    Threads(Threads<T, P>),
}

struct Threads<T, P> {
    give: SyncSender<Batch<T, P>>,
    /// The parts of each batch that was handed over, the oldest first.
    under_way: VecDeque<Receiver<P>>,
    /// How many may be under way.
    most: usize,
    /// What is not handed over yet.
    next: Vec<Step<T, P>>,
    next_bytes: u64,
}

/// What a thread does next.
enum Step<T, P> {
    Work(T),
    /// A part that needs no work.
    Made(P),
}

/// Steps, and who gets their parts.
type Batch<T, P> = (Vec<Step<T, P>>, SyncSender<P>);

/// Calls `body` with a way to hand out work to `jobs` threads. `worker` is called once in each of
/// them, and returns what is called with each item and takes the parts of its result.
pub fn ordered<T, P, W, Out>(
    jobs: Jobs,
    worker: impl Fn() -> W + Sync,
    body: impl FnOnce(&mut Ordered<'_, T, P>) -> Out,
) -> Out
where
    T: Send,
    P: Send,
    W: FnMut(T, Emit<'_, P>),
{
    let count = usize::from(jobs.count());
    if count == 1 {
        return body(&mut Ordered(How::Here(Box::new(worker()))));
    }
    let most = WINDOW * count;
    // There is room for all that is under way: to hand out never waits.
    let (give, take) = sync_channel(most);
    let (take, has_ended) = (Arc::new(Mutex::new(take)), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..count {
            // Theirs alone: what is handed out to nobody ends, where all have panicked.
            let (take, worker, has_ended) = (Arc::clone(&take), &worker, &has_ended);
            scope.spawn(move || work(&take, has_ended, worker()));
        }
        drop(take);
        let threads = Threads {
            give,
            under_way: VecDeque::with_capacity(most),
            most,
            next: Vec::with_capacity(BATCH),
            next_bytes: 0,
        };
        let out = body(&mut Ordered(How::Threads(threads)));
        // After an error there may be work that nobody waits for.
        has_ended.store(true, Relaxed);
        out
    })
}

/// Works on batches until there are no more, or the whole has ended.
fn work<T, P>(
    take: &Mutex<Receiver<Batch<T, P>>>,
    has_ended: &AtomicBool,
    mut worker: impl FnMut(T, Emit<'_, P>),
) {
    loop {
        // No thread panics while it waits for a batch.
        let next = take.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((batch, parts)) = next else { return };
        let mut emit = |part| parts.send(part).map_err(|_| Unwanted);
        for step in batch {
            match step {
                _ if has_ended.load(Relaxed) => return,
                Step::Work(item) => worker(item, &mut emit),
                // Where it is unwanted, the whole ends.
                Step::Made(part) => drop(emit(part)),
            }
        }
    }
}

impl<T, P> Ordered<'_, T, P> {
    /// Hands out an item whose work is `bytes` long. `sink` gets the parts of results that are due.
    ///
    /// # Errors
    /// Those of `sink`.
    pub fn hand_out<E>(&mut self, item: T, bytes: u64, sink: Sink<'_, P, E>) -> Result<(), E> {
        match &mut self.0 {
            How::Here(worker) => {
                let mut failed = None;
                worker(item, &mut |part| {
                    sink(part).map_err(|error| {
                        failed = Some(error);
                        Unwanted
                    })
                });
                failed.map_or(Ok(()), Err)
            }
            How::Threads(threads) => threads.add(Step::Work(item), bytes, sink),
        }
    }

    /// Adds a part that needs no work, in its order.
    ///
    /// # Errors
    /// Those of `sink`.
    pub fn add<E>(&mut self, part: P, sink: Sink<'_, P, E>) -> Result<(), E> {
        match &mut self.0 {
            How::Here(_) => sink(part),
            How::Threads(threads) => threads.add(Step::Made(part), 0, sink),
        }
    }

    /// Waits until all that was handed out has ended.
    ///
    /// # Errors
    /// Those of `sink`.
    pub fn finish<E>(&mut self, sink: Sink<'_, P, E>) -> Result<(), E> {
        match &mut self.0 {
            How::Here(_) => Ok(()),
            How::Threads(threads) => {
                threads.hand_over(sink)?;
                threads.make_room(0, sink)
            }
        }
    }
}

impl<T, P> Threads<T, P> {
    fn add<E>(&mut self, step: Step<T, P>, bytes: u64, sink: Sink<'_, P, E>) -> Result<(), E> {
        self.next.push(step);
        // What is over makes no difference.
        self.next_bytes += bytes.min(BATCH_BYTES);
        match self.next.len() == BATCH || self.next_bytes >= BATCH_BYTES {
            true => self.hand_over(sink),
            false => Ok(()),
        }
    }

    /// Hands over the next batch, unless it is empty.
    fn hand_over<E>(&mut self, sink: Sink<'_, P, E>) -> Result<(), E> {
        if self.next.is_empty() {
            return Ok(());
        }
        self.make_room(self.most - 1, sink)?;
        let (send, parts) = sync_channel(PARTS);
        self.under_way.push_back(parts);
        self.next_bytes = 0;
        let batch = std::mem::replace(&mut self.next, Vec::with_capacity(BATCH));
        // An error: all threads have panicked, and so does this one at the end.
        let _ = self.give.send((batch, send));
        Ok(())
    }

    /// Gives the oldest results to `sink` until at most `left` batches are under way.
    fn make_room<E>(&mut self, left: usize, sink: Sink<'_, P, E>) -> Result<(), E> {
        while self.under_way.len() > left
            && let Some(oldest) = self.under_way.pop_front()
        {
            oldest.into_iter().try_for_each(&mut *sink)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    /// Hands out the numbers below `count`; each gives itself as often as `parts` says.
    fn run(jobs: u8, count: usize, parts: impl Fn(usize) -> usize + Sync) -> Vec<usize> {
        let mut got = Vec::new();
        let mut sink = |part| -> Result<(), ()> {
            got.push(part);
            Ok(())
        };
        let worker = || {
            |number: usize, emit: Emit<'_, usize>| {
                // The first take longest.
                thread::sleep(Duration::from_micros(200 / (number as u64 + 1)));
                (0..parts(number)).try_for_each(|_| emit(number)).unwrap();
            }
        };
        ordered(Jobs::of(jobs), worker, |work| {
            for number in 0..count {
                match number % 7 {
                    3 => work.add(number, &mut sink).unwrap(),
                    _ => work.hand_out(number, 1000, &mut sink).unwrap(),
                }
            }
            work.finish(&mut sink).unwrap();
        });
        got
    }

    #[test]
    fn results_come_in_the_order_of_the_items_with_any_number_of_threads() {
        let parts = |number| number % 5 * 3;
        let want: Vec<usize> = (0..300)
            .flat_map(|number| vec![number; if number % 7 == 3 { 1 } else { parts(number) }])
            .collect();
        for jobs in [1, 2, 3, 16] {
            assert_eq!(run(jobs, 300, parts), want, "{jobs} jobs");
        }
    }

    #[test]
    fn the_threads_work_at_once() {
        let together = Barrier::new(4);
        let worker = || {
            |_: (), _: Emit<'_, ()>| {
                together.wait();
            }
        };
        ordered(Jobs::of(4), worker, |work| {
            (0..8).try_for_each(|_| work.hand_out((), BATCH_BYTES, &mut |()| Err(())))?;
            work.finish(&mut |()| Err(()))
        })
        .unwrap();
    }

    #[test]
    fn the_first_error_of_the_sink_ends_the_work_with_any_number_of_threads() {
        for jobs in [1, 2, 16] {
            let begun = AtomicUsize::new(0);
            let worker = || {
                |number: usize, emit: Emit<'_, usize>| {
                    begun.fetch_add(1, Ordering::Relaxed);
                    while emit(number) == Ok(()) {}
                }
            };
            let mut sink = |part| if part == 0 { Err(part) } else { Ok(()) };
            let ended = ordered(Jobs::of(jobs), worker, |work| {
                (0..1000).try_for_each(|number| work.hand_out(number, 1000, &mut sink))?;
                work.finish(&mut sink)
            });
            assert_eq!(ended, Err(0), "{jobs} jobs");
            assert!(begun.into_inner() <= WINDOW * BATCH * usize::from(jobs), "{jobs} jobs");
        }
    }

    #[test]
    fn what_is_under_way_is_bounded_while_the_first_item_takes_its_time() {
        let (jobs, ahead) = (2, AtomicUsize::new(0));
        let worker = || {
            |number: usize, emit: Emit<'_, usize>| {
                if number == 0 {
                    thread::sleep(Duration::from_millis(50));
                    assert!(ahead.load(Ordering::SeqCst) <= WINDOW * usize::from(jobs) * PARTS);
                }
                for _ in 0..100 {
                    emit(number).unwrap();
                    ahead.fetch_add(usize::from(number > 0), Ordering::SeqCst);
                }
            }
        };
        let mut count = 0;
        let mut sink = |_| -> Result<(), ()> {
            count += 1;
            Ok(())
        };
        ordered(Jobs::of(jobs), worker, |work| {
            (0..200).for_each(|number| work.hand_out(number, 1000, &mut sink).unwrap());
            work.finish(&mut sink).unwrap();
        });
        assert_eq!(count, 200 * 100);
    }

    #[test]
    fn a_panic_of_a_thread_is_one_of_the_whole() {
        for (jobs, every) in [(1, 6), (3, 6), (3, 1)] {
            let worker =
                || |number: usize, _: Emit<'_, ()>| assert_ne!(number % every, 0, "planted");
            let run = || {
                ordered(Jobs::of(jobs), worker, |work| {
                    (1..100)
                        .try_for_each(|number| work.hand_out(number, 1000, &mut |()| Err(())))?;
                    work.finish(&mut |()| Err(()))
                })
            };
            assert!(catch_unwind(AssertUnwindSafe(run)).is_err(), "{jobs} jobs");
        }
    }
}
