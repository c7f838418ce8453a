//! Devices by name: disks by serial, files by mount tag and path.
//!
//! Always: a file is one device, however often and under whatever names it is asked for; a share
//! whose daemon fails does not keep another share from being searched; which of several devices of
//! one name is meant never depends on their order.

use alloc::string::String;

use rootlet::fuse::{self, OpenFile, Session};
use rootlet::storage::{
    DeviceId, DeviceInfo, Discover, DiscoverError, IoErrorKind, ShareSearch, Version, only, serial,
};
use virtio_drivers::transport::Transport;

use super::call::Call;
use super::{File, VirtioStorage};
use crate::virtio::aside::ASIDE_BYTES;

/// How long a daemon may take for each of its parts in the end of a run.
const LEAVE_NS: u64 = 1_000_000_000;

/// A share's queues as FUSE wants them.
struct Wire<'w, T: Transport>(Call<'w, T>);

impl<T: Transport> fuse::Transport for Wire<'_, T> {
    fn exchange(&mut self, request: &[&[u8]], reply: &mut [u8]) -> Result<usize, IoErrorKind> {
        self.0.exchange(request, reply)
    }

    fn send(&mut self, request: &[&[u8]]) -> Result<(), IoErrorKind> {
        self.0.send(request)
    }
}

impl<T: Transport> VirtioStorage<T> {
    /// Does `what` in the session with a share's daemon, which begins here if it has not yet.
    fn in_session<R>(
        &mut self,
        share: usize,
        what: impl FnOnce(&mut Session, &mut Wire<'_, T>) -> Result<R, fuse::Error>,
    ) -> Result<R, fuse::Error> {
        let share = &mut self.shares[share];
        let port = &mut self.ports[share.port];
        let (jobs, watch, timeout_ns) = (&mut self.jobs, &mut self.watch, self.timeout_ns);
        let mut wire = Wire(Call { port, jobs, watch, timeout_ns });
        let session = match &mut share.session {
            Some(session) => session,
            none => none.insert(Session::connect(&mut wire)?),
        };
        what(session, &mut wire)
    }

    fn open(&mut self, share: usize, name: &str) -> Result<DeviceId, DiscoverError> {
        let id = self.file_id(self.files.len())?;
        let (open, transfer_bytes_max) = self.in_session(share, |session, wire| {
            let open = session.open(wire, name.as_bytes())?;
            Ok((open, session.read_bytes_max()))
        })?;
        // A node that is looked up keeps its number. If its version changed, so did its content.
        let same = |file: &File| {
            let known = &file.open;
            file.share == share && (known.nodeid, known.version) == (open.nodeid, open.version)
        };
        if let Some(file) = self.files.iter().position(same) {
            self.close(share, open)?;
            return self.file_id(file);
        }
        let port = self.shares[share].port;
        let transfer_bytes_max = self.ports[port].limited(transfer_bytes_max);
        let info = DeviceInfo {
            bytes: open.size,
            sector_bytes: 1,
            transfer_bytes_max,
            read_only: true,
            version: Version::File(open.version),
        };
        self.files.push(File { share, port, open, info });
        Ok(id)
    }

    /// Waits for the names that disks were asked for as they started.
    fn name_disks(&mut self) {
        for port in &mut self.ports {
            let (jobs, watch, timeout_ns) = (&mut self.jobs, &mut self.watch, self.timeout_ns);
            Call { port, jobs, watch, timeout_ns }.name();
        }
    }

    fn file_id(&self, file: usize) -> Result<DeviceId, DiscoverError> {
        DeviceId::of(self.disks.len() + file).ok_or(DiscoverError::TooMany)
    }

    /// Closes every file and ends every session. No device is reset: whatever it still has, the
    /// end of the machine ends, and some devices never say that they are reset.
    ///
    /// # Errors
    ///
    /// The first failure of a daemon; the rest is done all the same.
    pub fn shut_down(&mut self) -> Result<(), fuse::Error> {
        // No more than a courtesy: the end of a run waits for no daemon.
        self.timeout_ns = self.timeout_ns.min(LEAVE_NS);
        let mut first = Ok(());
        while let Some(File { share, open, .. }) = self.files.pop() {
            first = first.and(self.close(share, open));
        }
        for share in 0..self.shares.len() {
            if self.shares[share].session.is_some() {
                first = first.and(self.in_session(share, |session, wire| session.destroy(wire)));
            }
        }
        first
    }

    fn close(&mut self, share: usize, open: OpenFile) -> Result<(), fuse::Error> {
        self.in_session(share, |session, wire| session.close(wire, open))
    }
}

impl<T: Transport> Discover for VirtioStorage<T> {
    fn disk(&mut self, name: &str) -> Result<DeviceId, DiscoverError> {
        self.name_disks();
        let disks = (0..).zip(&self.disks);
        let same = disks.filter(|(_, disk)| self.ports[disk.port].name() == serial(name));
        only(same.map(|(index, _)| DeviceId(index)))
    }

    fn share_file(
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
