//! What pins a device: a text, and the proof that it is true.
//!
//! Always: a device is pinned after its proof, and once; what was read of a device ahead of its proof
//! proves nothing by itself.

use alloc::vec;
use alloc::vec::Vec;

use rootlet_base::num::{Bug, OrBug, narrow};
use rootlet_storage::{DeviceId, DeviceInfo, Storage, Transfer};
use rootlet_trust::{Spec, Subject};

use crate::Verified;
use crate::objects::{OBJECTS, Objects};
use crate::pin::{NODE_BYTES, Pin, PinError};
use crate::prove::{Head, Prover, Without, whole};

/// The most devices that are read ahead at once.
pub const AHEAD_MAX: usize = 32;

/// A device that is going to be pinned.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// What the device is.
    pub subject: Subject,
    /// The device.
    pub device: DeviceId,
    /// The text that pins the device.
    pub spec: &'a Spec<'a>,
    /// The device of its tree; `None` if that is the same.
    pub tree: Option<DeviceId>,
    /// The lengths in bytes that its data may have, beside the device's own.
    pub lengths: &'a [u64],
}

impl<'a> Ask<'a> {
    /// Returns a device with its tree on the same device, of the device's length.
    pub fn new(subject: Subject, device: DeviceId, spec: &'a Spec<'a>) -> Self {
        Self { subject, device, spec, tree: None, lengths: &[] }
    }
}

impl<S: Storage> Verified<S> {
    /// Has objects, each verified by its digest: the files of a folder of the share with this mount
    /// tag, or with `None` those of an image, which the reader finds.
    ///
    /// # Errors
    /// [`PinError::Absent`] if the storage has no number left for them.
    pub fn set_objects(&mut self, folder: Option<(&str, &str)>) -> Result<(), PinError> {
        if self.storage.info(OBJECTS).is_some() {
            return Err(PinError::Absent(Subject::IMAGE));
        }
        self.objects = Some(Objects::new(folder));
        Ok(())
    }

    /// Pins a device to what a text says of it: its data has one of the lengths of `ask`, or the
    /// device's own; the digest decides. Reads the top node of the tree, or the only block.
    ///
    /// # Errors
    /// [`PinError`]; the device is as before.
    pub fn pin(&mut self, ask: &Ask<'_>) -> Result<(), PinError> {
        self.pin_or(ask, Without::Refuse)
    }

    /// Pins a device as [`Verified::pin`] does. Where there is no tree, one is made of all data, and
    /// kept in memory, if it has at most 1 MiB.
    ///
    /// # Errors
    /// [`PinError`]; the device is as before.
    pub fn pin_whole(&mut self, ask: &Ask<'_>) -> Result<(), PinError> {
        self.pin_or(ask, Without::Make)
    }

