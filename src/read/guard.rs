//! The parts of a mount that its readers share, the lock over what changes, and the one place where
//! a reader lets go of the lock.
//!
//! Always: the lock is held for decisions and settlements. [`Guard::released`] takes the guard
//! mutably, so no reference into the state outlives a release: afterwards a reader looks up again all
//! that it uses. Memory of a reader is lent to a device only within `released`, which returns after
//! the device has given the memory back.

use super::inner::Inner;
use super::io::{Source, Sources};
use super::mount::Mount;
use super::stop::Stop;
#[cfg(feature = "alloc")]
use super::task::TaskId;
use crate::cache::Layer;
use crate::erofs::{Corrupt, Nid};
use crate::storage::{Spin, Storage, Vouch};
use crate::units::{ByteRange, DeviceSlot};
use core::ops::{Deref, DerefMut};
#[cfg(feature = "alloc")]
use core::task::Waker;
use lock_api::{Mutex, MutexGuard};

/// The lock. A thread that waits for it looks for about a microsecond, as long as the lock is held at
/// most times, before it gives its processor away: to give it away takes longer.
#[cfg(feature = "std")]
type Raw = spin::mutex::SpinMutex<(), Look>;
/// The lock. A processor that waits for it spins.
#[cfg(not(feature = "std"))]
type Raw = spin::mutex::SpinMutex<()>;

/// Looks for the lock, and gives the processor away now and then.
#[cfg(feature = "std")]
pub struct Look;

#[cfg(feature = "std")]
impl spin::RelaxStrategy for Look {
    fn relax() {
        /// Looks before the processor is given away.
        const LOOKS: u32 = 100;
        std::thread_local! {
            static DONE: core::cell::Cell<u32> = const { core::cell::Cell::new(0) };
        }
        let done = DONE.get();
        if done < LOOKS {
            DONE.set(done.wrapping_add(1));
            core::hint::spin_loop();
        } else {
            DONE.set(0);
            std::thread::yield_now();
        }
    }
}

/// The parts of a mount that its readers share. Only the state changes.
#[derive(Debug)]
pub struct Shared<S, L> {
    /// The devices.
    pub storage: S,
    /// The superblock and the device slots: those of the topmost image of a stack.
    pub mount: Mount,
    /// The images of a stack, the bottom first; none for an image alone.
    #[cfg(feature = "alloc")]
    pub stack: alloc::vec::Vec<Mount>,
    /// The sources of all device slots.
    pub sources: Sources,
    /// Whether the layer keeps blocks of a source.
    #[cfg(feature = "alloc")]
    keeps: bool,
    /// The slot of the storage's objects, after those of all images.
    pub objects: Option<DeviceSlot>,
    /// The root of the image of objects, which is the last of `stack`.
    #[cfg(feature = "alloc")]
    pub objects_root: Option<Nid>,
    /// Whether the storage judges bytes that the layer has of a slot.
    pub is_pinned: bool,
    state: Mutex<Raw, Inner<L>>,
}

impl<S, L> Shared<S, L> {
    /// Returns the parts of a mount before its first read.
    pub fn new(
        storage: S,
        mount: Mount,
        #[cfg(feature = "alloc")] stack: alloc::vec::Vec<Mount>,
        sources: Sources,
        state: Inner<L>,
    ) -> Self {
        #[cfg(feature = "alloc")]
        let keeps = sources.iter().any(|source| source.blob.is_some());
        let is_pinned = sources.iter().any(|source| source.pinned);
        Self {
            storage,
            mount,
            #[cfg(feature = "alloc")]
            stack,
            sources,
            #[cfg(feature = "alloc")]
            keeps,
            objects: None,
            #[cfg(feature = "alloc")]
            objects_root: None,
            is_pinned,
            state: Mutex::new(state),
        }
    }

