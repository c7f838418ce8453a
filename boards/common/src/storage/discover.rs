//! Devices by name: disks by serial, files by mount tag and path.
//!
//! Always: a file is one device, however often and under whatever names it is asked for; a share
//! whose daemon fails does not keep another share from being searched; which of several devices of
//! one name is meant never depends on their order.

use alloc::string::String;
use alloc::vec::Vec;

use rootlet::fuse::{self, OpenFile, Session};
use rootlet::storage::{
    DeviceId, DeviceInfo, Discover, DiscoverError, ShareSearch, Version, only, serial,
};
use virtio_drivers::transport::Transport;

use super::call::Call;
use super::{Devices, File, Share, VirtioStorage};
use crate::virtio::Place;
use crate::virtio::aside::ASIDE_BYTES;

/// How long a daemon may take for each of its parts in the end of a run.
const LEAVE_NS: u64 = 1_000_000_000;

impl<T: Transport> Devices<T> {
    /// Returns a share, and the means to wait for its device.
    pub(super) fn call(&mut self, share: usize) -> (&mut Share, Call<'_, T>) {
        let share = &mut self.shares[share];
        let (waiters, watch, timeout_ns) = (&mut self.waiters, &mut self.watch, self.timeout_ns);
        let port = &mut self.ports[share.port];
        (share, Call { port, waiters, watch, timeout_ns })
    }

    /// Starts a share again if its daemon was started anew: then there is no session.
    pub(super) fn revive(&mut self, share: usize) {
        let (Share { session, restarts, .. }, call) = self.call(share);
        let Call { port, waiters, watch, .. } = call;
        if port.is_forgotten() {
            while let Some(ended) = port.reap() {
                waiters.end(port, ended);
            }
            watch.tell(port);
            *session = None;
            *restarts += 1;
            if let Err(error) = port.restart() {
                watch.say(port, error);
            }
        }
    }

    /// Returns the session with a share's daemon, and what carries its messages. It begins here if it
    /// has not yet, and anew if the daemon was started anew.
    fn in_session(&mut self, share: usize) -> Result<(&mut Session, Call<'_, T>), fuse::Error> {
        self.finish_talk(share);
        self.revive(share);
        let (Share { session, .. }, mut call) = self.call(share);
        let session = match session {
            Some(session) => session,
            none => none.insert(Session::connect(&mut call)?),
        };
        Ok((session, call))
    }

    /// Returns whether the daemon that has a file open is there, as far as is known.
    pub(super) fn is_current(&self, file: &File) -> bool {
        file.restarts == self.shares[file.share].restarts && !self.ports[file.port].is_forgotten()
    }

    fn open(&mut self, share: usize, name: &str) -> Result<DeviceId, DiscoverError> {
        let id = self.file_id(self.files.len())?;
        let (session, mut call) = self.in_session(share)?;
        let open = session.open(&mut call, name.as_bytes())?;
        let transfer_bytes_max = session.read_bytes_max();
        let restarts = self.shares[share].restarts;
        // A node that is looked up keeps its number. If its version changed, so did its content.
        let same = |file: &File| {
            let known = (file.restarts, file.open.nodeid, file.open.version);
            file.share == share && known == (restarts, open.nodeid, open.version)
        };
        if let Some(file) = self.files.iter().position(same) {
            self.close(share, open)?;
            return self.file_id(file);
        }
        let port = self.shares[share].port;
        self.ports[port].ask_about(Some(open.question()));
        let transfer_bytes_max = self.ports[port].limited(transfer_bytes_max);
        let info = DeviceInfo::new(open.size, 1)
            .with_transfer_bytes_max(transfer_bytes_max)
            .with_read_only(true)
            .with_version(Version::File(open.version));
        self.files.push(File { share, port, name: name.into(), open, restarts, info });
        Ok(id)
    }

    /// Waits for the names that disks were asked for as they started.
    fn name_disks(&mut self) {
        for port in &mut self.ports {
            let (waiters, watch, timeout_ns) =
                (&mut self.waiters, &mut self.watch, self.timeout_ns);
            Call { port, waiters, watch, timeout_ns }.name();
        }
    }

    fn file_id(&self, file: usize) -> Result<DeviceId, DiscoverError> {
        DeviceId::of(self.disks.len() + file).ok_or(DiscoverError::TooMany)
    }

    /// Does what [`VirtioStorage::shut_down`] says.
    pub(super) fn shut_down(&mut self) -> Result<(), fuse::Error> {
        // No more than a courtesy: the end of a run waits for no daemon.
        self.timeout_ns = self.timeout_ns.min(LEAVE_NS);
        // Files are closed from here on, so that a daemon rightly does not know them.
        self.ports.iter_mut().for_each(|port| port.ask_about(None));
        let mut first = Ok(());
        while let Some(file) = self.files.pop() {
            if self.is_current(&file) && self.is_ready(file.share) {
                first = first.and(self.close(file.share, file.open));
            }
        }
        for share in 0..self.shares.len() {
            if self.is_ready(share) {
                first = first.and(self.destroy(share));
            }
        }
        first
    }