    /// Reads what the proofs of these devices will ask for, all in one batch, and keeps that for them
    /// until [`Verified::forget_ahead`]. What cannot be read, and what comes after the first 32, is
    /// left to the proofs.
    pub fn read_ahead(&mut self, asks: &[Ask<'_>]) {
        self.heads.clear();
        let heads = asks.iter().filter_map(|ask| self.head(ask));
        let mut heads: Vec<Head> = heads.take(AHEAD_MAX).collect();
        let reads =
            heads.iter_mut().map(|head| Transfer::read(head.device, head.at, &mut head.bytes));
        let mut batch: Vec<_> = reads.collect();
        self.storage.run(&mut batch, &mut |_, _| {});
        let results: Vec<bool> = batch.iter().map(|transfer| transfer.outcome().is_ok()).collect();
        let kept = heads.into_iter().zip(results).filter(|(_, is_read)| *is_read);
        self.heads = kept.map(|(head, _)| head).collect();
    }

    /// Forgets what [`Verified::read_ahead`] has read.
    pub fn forget_ahead(&mut self) {
        self.heads = Vec::new();
    }

    /// Returns whether a device has room for the tree that a text says lies there.
    pub fn has_tree(&self, ask: &Ask<'_>) -> bool {
        let Some(info) = self.storage.info(ask.device) else { return false };
        let prover = self.prover(ask, &info, Without::Refuse);
        ask.lengths.iter().chain([&info.bytes]).any(|bytes| prover.first_read(*bytes).is_ok())
    }

    /// Returns the place that a proof reads first, with memory for its bytes; `None` if it reads
    /// nothing, or more than two nodes that a region keeps.
    fn head(&self, ask: &Ask<'_>) -> Option<Head> {
        let info = self.storage.info(ask.device)?;
        let prover = self.prover(ask, &info, Without::Refuse);
        let lengths = ask.lengths.iter().chain([&info.bytes]);
        let mut found = lengths.filter_map(|bytes| prover.first_read(*bytes).ok().flatten());
        let (device, range) = found.next()?;
        let most = u64::from(NODE_BYTES).wrapping_mul(2);
        let len = narrow(range.len()).ok().filter(|_| range.len() <= most)?;
        let bytes = vec![0; whole(&self.storage.info(device)?, len)?];
        Some(Head { device, at: range.start(), bytes })
    }

    fn prover<'p>(
        &'p self,
        ask: &Ask<'p>,
        info: &'p DeviceInfo,
        without: Without,
    ) -> Prover<'p, S> {
        let Ask { subject, device, spec, tree, .. } = *ask;
        let (storage, hasher, heads) = (&self.storage, self.hasher, &*self.heads);
        Prover { storage, hasher, subject, device, info, spec, tree, without, heads }
    }

    fn pin_or(&mut self, ask: &Ask<'_>, without: Without) -> Result<(), PinError> {
        let Ask { subject, device, .. } = *ask;
        let info = self.storage.info(device).ok_or(PinError::Absent(subject))?;
        let bug = |bug: Bug| PinError::from(subject.refused(bug));
        let number = u16::try_from(self.pins.len()).ok().or_bug().map_err(bug)?.into();
        let mut lengths = [ask.lengths, &[info.bytes]].concat();
        lengths.dedup();
        let (pin, top) = Pin::new(&self.prover(ask, &info, without), number, &lengths)?;
        if let Some(known) = self.pins.get(&device) {
            let root = |pin: &Pin| pin.tree().map(|tree| *tree.root());
            let same = known.shape() == pin.shape() && root(known) == root(&pin);
            return if same { Ok(()) } else { Err(PinError::Twice(subject, known.subject)) };
        }
        let state = self.state.get_mut();
        if let Some((node, bytes)) = top {
            state.nodes.keep((number, node), bytes.into());
            if pin.is_kept() {
                let noted = state.used.add(&pin).and_then(|()| state.used.note(&pin, node));
                noted.map_err(bug)?;
            }
        }
        self.insert(device, pin)
    }

    /// Pins a source of `bytes` bytes that is not there to what `spec` says, and returns the device
    /// that stands for it: reads fail, and what a region holds of it is judged once the region has
    /// given the nodes of its tree, by reads of [`Verified::trees`], the top node first.
    ///
    /// # Errors
    /// [`PinError`].
    pub fn pin_absent(
        &mut self,
        subject: Subject,
        spec: &Spec<'_>,
        bytes: u64,
    ) -> Result<DeviceId, PinError> {
        let bug = |bug: Bug| PinError::from(subject.refused(bug));
        let number = u16::try_from(self.pins.len()).ok().or_bug().map_err(bug)?.into();
        let pin = Pin::absent(self.hasher, (subject, number), spec, bytes)?;
        if pin.shape().levels() > 0 && !pin.is_kept() {
            return Err(PinError::Absent(subject));
        }
        let device = self.unused().or_bug().map_err(bug)?;
        self.insert(device, pin)?;
        Ok(device)
    }

    /// Takes in a pin, with a device that stands for its tree.
    fn insert(&mut self, device: DeviceId, pin: Pin) -> Result<(), PinError> {
        let subject = pin.subject;
        let is_kept = pin.is_kept();
        self.pins.insert(device, pin);
        if is_kept {
            let nodes = self.unused().or_bug();
            let nodes = nodes.map_err(|bug: Bug| PinError::from(subject.refused(bug)))?;
            self.trees.insert(nodes, device);
        }
        Ok(())
    }

    /// Returns a number that no device has: from the last one down.
    fn unused(&self) -> Option<DeviceId> {
        let numbers = (0..DeviceId::NONE.0).rev().map(DeviceId);
        let is_free = |device: &DeviceId| {
            *device != OBJECTS
                && !self.pins.contains_key(device)
                && !self.trees.contains_key(device)
                && self.storage.info(*device).is_none()
        };
        numbers.into_iter().find(is_free)
    }
}