    /// Waits for the lock, and returns the state.
    pub fn lock(&self) -> Guard<'_, S, L> {
        let (storage, state) = (&self.storage, self.state.lock());
        Guard {
            shared: self,
            mount: &self.mount,
            storage,
            state,
            file: None,
            in_metabox: false,
            #[cfg(feature = "alloc")]
            task: None,
            #[cfg(feature = "alloc")]
            was_released: false,
        }
    }

    /// Returns whether the layer keeps blocks of a source.
    pub fn keeps(&self) -> bool {
        #[cfg(feature = "alloc")]
        let keeps = self.keeps;
        // Without a heap no layer keeps anything.
        #[cfg(not(feature = "alloc"))]
        let keeps = false;
        keeps
    }

    /// Returns the state, unless a reader has it.
    pub fn try_lock(&self) -> Option<impl DerefMut<Target = Inner<L>>> {
        self.state.try_lock()
    }

    /// Returns the storage and the layer.
    pub fn into_parts(self) -> (S, L) {
        (self.storage, self.state.into_inner().io.layer)
    }

    /// Returns the source of a device slot; `None` if the image has no such slot.
    pub fn source(&self, slot: DeviceSlot) -> Option<&Source> {
        self.sources.get(usize::from(slot.get()))
    }
}

impl<S: Storage, L> Shared<S, L> {
    /// Returns the storage's judgement of `data`, which the layer holds as the bytes `cover` of a
    /// device slot.
    pub fn vouch(&self, slot: DeviceSlot, cover: ByteRange, data: &[u8]) -> Vouch {
        match self.source(slot).filter(|_| self.is_pinned) {
            Some(source) => source.vouch(&self.storage, cover, data),
            None => Vouch::Right,
        }
    }

    /// Returns the bytes `range` of a device slot if they lie in memory.
    pub fn view(&self, slot: DeviceSlot, range: ByteRange) -> Option<&[u8]> {
        let source = self.source(slot)?;
        if range.end() > source.bytes {
            return None;
        }
        let (device, at) = source.at(range.start()).ok()?;
        self.storage.view(device, at, usize::try_from(range.len()).ok()?)
    }
}

/// The state of a mount, locked for one reader.
pub struct Guard<'r, S, L> {
    /// What needs no lock.
    pub shared: &'r Shared<S, L>,
    /// The image whose metadata is read; see [`Guard::turn_to`].
    mount: &'r Mount,
    /// The devices.
    pub storage: &'r S,
    state: MutexGuard<'r, Raw, Inner<L>>,
    /// The inode that the reader reads, for events.
    file: Option<u64>,
    /// Whether the reader reads data of the metabox: that must not need metadata from the metabox.
    pub in_metabox: bool,
    /// The task that the reader is, which waits nowhere; `None` for a reader that blocks.
    #[cfg(feature = "alloc")]
    pub task: Option<TaskId>,
    /// Whether others may have seen what the reader has for now.
    #[cfg(feature = "alloc")]
    was_released: bool,
}

impl<S, L> Deref for Guard<'_, S, L> {
    type Target = Inner<L>;

    fn deref(&self) -> &Inner<L> {
        &self.state
    }
}

impl<S, L> DerefMut for Guard<'_, S, L> {
    fn deref_mut(&mut self) -> &mut Inner<L> {
        &mut self.state
    }
}

/// Wakes the tasks that wait for what the reader had, and calls the wakers of all that were woken.
#[cfg(feature = "alloc")]
impl<S, L> Drop for Guard<'_, S, L> {
    fn drop(&mut self) {
        if self.was_released {
            self.state.tasks.wake_for_others(self.task);
        }
        if self.state.tasks.has_due() {
            self.wake_due();
        }
    }
}

#[cfg(feature = "alloc")]
impl<S, L> Guard<'_, S, L> {
    /// Calls the wakers of woken tasks, while the lock is free.
    #[cold]
    fn wake_due(&mut self) {
        let due = self.state.tasks.take_due();
        MutexGuard::unlocked(&mut self.state, || due.into_iter().for_each(Waker::wake));
    }
}

