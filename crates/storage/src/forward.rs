//! Methods of a storage that stands over another one and hands them on.
//!
//! Always: a method that is handed on is that of the storage below; its name says which. A method
//! that a list leaves out has the default of its trait, which forgets the storage below.

/// Writes methods of [`Storage`](crate::Storage) or [`Discover`](crate::Discover) that are those of
/// another storage: `forward!(self, self.inner: clock rest)`.
#[doc(hidden)]
#[macro_export]
macro_rules! forward {
    ($self:ident, $below:expr; $($method:ident)*) => {
        $($crate::forward!(@$method $self $below);)*
    };
    (@info $self:ident $below:expr) => {
        fn info(&$self, device: $crate::DeviceId) -> Option<$crate::DeviceInfo> {
            $below.info(device)
        }
    };
    (@run $self:ident $below:expr) => {
        fn run<'b>(
            &$self,
            batch: &mut [$crate::Transfer<'b>],
            done: &mut dyn FnMut(usize, &mut $crate::Transfer<'b>),
        ) {
            $below.run(batch, done);
        }
    };
    (@view $self:ident $below:expr) => {
        fn view(&$self, device: $crate::DeviceId, at: u64, len: usize) -> Option<&[u8]> {
            $below.view(device, at, len)
        }
    };
    (@vouch $self:ident $below:expr) => {
        fn vouch(&$self, device: $crate::DeviceId, at: u64, data: &[u8]) -> $crate::Vouch {
            $below.vouch(device, at, data)
        }
    };
    (@objects $self:ident $below:expr) => {
        fn objects(&$self) -> Option<$crate::DeviceId> {
            $below.objects()
        }
    };
    (@object $self:ident $below:expr) => {
        fn object(
            &$self,
            digest: &[u8],
            bytes: u64,
            place: $crate::ObjectPlace<'_>,
        ) -> Result<u64, $crate::ObjectFault> {
            $below.object(digest, bytes, place)
        }
    };
    (@object_node $self:ident $below:expr) => {
        fn object_node(&$self, at: u64) -> Option<u64> {
            $below.object_node(at)
        }
    };
    (@prove_object $self:ident $below:expr) => {
        fn prove_object(&$self, at: u64) -> Result<(), $crate::ObjectFault> {
            $below.prove_object(at)
        }
    };
    (@open_file $self:ident $below:expr) => {
        fn open_file(
            &$self,
            mount_tag: &str,
            name: &str,
        ) -> Result<$crate::DeviceId, $crate::DiscoverError> {
            $below.open_file(mount_tag, name)
        }
    };
    (@close_file $self:ident $below:expr) => {
        fn close_file(&$self, file: $crate::DeviceId) {
            $below.close_file(file);
        }
    };
    (@whole $self:ident $below:expr) => {
        fn whole(&$self, device: $crate::DeviceId) -> Option<($crate::DeviceId, u64)> {
            $below.whole(device)
        }
    };
    (@set_deadline $self:ident $below:expr) => {
        fn set_deadline(&$self, until_ns: Option<u64>) {
            $below.set_deadline(until_ns);
        }
    };
    (@now_ns $self:ident $below:expr) => {
        fn now_ns(&$self) -> u64 {
            $below.now_ns()
        }
    };
    (@clock $self:ident $below:expr) => {
        fn clock(&$self) -> Option<fn() -> u64> {
            $below.clock()
        }
    };
    (@unlocked $self:ident $below:expr) => {
        fn unlocked(&$self) {
            $below.unlocked();
        }
    };
    (@locking $self:ident $below:expr) => {
        fn locking(&$self) {
            $below.locking();
        }
    };
    (@start $self:ident $below:expr) => {
        fn start(&$self, job: $crate::Job) -> Result<(), $crate::Job> {
            $below.start(job)
        }
    };
    (@poll $self:ident $below:expr) => {
        fn poll(&$self) -> Option<$crate::Ended> {
            $below.poll()
        }
    };
    (@has_work $self:ident $below:expr) => {
        fn has_work(&$self) -> bool {
            $below.has_work()
        }
    };
    (@work $self:ident $below:expr) => {
        fn work(&$self) {
            $below.work();
        }
    };
    (@patience_ns $self:ident $below:expr) => {
        fn patience_ns(&$self) -> u64 {
            $below.patience_ns()
        }
    };
    (@rest $self:ident $below:expr) => {
        fn rest(&$self, ns: u32) {
            $below.rest(ns);
        }
    };
    (@unique $self:ident $below:expr) => {
        fn unique(&$self) -> u64 {
            $below.unique()
        }
    };
    (@disk $self:ident $below:expr) => {
        fn disk(&mut $self, serial: &str) -> Result<$crate::DeviceId, $crate::DiscoverError> {
            $below.disk(serial)
        }
    };
    (@share_file $self:ident $below:expr) => {
        fn share_file(
            &mut $self,
            mount_tag: Option<&str>,
            name: &str,
        ) -> Result<$crate::DeviceId, $crate::DiscoverError> {
            $below.share_file(mount_tag, name)
        }
    };
    (@disks $self:ident $below:expr) => {
        fn disks(&mut $self, each: &mut dyn FnMut(&str, $crate::DeviceId)) {
            $below.disks(each);
        }
    };
    (@part $self:ident $below:expr) => {
        fn part(
            &mut $self,
            device: $crate::DeviceId,
            start: u64,
            bytes: u64,
        ) -> Result<$crate::DeviceId, $crate::DiscoverError> {
            $below.part(device, start, bytes)
        }
    };
    (@enciphered $self:ident $below:expr) => {
        fn enciphered(
            &mut $self,
            device: $crate::DeviceId,
            place: (u64, u64),
            cipher: Box<dyn $crate::Cipher>,
        ) -> Result<$crate::DeviceId, $crate::DiscoverError> {
            $below.enciphered(device, place, cipher)
        }
    };
    (@set_version $self:ident $below:expr) => {
        fn set_version(&mut $self, device: $crate::DeviceId, version: $crate::Version) {
            $below.set_version(device, version);
        }
    };
    (@set_expendable $self:ident $below:expr) => {
        fn set_expendable(&mut $self, device: $crate::DeviceId) {
            $below.set_expendable(device);
        }
    };
}
