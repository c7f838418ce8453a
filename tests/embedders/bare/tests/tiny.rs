//! The user without a heap, over the smallest image.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use embedder_bare::{
    Blocks, Queue, fault, figures, files, mount, mount_bound, mount_slots, say, sum, sum_async,
    target,
};
use rootlet::read::Memory;
use rootlet::{Error, PathError};

static TINY: &[u8] = include_bytes!("../../../data/tiny.erofs");
static OTHER: &[u8] = &[0x5a; 8192];

fn memory() -> &'static mut Memory {
    Box::leak(Box::new(Memory::new()))
}

#[test]
fn disk_that_waits_is_read() {
    let root = mount(TINY, memory()).unwrap();
    assert_eq!(sum(&root, b"/hello"), Ok((6, 0xf893_4173)));
    assert_eq!(sum(&root, b"/link"), sum(&root, b"/hello"));
    assert_eq!(files(&root, b"/"), Ok(3));
    assert_eq!(target(&root, b"/link", &mut [0; 16]), Ok(&b"hello"[..]));
    assert_eq!(sum(&root, b"/none"), Err(Error::Path(PathError::NotFound)));
    let (asked, batches) = figures(&root);
    assert!(asked >= 12 && batches > 0, "{asked} bytes in {batches} batches");
}

#[test]
fn storage_with_names_is_read() {
    static DISKS: &[(&str, &[u8])] = &[("other", OTHER), ("root", TINY)];
    let root = mount_bound(Queue(DISKS), "root", memory()).unwrap();
    assert_eq!(sum(&root, b"/hello").unwrap().0, 6);
    let error = mount_bound(Queue(DISKS), "none", memory()).unwrap_err();
    assert_eq!(fault(&error), "the path");
}

#[test]
fn two_futures_read_at_once_in_lent_slots() {
    let root = mount_slots(TINY, Box::leak(Box::new(Blocks::new())), memory()).unwrap();
    let slots = root.storage();
    let (mut one, mut other) = (pin!(sum_async(&root, b"/long")), pin!(sum_async(&root, b"/long")));
    let (mut first, mut second, mut most) = (Poll::Pending, Poll::Pending, 0);
    let context = &mut Context::from_waker(Waker::noop());
    while first.is_pending() || second.is_pending() {
        if first.is_pending() {
            first = one.as_mut().poll(context);
        }
        if second.is_pending() {
            second = other.as_mut().poll(context);
        }
        most = most.max(slots.queue().under_way());
    }
    assert_eq!(first, Poll::Ready(sum(&root, b"/long")));
    assert_eq!(second, Poll::Ready(sum(&root, b"/long")));
    assert_eq!((most, slots.blocked_reads()), (2, 0), "reads of both were under way at once");
}

#[test]
fn disk_without_an_image_is_an_error_with_a_name() {
    let failed = mount(OTHER, memory()).unwrap_err();
    let mut said = String::new();
    say(&failed.error, &mut said).unwrap();
    assert!(said.starts_with("the image: ") && said.len() > 20, "{said}");
}