impl<'r, S, L> Guard<'r, S, L> {
    /// Returns the superblock and the device slots of the image that the reader turned to last; at
    /// first of the topmost one.
    pub fn mount(&self) -> &'r Mount {
        self.mount
    }

    /// Turns to the image of an inode. What takes an inode, or its number, turns to its image; what
    /// takes a place in a metadata space reads the image that was turned to last.
    #[inline]
    pub fn turn_to(&mut self, nid: Nid) {
        #[cfg(feature = "alloc")]
        if nid.layer() != self.mount.superblock().layer() {
            self.turn_to_layer(nid.layer());
        }
        #[cfg(not(feature = "alloc"))]
        let _ = nid;
    }

    /// Turns to another image. An inode number of an image that is not there has no place in any
    /// other, which its reader finds.
    #[cfg(feature = "alloc")]
    #[cold]
    #[inline(never)]
    fn turn_to_layer(&mut self, layer: u8) {
        match usize::from(layer).checked_sub(1) {
            // An image alone, beside that of objects.
            None => self.mount = &self.shared.mount,
            Some(at) => {
                if let Some(mount) = self.shared.stack.get(at) {
                    self.mount = mount;
                }
            }
        }
    }

    /// Turns to the topmost image.
    pub fn turn_to_top(&mut self) {
        self.mount = &self.shared.mount;
    }

    /// Returns the number that an inode has in the mount, from its number on the disk of the image
    /// that was turned to last.
    ///
    /// # Errors
    /// Corrupt if the number lies in no image.
    pub fn lifted(&self, nid: Nid) -> Result<Nid, Corrupt> {
        lifted(nid, self.mount.superblock().layer())
    }
}

/// Returns the number that an inode of the image `layer` has in the mount, from its number on disk.
///
/// # Errors
/// Corrupt if the number lies in no image.
pub fn lifted(nid: Nid, layer: u8) -> Result<Nid, Corrupt> {
    // The inode of an image alone is not found if the number lies nowhere.
    if layer == 0 { Ok(nid) } else { nid.in_layer(layer) }
}

impl<'r, S: Storage, L: Layer<S>> Guard<'r, S, L> {
    /// Notes the inode that devices are read for from now on.
    pub fn set_file(&mut self, file: Option<u64>) {
        self.file = file;
        self.io.recorder.set_file(file);
    }

    /// Lets go of the lock, calls `work`, and takes the lock again. Other readers change the state
    /// meanwhile.
    pub fn released<T>(&mut self, work: impl FnOnce(&'r S) -> T) -> T {
        let storage = self.storage;
        #[cfg(feature = "alloc")]
        {
            self.was_released = true;
            let task = self.task;
            self.tasks.wake_for_others(task);
            if self.tasks.has_due() {
                self.wake_due();
            }
        }
        let out = MutexGuard::unlocked(&mut self.state, || {
            storage.unlocked();
            let out = work(storage);
            storage.locking();
            out
        });
        self.io.recorder.set_file(self.file);
        out
    }

    /// Lets go of the lock for a moment, in a loop that waits for another reader.
    ///
    /// # Errors
    /// [`Stop::Wait`] if the reader is a task: the other reader is one that blocks, in another
    /// thread.
    pub fn pause(&mut self, spin: &mut Spin) -> Result<(), Stop> {
        #[cfg(feature = "alloc")]
        if let Some(id) = self.task {
            self.tasks.wait_for_others(id);
            return Err(Stop::Wait);
        }
        self.released(|storage| {
            if let Some(ns) = spin.round() {
                rest(storage, ns);
            }
        });
        Ok(())
    }

    /// Waits until `find` finds something in the state that other readers have for now: each of them
    /// gives it back when its device has answered.
    ///
    /// # Errors
    /// As [`Guard::pause`].
    pub fn wait_for_one<T>(
        &mut self,
        mut find: impl FnMut(&mut Inner<L>) -> Option<T>,
    ) -> Result<T, Stop> {
        let mut spin = Spin::default();
        loop {
            if let Some(found) = find(self) {
                return Ok(found);
            }
            self.pause(&mut spin)?;
        }
    }
}

/// Leaves the processor to others for at most `ns` nanoseconds, if the storage can.
fn rest<S: Storage>(storage: &S, ns: u32) {
    #[cfg(feature = "alloc")]
    storage.rest(ns);
    #[cfg(not(feature = "alloc"))]
    let _ = (storage, ns);
}
