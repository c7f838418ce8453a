//! Bytes of a device of any length, of which only pages with something written take room.
//!
//! Always: what was never written is zero; a clone shares everything until it is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::image::{Blob, Image};

const PAGE: usize = 4096;

/// The bytes of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sparse {
    bytes: u64,
    pages: Arc<BTreeMap<u64, Arc<[u8; PAGE]>>>,
}

impl Sparse {
    /// `bytes` zeros.
    pub fn zeros(bytes: u64) -> Self {
        Self { bytes, pages: Arc::default() }
    }

    /// Length in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Copies what lies at byte `at`; zeros beyond the end.
    pub fn read(&self, at: u64, out: &mut [u8]) {
        for (page, within, range) in pieces(at, out.len()) {
            match self.pages.get(&page) {
                Some(data) => {
                    let len = range.len();
                    out[range].copy_from_slice(&data[within..within + len]);
                }
                None => out[range].fill(0),
            }
        }
    }

    /// Overwrites bytes at byte `at`; what reaches beyond the end is cut off.
    pub fn write(&mut self, at: u64, data: &[u8]) {
        let room = self.bytes.saturating_sub(at).min(data.len() as u64) as usize;
        let pages = Arc::make_mut(&mut self.pages);
        for (page, within, range) in pieces(at, room) {
            if !pages.contains_key(&page) && data[range.clone()].iter().all(|byte| *byte == 0) {
                continue;
            }
            let page = pages.entry(page).or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(page)[within..within + range.len()].copy_from_slice(&data[range]);
        }
    }

    /// Cuts or extends (with zeros).
    pub fn resize(&mut self, bytes: u64) {
        if bytes < self.bytes {
            let pages = Arc::make_mut(&mut self.pages);
            pages.split_off(&bytes.div_ceil(PAGE as u64));
            let within = (bytes % PAGE as u64) as usize;
            if let Some(page) = pages.get_mut(&(bytes / PAGE as u64)) {
                Arc::make_mut(page)[within..].fill(0);
            }
        }
        self.bytes = bytes;
    }

    /// Calls `each` with every piece of 4096 bytes that has something written, and where it begins;
    /// what is left out is zero.
    pub fn for_each_page(&self, mut each: impl FnMut(u64, &[u8; PAGE])) {
        for (page, data) in &*self.pages {
            each(page * PAGE as u64, data);
        }
    }

    /// Whether the page at byte `at` is one and the same in memory; equal bytes alone are not.
    pub(super) fn shares_page(&self, at: u64, other: &Self) -> bool {
        let page = |of: &Self| of.pages.get(&(at / PAGE as u64)).map(Arc::as_ptr);
        page(self) == page(other)
    }

    /// All bytes in one piece.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = vec![0; self.bytes as usize];
        self.read(0, &mut out);
        out
    }
}

/// Page number, offset in the page, and range of the buffer of each page of a transfer.
fn pieces(at: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let here = at + done as u64;
        let within = (here % PAGE as u64) as usize;
        let start = done;
        done = len.min(start + PAGE - within);
        Some((here / PAGE as u64, within, start..done))
    })
}

impl From<&[u8]> for Sparse {
    fn from(data: &[u8]) -> Self {
        let mut sparse = Self::zeros(data.len() as u64);
        sparse.write(0, data);
        sparse
    }
}

impl From<Vec<u8>> for Sparse {
    fn from(data: Vec<u8>) -> Self {
        Self::from(data.as_slice())
    }
}

impl From<&Blob> for Sparse {
    fn from(blob: &Blob) -> Self {
        let mut sparse = Self::zeros(blob.bytes());
        sparse.write(blob.lead_bytes, &blob.data);
        sparse
    }
}

impl From<&Image> for Sparse {
    fn from(image: &Image) -> Self {
        Self::from(image.bytes())
    }
}
