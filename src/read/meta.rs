//! The metadata cache: some 4 KiB pages of the primary device in memory.
//!
//! Always: bounded; a page holds the image's bytes, zero-filled behind the image's end.

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;

#[cfg(feature = "alloc")]
const PAGES: usize = 48;
#[cfg(not(feature = "alloc"))]
const PAGES: usize = 4;

#[cfg(feature = "alloc")]
type Memory = alloc::boxed::Box<[u8]>;
#[cfg(not(feature = "alloc"))]
type Memory = [u8; PAGE_BYTES];

#[cfg(feature = "alloc")]
fn memory() -> Memory {
    alloc::vec![0; PAGE_BYTES].into_boxed_slice()
}
#[cfg(not(feature = "alloc"))]
fn memory() -> Memory {
    [0; PAGE_BYTES]
}

#[derive(Debug)]
struct Page {
    /// Which page of the image; `None` while it holds none.
    number: Option<u64>,
    used: bool,
    bytes: Memory,
}

/// The pages and the clock's hand.
#[derive(Debug)]
pub struct MetaCache {
    pages: heapless::Vec<Page, PAGES>,
    hand: usize,
}

impl MetaCache {
    /// Allocates all pages.
    pub fn new() -> Self {
        let mut pages = heapless::Vec::new();
        for _ in 0..PAGES {
            // The vector has room for exactly these.
            let _ = pages.push(Page { number: None, used: false, bytes: memory() });
        }
        Self { pages, hand: 0 }
    }

    /// The bytes of page `number`, if they are here.
    pub fn get(&mut self, number: u64) -> Option<&[u8]> {
        let page = self.pages.iter_mut().find(|page| page.number == Some(number))?;
        page.used = true;
        Some(&page.bytes)
    }

    /// Calls `fill` with the memory of a page to give up, and keeps it as page `number` if that
    /// succeeds.
    pub fn replace<E>(
        &mut self,
        number: u64,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        // Two rounds: the first takes second chances away.
        for _ in 0..PAGES.saturating_mul(2) {
            let at = self.hand.checked_rem(PAGES).unwrap_or(0);
            self.hand = at.saturating_add(1);
            if let Some(page) = self.pages.get_mut(at)
                && !core::mem::take(&mut page.used)
            {
                page.number = None;
                fill(&mut page.bytes)?;
                page.number = Some(number);
                page.used = true;
                return Ok(());
            }
        }
        Ok(())
    }
}
