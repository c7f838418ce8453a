//! Who waits for requests that have ended.
//!
//! Always: each end goes to its owner, also if another reader took it from the device.

use virtio_drivers::transport::Transport;

use super::batches::Batches;
use super::jobs::Jobs;
use crate::virtio::port::{Ended, Port};
use crate::virtio::ring::Owner;

/// All batches and jobs.
pub(super) struct Waiters {
    pub(super) batches: Batches,
    pub(super) jobs: Jobs,
}

impl Waiters {
    pub(super) fn new() -> Self {
        Self { batches: Batches::new(), jobs: Jobs::new() }
    }

    /// Tells the owner of a request that it has ended. A port takes in by itself what nobody else
    /// owns.
    pub(super) fn end<T: Transport>(&mut self, port: &mut Port<T>, ended: Ended) {
        let Ended { owner, result, kept } = ended;
        match owner {
            Owner::Batch { number, index } => {
                self.batches.end(number, (index, result.map(|_| ())));
            }
            Owner::Job { index, generation } => {
                port.jobs -= 1;
                self.jobs.end((index, generation), result.map(|_| ()), kept);
            }
            Owner::Room | Owner::Notice => panic!("{owner:?} is the port's own"),
        }
    }
}
