//! Foreground batches: the data and the nodes that it needs in one batch.
//!
//! Always: a transfer ends well with checked bytes, or with an error and zeros; bytes that are wrong
//! are read at most once more.

use alloc::vec::Vec;
use core::ops::Range;

use rootlet_base::num::Bug;
use rootlet_storage::{DeviceId, IoErrorKind, Lent, Storage, Transfer, Vouch};

use crate::Verified;
use crate::check::{Fault, Paths, result};
use crate::pin::Pin;

impl<S: Storage> Verified<S> {
    /// Runs a batch in which transfers are of pinned devices.
    pub(crate) fn run_pinned<'b>(
        &self,
        batch: &mut [Transfer<'b>],
        done: &mut dyn FnMut(usize, &mut Transfer<'b>),
    ) {
        let mut left: Vec<&mut Transfer<'b>> = Vec::with_capacity(batch.len());
        for transfer in batch.iter_mut() {
            match self.asked(transfer) {
                Some((_, Err(kind))) => {
                    if let Lent::Read(out) = &mut transfer.lent {
                        out.fill(0);
                    }
                    transfer.result = Some(Err(kind));
                }
                _ => left.push(transfer),
            }
        }
        self.attempt_all(&mut left);
        let again = |transfer: &&mut Transfer<'_>| {
            self.is_pinned(transfer.device) && transfer.result == Some(Err(IoErrorKind::Untrue))
        };
        left.retain(again);
        self.attempt_all(&mut left);
        for (index, transfer) in batch.iter_mut().enumerate() {
            done(index, transfer);
        }
    }

    /// Runs the transfers, as many at once as there is memory for their nodes.
    fn attempt_all(&self, transfers: &mut [&mut Transfer<'_>]) {
        let mut rest = transfers;
        while !rest.is_empty() {
            let (mut paths, mut found, mut count) = (Paths::default(), Ok(()), 0_usize);
            for transfer in &*rest {
                if count > 0 && !self.has_room(transfer, &paths) {
                    break;
                }
                if let Some((pin, Ok(blocks))) = self.asked(transfer) {
                    found = found.and_then(|()| self.find_paths(pin, blocks, &mut paths));
                }
                count = count.wrapping_add(1);
            }
            let (now, later) = rest.split_at_mut(count);
            self.attempt(now, paths, found);
            rest = later;
        }
    }

    /// Returns whether a batch that needs these nodes may also have those of a transfer: as many as it
    /// has at most.
    fn has_room(&self, transfer: &Transfer<'_>, paths: &Paths) -> bool {
        let Some(pin) = self.pins.get(&transfer.device) else { return true };
        let all = paths.bytes().checked_add(pin.nodes_bytes(transfer.len()));
        all.is_some_and(|all| all <= self.batch_nodes_bytes())
    }

    /// Runs the transfers, and checks what those of pinned devices brought.
    fn attempt(
        &self,
        transfers: &mut [&mut Transfer<'_>],
        mut paths: Paths,
        found: Result<(), Bug>,
    ) {
        let mut inner: Vec<Transfer<'_>> = Vec::with_capacity(transfers.len());
        for transfer in transfers.iter_mut() {
            let pin = self.pins.get(&transfer.device);
            let (device, at) = (transfer.device, transfer.at);
            inner.push(match (&mut transfer.lent, pin) {
                (Lent::Read(out), Some(pin)) => {
                    let (data, zeros) = out.split_at_mut(pin.read_bytes(at, out.len()));
                    zeros.fill(0);
                    Transfer::read(device, at, data)
                }
                (Lent::Read(out), None) => {
                    // A tree's nodes lie on another device, at another byte.
                    let (device, at) = self.below(device, at);
                    Transfer::read(device, at, out)
                }
                (Lent::Write(data), _) => Transfer::write(device, at, data),
                (Lent::Flush, _) => Transfer::flush(device),
            });
        }
        let own = inner.len();
        inner.extend(paths.transfers());
        self.storage.run(&mut inner, &mut |_, _| {});
        let results: Vec<_> = inner.iter().map(result).collect();
        drop(inner);
        let (own, nodes) = results.split_at(own);
        paths.ended(nodes);
        for (transfer, read) in transfers.iter_mut().zip(own) {
            transfer.result = Some(match self.pins.get(&transfer.device) {
                None => read.and_then(|()| self.judge_tree(transfer)),
                Some(pin) => {
                    let read = read.map_err(Fault::Io).and(found.map_err(Fault::from));
                    let judged = read.and_then(|()| self.judge(transfer, &mut paths));
                    judged.map_err(|fault| {
                        if let Lent::Read(out) = &mut transfer.lent {
                            out.fill(0);
                        }
                        self.blame(pin, fault)
                    })
                }
            });
        }
    }

    /// Returns the pin that a read is of, and the blocks that it asks for.
    fn asked(&self, transfer: &Transfer<'_>) -> Option<(&Pin, Result<Range<u64>, IoErrorKind>)> {
        let Lent::Read(out) = &transfer.lent else { return None };
        let pin = self.pins.get(&transfer.device)?;
        if pin.is_absent() {
            return Some((pin, Err(IoErrorKind::Gone)));
        }
        let fits = pin.info.check_transfer(transfer.at, out.len());
        Some((pin, fits.and_then(|()| pin.blocks(transfer.at, out.len()))))
    }

    /// Returns the device and the byte that a read of a tree is of; what was asked for if it is of no
    /// tree. A tree whose source is not there is on no device.
    fn below(&self, device: DeviceId, at: u64) -> (DeviceId, u64) {
        match self.tree_of(device).map(|pin| pin.place_of(at)) {
            None => (device, at),
            Some(place) => place.map_or((DeviceId::NONE, at), |place| place),
        }
    }

    /// Checks what a read of a tree has brought, as far as its parents are known.
    fn judge_tree(&self, transfer: &Transfer<'_>) -> Result<(), IoErrorKind> {
        let (Some(pin), Lent::Read(data)) = (self.tree_of(transfer.device), &transfer.lent) else {
            return Ok(());
        };
        match self.vouch_nodes(pin, transfer.at, data) {
            Vouch::Wrong => Err(IoErrorKind::Untrue),
            Vouch::Right | Vouch::Unknown => Ok(()),
        }
    }

    /// Checks what a transfer has brought.
    fn judge(&self, transfer: &Transfer<'_>, paths: &mut Paths) -> Result<(), Fault> {
        let (Some((pin, blocks)), Lent::Read(data)) = (self.asked(transfer), &transfer.lent) else {
            return Ok(());
        };
        let blocks = blocks.map_err(Fault::Io)?;
        let leaves = self.leaves(pin, blocks.clone(), paths)?;
        self.check(pin, blocks, data, &leaves)
    }
}
