//! Time as those have it who wait for devices.
//!
//! Always: it passes while somebody looks. A machine that stood still (a snapshot, a migration, a
//! stopped monitor) has not waited meanwhile, and no device is late for it.

use core::fmt;

use virtio_drivers::transport::Transport;

use super::processor::Processor;
use crate::virtio::port::{Deadline, Port};

/// The longest that can have been waited between two looks: some naps, and all that an emulator's
/// host does meanwhile.
const STEP_NS_MAX: u64 = 200_000_000;

/// The time that was waited, and what is done while waiting.
#[derive(Debug)]
pub(super) struct Watch {
    processor: Processor,
    looked_ns: u64,
    waited_ns: u64,
}

impl Watch {
    pub(super) fn new(processor: Processor) -> Self {
        Self { processor, looked_ns: (processor.now_ns)(), waited_ns: 0 }
    }

    /// Returns the nanoseconds since some moment, by the clock of the processor.
    pub(super) fn now_ns(&self) -> u64 {
        (self.processor.now_ns)()
    }

    /// Returns the function that returns the time.
    pub(super) fn clock(&self) -> fn() -> u64 {
        self.processor.now_ns
    }

    /// Returns a wait of `timeout_ns` from now on.
    pub(super) fn deadline(&mut self, timeout_ns: u64) -> Deadline {
        let since_ns = self.waited_ns();
        Deadline { since_ns, deadline_ns: since_ns + timeout_ns }
    }

    pub(super) fn nap(&self, ns: u32) {
        (self.processor.nap)(ns);
    }

    /// Looks whether a device is late, and says what is to be said of it.
    pub(super) fn look<T: Transport>(&mut self, port: &mut Port<T>) {
        self.tell(port);
        let waited_ns = self.waited_ns();
        if let Some(news) = port.check(waited_ns) {
            self.say(port, news);
        }
    }

    /// Says what came to light as a device was reaped.
    pub(super) fn tell<T: Transport>(&self, port: &mut Port<T>) {
        if let Some(news) = port.news() {
            self.say(port, news);
        }
    }

    pub(super) fn say<T: Transport>(&self, port: &Port<T>, news: impl fmt::Display) {
        (self.processor.tell)(format_args!("{}: {news}", Named(port)));
    }

    /// Ends the run if a device keeps memory that its reader has to have back: neither may the
    /// reader continue without that memory, nor may the device be reset.
    pub(super) fn insist<T: Transport>(&self, port: &Port<T>) {
        if let Some(why) = port.withholds() {
            let port = Named(port);
            (self.processor.give_up)(format_args!("{port}: {why}, and it keeps memory of a read"));
        }
    }

    fn waited_ns(&mut self) -> u64 {
        let now_ns = self.now_ns();
        // A clock that goes back has not moved.
        let step_ns =
            now_ns.checked_sub(self.looked_ns).map_or(0, |step_ns| step_ns.min(STEP_NS_MAX));
        self.looked_ns = now_ns;
        self.waited_ns += step_ns;
        self.waited_ns
    }
}

/// A device by the name that its user knows, or else by its place.
pub(super) struct Named<'p, T: Transport>(pub(super) &'p Port<T>);

impl<T: Transport> fmt::Display for Named<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match str::from_utf8(self.0.name()) {
            Ok("") | Err(_) => write!(f, "device at {}", self.0.place()),
            Ok(name) if self.0.is_share() => write!(f, "share {name}"),
            Ok(name) => f.write_str(name),
        }
    }
}
