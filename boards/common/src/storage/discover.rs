//! Devices by name: disks by serial, files by mount tag and path.
//!
//! Always: a file is opened once, however often it is asked for; a share whose daemon fails does
//! not keep another share from being searched.

use core::ptr::NonNull;

use rootlet::fuse::{self, OpenFile, Session};
use rootlet::storage::{DeviceId, DeviceInfo, Discover, DiscoverError, IoErrorKind};
use virtio_drivers::transport::Transport;

use super::call::Call;
use super::{FILES_MAX, File, VirtioStorage};
use crate::text::until_zero;
use crate::virtio::blk::SERIAL_BYTES;
use crate::virtio::port::Request;

/// `ENOENT` of Linux.
const ENOENT: u32 = 2;

/// A share's queues as FUSE wants them.
struct Wire<'w, T: Transport> {
    call: Call<'w, T>,
    timeout_ns: u64,
}

impl<T: Transport> Wire<'_, T> {
    fn deadline_ns(&self) -> u64 {
        (self.call.processor.now_ns)().saturating_add(self.timeout_ns)
    }
}

impl<T: Transport> fuse::Transport for Wire<'_, T> {
    fn exchange(&mut self, request: &[&[u8]], reply: &mut [u8]) -> Result<usize, IoErrorKind> {
        let deadline_ns = self.deadline_ns();
        let request = Request::Message(request, NonNull::from(reply));
        // SAFETY: `reply` is borrowed until this function returns, and nothing touches it here.
        let bytes = unsafe { self.call.wait(request, deadline_ns) }?;
        Ok(bytes as usize)
    }

    fn send(&mut self, request: &[&[u8]]) -> Result<(), IoErrorKind> {
        let deadline_ns = self.deadline_ns();
        // SAFETY: a notice lends nothing.
        unsafe { self.call.wait(Request::Notice(request), deadline_ns) }.map(|_| ())
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
        let call = Call { port, jobs: &mut self.jobs, processor: self.processor };
        let mut wire = Wire { call, timeout_ns: self.timeout_ns };
        let session = match &mut share.session {
            Some(session) => session,
            none => none.insert(Session::connect(&mut wire)?),
        };
        what(session, &mut wire)
    }

    fn open(&mut self, share: usize, name: &str) -> Result<DeviceId, DiscoverError> {
        let known = |file: &File| file.share == share && *file.name == *name.as_bytes();
        if let Some(file) = self.files.iter().position(known) {
            return self.file_id(file);
        }
        if self.files.len() >= FILES_MAX {
            return Err(DiscoverError::TooMany);
        }
        let id = self.file_id(self.files.len())?;
        let (open, transfer_bytes_max) = self.in_session(share, |session, wire| {
            let open = session.open(wire, name.as_bytes())?;
            Ok((open, session.read_bytes_max()))
        })?;
        let port = self.shares[share].port;
        let transfer_bytes_max = transfer_bytes_max.min(self.ports[port].transfer_bytes_max());
        let info = DeviceInfo {
            bytes: open.size,
            sector_bytes: 1,
            transfer_bytes_max,
            read_only: true,
            version: open.version,
        };
        self.files.push(File { share, port, name: name.as_bytes().into(), open, info });
        Ok(id)
    }

    /// Waits for the names that disks were asked for as they started.
    fn name_disks(&mut self) {
        for port in &mut self.ports {
            Call { port, jobs: &mut self.jobs, processor: self.processor }.name();
        }
    }

    fn file_id(&self, file: usize) -> Result<DeviceId, DiscoverError> {
        let id = self.disks.len() + file;
        u16::try_from(id).map(DeviceId).map_err(|_| DiscoverError::TooMany)
    }

    /// Closes every file, ends every session and resets every device. Their jobs end as
    /// [`IoErrorKind::Gone`].
    ///
    /// # Errors
    ///
    /// The first failure of a daemon; the rest is done all the same.
    pub fn shut_down(&mut self) -> Result<(), fuse::Error> {
        let mut first = Ok(());
        while let Some(File { share, open, .. }) = self.files.pop() {
            first = first.and(self.close(share, open));
        }
        for share in 0..self.shares.len() {
            if self.shares[share].session.is_some() {
                first = first.and(self.in_session(share, |session, wire| session.destroy(wire)));
            }
        }
        self.ports.iter_mut().for_each(|port| port.fail(IoErrorKind::Gone));
        first
    }

    fn close(&mut self, share: usize, open: OpenFile) -> Result<(), fuse::Error> {
        self.in_session(share, |session, wire| session.close(wire, open))
    }
}

impl<T: Transport> Discover for VirtioStorage<T> {
    fn disk(&mut self, serial: &str) -> Result<DeviceId, DiscoverError> {
        let wanted = serial.as_bytes();
        let wanted = &wanted[..wanted.len().min(SERIAL_BYTES)];
        self.name_disks();
        let (mut last, mut count) = (0, 0);
        for (index, disk) in self.disks.iter().enumerate() {
            if self.ports[disk.port].serial() == wanted {
                (last, count) = (index, count + 1);
            }
        }
        match count {
            0 => Err(DiscoverError::NotFound),
            1 => u16::try_from(last).map(DeviceId).map_err(|_| DiscoverError::TooMany),
            _ => Err(DiscoverError::Ambiguous(count)),
        }
    }

    fn share_file(
        &mut self,
        mount_tag: Option<&str>,
        name: &str,
    ) -> Result<DeviceId, DiscoverError> {
        let mut failure = DiscoverError::NotFound;
        for share in 0..self.shares.len() {
            let tag = until_zero(&self.shares[share].tag);
            if mount_tag.is_some_and(|wanted| wanted.as_bytes() != tag) {
                continue;
            }
            match self.open(share, name) {
                Ok(id) => return Ok(id),
                // A share without the file says less than one that fails.
                Err(DiscoverError::Share(ENOENT)) if failure != DiscoverError::NotFound => {}
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn disks(&mut self, each: &mut dyn FnMut(&str, DeviceId)) {
        self.name_disks();
        for (index, disk) in self.disks.iter().enumerate() {
            let serial = str::from_utf8(self.ports[disk.port].serial()).unwrap_or("");
            if let Ok(index) = u16::try_from(index) {
                each(serial, DeviceId(index));
            }
        }
    }
}
