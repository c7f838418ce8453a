//! Readers that are futures, in one thread, by an executor that polls who was woken.
//!
//! Always: while nobody was woken, the executor drives the mount, and waits for the devices.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::{BLOCK, BLOCKS, Mounted};
use rootlet::erofs::Inode;

type Reader<'r> = Pin<Box<dyn Future<Output = Vec<u64>> + 'r>>;

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// As [`crate::read`], and does not wait.
async fn read(root: &Mounted, inode: &Inode, data: &[u8], part: usize) -> Vec<u64> {
    let mut out = [0; BLOCK];
    let mut waits = Vec::with_capacity(BLOCKS);
    for number in 0..BLOCKS {
        let at = (part * BLOCKS + number * 89 % BLOCKS) * BLOCK;
        let start_ns = root.now_ns();
        assert_eq!(root.read(inode, at as u64, &mut out).await, Ok(BLOCK));
        waits.push(root.now_ns() - start_ns);
        assert!(out[..] == data[at..][..BLOCK]);
    }
    waits
}

/// Returns how long each read of each reader took, in nanoseconds.
pub fn read_all(root: &Mounted, data: &[u8], readers: usize) -> Vec<u64> {
    let inode = &root.metadata(b"/large").unwrap();
    let mut waits = Vec::new();
    let reader = |part| -> (Arc<Woken>, Reader<'_>) {
        (Arc::new(Woken(AtomicBool::new(true))), Box::pin(read(root, inode, data, part)))
    };
    let mut readers: Vec<(Arc<Woken>, Reader<'_>)> = (0..readers).map(reader).collect();
    while !readers.is_empty() {
        let mut is_idle = true;
        readers.retain_mut(|(woken, reader)| {
            if !woken.0.swap(false, Ordering::Relaxed) {
                return true;
            }
            is_idle = false;
            let waker = Waker::from(Arc::clone(woken));
            match reader.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(own) => {
                    waits.extend(own);
                    false
                }
                Poll::Pending => true,
            }
        });
        if is_idle && !root.drive() {
            root.storage().wait_for_job();
        }
    }
    assert_eq!(root.stats().blocked_steps, 0);
    waits
}