    /// Returns whether a share has a session in which nothing is under way.
    fn is_ready(&self, share: usize) -> bool {
        let Share { port, session, talk, .. } = &self.shares[share];
        session.is_some() && talk.is_none() && !self.ports[*port].is_forgotten()
    }

    fn close(&mut self, share: usize, open: OpenFile) -> Result<(), fuse::Error> {
        let (session, mut call) = self.in_session(share)?;
        session.close(&mut call, open)
    }

    fn destroy(&mut self, share: usize) -> Result<(), fuse::Error> {
        let (session, mut call) = self.in_session(share)?;
        session.destroy(&mut call)
    }
}

impl<T: Transport> Discover for VirtioStorage<T> {
    fn disk(&mut self, name: &str) -> Result<DeviceId, DiscoverError> {
        self.devices.get_mut().disk(name)
    }

    fn share_file(
        &mut self,
        mount_tag: Option<&str>,
        name: &str,
    ) -> Result<DeviceId, DiscoverError> {
        self.devices.get_mut().share_file(mount_tag, name)
    }

    fn disks(&mut self, each: &mut dyn FnMut(&str, DeviceId)) {
        self.devices.get_mut().disks(each);
    }

    fn set_expendable(&mut self, device: DeviceId) {
        self.devices.get_mut().set_expendable(device);
    }

    fn set_version(&mut self, device: DeviceId, version: Version) {
        self.devices.get_mut().set_version(device, version);
    }
}

impl<T: Transport> Devices<T> {
    fn disk(&mut self, name: &str) -> Result<DeviceId, DiscoverError> {
        self.name_disks();
        let placed = self.at(name);
        let disks = (0..).zip(&self.disks);
        let same = disks.filter(|(_, disk)| {
            self.ports[disk.port].name() == serial(name) || placed == Some(disk.port)
        });
        only(same.map(|(index, _)| DeviceId(index)))
    }

    /// Returns the port that a place names: `mmio:N`, the disk or share number N, from 0, of all
    /// on virtio-mmio in the order of their addresses; or `pci:BB:DD.F`, bus, device and function in
    /// hex digits.
    fn at(&self, name: &str) -> Option<usize> {
        let (bus, place) = name.split_once(':')?;
        let mut places = (0..).zip(&self.ports).map(|(index, port)| (port.place(), index));
        match bus {
            "mmio" => {
                let plain = place.bytes().all(|byte| byte.is_ascii_digit());
                let number: usize = place.parse().ok().filter(|_| plain)?;
                let devices: Vec<_> = places
                    .filter_map(|(place, index)| match place {
                        Place::Address(address) => Some((address, index)),
                        Place::Pci(..) => None,
                    })
                    .collect();
                // The device with `number` others below: a sort of `core` is 3 KiB of code.
                let below = |at: u64| devices.iter().filter(|(other, _)| *other < at).count();
                devices.iter().find(|(at, _)| below(*at) == number).map(|(_, index)| *index)
            }
            "pci" => {
                let wanted = Place::pci(place)?;
                places.find(|(place, _)| *place == wanted).map(|(_, index)| index)
            }
            _ => None,
        }
    }

    pub(super) fn share_file(
        &mut self,
        mount_tag: Option<&str>,
        name: &str,
    ) -> Result<DeviceId, DiscoverError> {
        let wanted = |storage: &Self, share: usize| {
            let tag = storage.ports[storage.shares[share].port].name();
            mount_tag.is_none_or(|wanted| wanted.as_bytes() == tag)
        };
        let shares = 0..self.shares.len();
        let count = shares.clone().filter(|share| wanted(self, *share)).count();
        let mut search = ShareSearch::new(mount_tag, count)?;
        for share in shares {
            if wanted(self, share) {
                search.add(self.open(share, name));
            }
        }
        search.end()
    }

    fn disks(&mut self, each: &mut dyn FnMut(&str, DeviceId)) {
        self.name_disks();
        for (index, disk) in self.disks.iter().enumerate() {
            let serial = String::from_utf8_lossy(self.ports[disk.port].name());
            if let Ok(index) = u16::try_from(index) {
                each(&serial, DeviceId(index));
            }
        }
    }

    fn set_expendable(&mut self, device: DeviceId) {
        if let Some(disk) = self.disks.get_mut(usize::from(device.0)) {
            self.ports[disk.port].set_expendable();
            let info = &mut disk.info;
            info.transfer_bytes_max = info.transfer_bytes_max.min(ASIDE_BYTES as u32);
        }
    }

    fn set_version(&mut self, device: DeviceId, version: Version) {
        let index = usize::from(device.0);
        let disks = self.disks.len();
        let info = match self.disks.get_mut(index) {
            Some(disk) => Some(&mut disk.info),
            None => {
                let file = index.checked_sub(disks).and_then(|file| self.files.get_mut(file));
                file.map(|file| &mut file.info)
            }
        };
        if let Some(info) = info {
            info.version = version;
        }
    }
}
