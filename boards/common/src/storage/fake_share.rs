//! A share whose daemon can be killed, stopped and started anew, as under Cloud Hypervisor, and
//! whose answers may come in any order, be wrong, or not come.
//!
//! Always: a daemon that is started anew knows of no session, node or file, and takes what is put
//! into the queues from then on: what the one before had not answered is lost. Numbers of nodes and
//! files begin anew with each daemon, so that an old one names another file.

use alloc::collections::BTreeSet;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use rootlet_sim::Rng;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::fake::{self, chain, places, read, write};
use crate::virtio::{FILE_SYSTEM, Found, Place};

pub(super) const INIT: u32 = 26;
pub(super) const LOOKUP: u32 = 1;
pub(super) const OPEN: u32 = 14;
pub(super) const READ: u32 = 15;
pub(super) const FLUSH: u32 = 25;
const FORGET: u32 = 2;
const ENTRIES: u32 = 128;

/// A file of the share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) name: &'static str,
    pub(super) bytes: Vec<u8>,
    pub(super) ctime: u64,
}

#[derive(Clone, Copy, Default)]
struct Queue {
    descriptors: u64,
    driver: u64,
    device: u64,
    seen: u16,
    used: u16,
}

/// What a daemon knows.
#[derive(Default)]
struct Daemon {
    in_session: bool,
    /// Files by the number of their node, and by that of an open file.
    nodes: Vec<usize>,
    open: Vec<usize>,
}

/// A request that the daemon has not answered.
struct Taken {
    queue: usize,
    head: u16,
    request: Vec<u8>,
    writable: Vec<u64>,
}

/// The course of a daemon whose answers a seed decides; the numbers are times in a million requests.
pub(super) struct Course {
    pub(super) rng: Rng,
    pub(super) fails: u32,
    pub(super) lies: u32,
    pub(super) keeps: u32,
    pub(super) dies: u32,
    /// The most READs of different files that were under way at once.
    pub(super) together: usize,
    /// The answers that were not in the order of their requests.
    pub(super) swapped: usize,
    taken: Vec<Taken>,
    kept: Vec<Taken>,
}

impl Course {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            fails: 0,
            lies: 0,
            keeps: 0,
            dies: 0,
            together: 0,
            swapped: 0,
            taken: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// From now on, everything is answered, what was kept too.
    pub(super) fn heal(&mut self) {
        (self.fails, self.lies, self.keeps, self.dies) = (0, 0, 0, 0);
        self.taken.append(&mut self.kept);
    }

    /// Returns the request that is answered next, if one is.
    fn next(&mut self) -> Option<Taken> {
        let reads = self.taken.iter().filter(|taken| opcode(&taken.request) == READ);
        let files: BTreeSet<&[u8]> = reads.map(|taken| &taken.request[40..48]).collect();
        self.together = self.together.max(files.len());
        if self.taken.is_empty() || self.rng.below(3) == 0 {
            return None;
        }
        let at = self.rng.index(self.taken.len());
        self.swapped += usize::from(at > 0);
        Some(self.taken.remove(at))
    }

    /// Spoils a reply, whose length stays one that the request has room for.
    fn spoil(&mut self, reply: &mut Vec<u8>) {
        if self.rng.chance(self.fails) {
            reply.truncate(16);
            reply[..4].copy_from_slice(&16_u32.to_le_bytes());
            reply[4..8].copy_from_slice(&(-5_i32).to_le_bytes());
        }
        if self.rng.chance(self.lies) {
            match self.rng.below(3) {
                0 => self.rng.fill(&mut reply[..16]),
                1 => reply[8] ^= 2,
                _ => reply.truncate(self.rng.index(reply.len())),
            }
        }
    }
}

fn opcode(request: &[u8]) -> u32 {
    u32::from_le_bytes(at(request, 4))
}

pub(super) struct State {
    pub(super) files: Vec<Shared>,
    /// The way in which it refuses unknown requests.
    pub(super) unknown: i32,
    /// How it fails each READ, if it does.
    pub(super) failure: Option<i32>,
    /// Takes requests and answers none.
    pub(super) is_stopped: bool,
    /// When a new daemon is started.
    pub(super) back_ns: Option<u64>,
    /// The requests that were taken.
    pub(super) opcodes: Vec<u32>,
    pub(super) resets: usize,
    /// Whether a seed decides what is answered when; else everything is answered at once.
    pub(super) course: Option<Course>,
    daemon: Option<Daemon>,
    status: DeviceStatus,
    queues: [Queue; 2],
}

/// The registers of a share.
pub(super) struct FakeShare(Rc<RefCell<State>>);

/// Returns a share with these files and a look into it.
pub(super) fn share(files: Vec<Shared>) -> (Found<FakeShare>, Rc<RefCell<State>>) {
    let state = State {
        files,
        unknown: -5,
        failure: None,
        is_stopped: false,
        back_ns: None,
        opcodes: Vec::new(),
        resets: 0,
        course: None,
        daemon: Some(Daemon::default()),
        status: DeviceStatus::empty(),
        queues: [Queue::default(); 2],
    };
    let state = Rc::new(RefCell::new(state));
    let transport = FakeShare(Rc::clone(&state));
    (Found { id: FILE_SYSTEM, transport, place: Place::Address(0) }, state)
}

fn at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().unwrap()
}

impl State {
    /// Kills the daemon; another one is there after `ns` nanoseconds.
    pub(super) fn kill(&mut self, ns: u64) {
        self.daemon = None;
        self.back_ns = Some(fake::now() + ns);
        self.opcodes.clear();
        self.lose();
    }

    /// Loses what was taken and not answered.
    fn lose(&mut self) {
        if let Some(course) = &mut self.course {
            course.taken.clear();
            course.kept.clear();
        }
    }

    fn start_if_due(&mut self) {
        if self.back_ns.is_some_and(|back_ns| fake::now() >= back_ns) {
            self.back_ns = None;
            self.daemon = Some(Daemon::default());
            for queue in &mut self.queues {
                queue.seen = if queue.driver == 0 { 0 } else { read(queue.driver + 2) };
            }
        }
    }

    fn work(&mut self) {
        self.start_if_due();
        if self.daemon.is_none() || self.is_stopped {
            return;
        }
        for number in 0..self.queues.len() {
            while self.queues[number].driver != 0
                && let Some(taken) = self.take(number)
            {
                match &mut self.course {
                    Some(course) => course.taken.push(taken),
                    None => self.answer_to(taken),
                }
            }
        }
        while self.daemon.is_some()
            && let Some(course) = &mut self.course
            && let Some(taken) = course.next()
        {
            let opcode = opcode(&taken.request);
            // One that dies before it has a file open cannot be asked whether it is the same.
            if opcode == READ && course.rng.chance(course.dies) {
                let ns = course.rng.below(2_000_000_000);
                self.kill(ns);
            } else if opcode != FORGET && course.rng.chance(course.keeps) {
                course.kept.push(taken);
            } else {
                self.answer_to(taken);
            }
        }
    }

    fn take(&mut self, number: usize) -> Option<Taken> {
        let queue = self.queues[number];
        if queue.seen == read::<u16>(queue.driver + 2) {
            return None;
        }
        let slot = u64::from(queue.seen) % u64::from(ENTRIES);
        let head: u16 = read(queue.driver + 4 + 2 * slot);
        let (readable, writable) = places(&chain(queue.descriptors, head));
        let request: Vec<u8> = readable.iter().map(|&place| read(place)).collect();
        let queue = &mut self.queues[number];
        queue.seen = queue.seen.wrapping_add(1);
        Some(Taken { queue: number, head, request, writable })
    }

    fn answer_to(&mut self, taken: Taken) {
        let Taken { queue: number, head, request, writable } = taken;
        let mut reply = self.reply(&request);
        if let Some(course) = &mut self.course
            && !reply.is_empty()
        {
            course.spoil(&mut reply);
        }
        assert!(reply.len() <= writable.len(), "room for the reply");
        reply.iter().zip(&writable).for_each(|(&byte, &place)| write(place, byte));
        let queue = &mut self.queues[number];
        let entry = queue.device + 4 + 8 * (u64::from(queue.used) % u64::from(ENTRIES));
        write(entry, u32::from(head));
        write(entry + 4, reply.len() as u32);
        queue.used = queue.used.wrapping_add(1);
        write(queue.device + 2, queue.used);
    }

    fn reply(&mut self, request: &[u8]) -> Vec<u8> {
        let opcode = u32::from_le_bytes(at(request, 4));
        self.opcodes.push(opcode);
        if opcode == FORGET {
            return Vec::new();
        }
        let (error, body) = match self.answer(opcode, request) {
            Ok(body) => (0, body),
            Err(error) => (error, Vec::new()),
        };
        let mut reply = (16 + body.len() as u32).to_le_bytes().to_vec();
        reply.extend(i32::to_le_bytes(error));
        reply.extend(&request[8..16]);
        reply.extend(body);
        reply
    }

    fn answer(&mut self, opcode: u32, request: &[u8]) -> core::result::Result<Vec<u8>, i32> {
        let Self { files, unknown, failure, .. } = self;
        let daemon = self.daemon.as_mut().unwrap();
        let (nodeid, body) = (u64::from_le_bytes(at(request, 16)) as usize, &request[40..]);
        daemon.in_session |= opcode == INIT;
        if !daemon.in_session {
            return Err(*unknown);
        }
        let mut out = vec![];
        match opcode {
            INIT => {
                let fields = [7_u32, 38, 1 << 20, 1 << 22, 0, 1 << 20, 1, 256];
                fields.iter().for_each(|field| out.extend(field.to_le_bytes()));
                out.resize(64, 0);
            }
            LOOKUP => {
                let name = body.strip_suffix(&[0]).unwrap();
                let found = files.iter().position(|file| file.name.as_bytes() == name).ok_or(-2)?;
                daemon.nodes.push(found);
                let file = &files[found];
                out.extend((daemon.nodes.len() as u64 + 1).to_le_bytes());
                out.resize(40, 0);
                let (inode, size) = (found as u64 + 100, file.bytes.len() as u64);
                for field in [inode, size, 8, 0, 7, file.ctime] {
                    out.extend(field.to_le_bytes());
                }
                out.resize(40 + 60, 0);
                out.extend(0o100_644_u32.to_le_bytes());
                out.resize(128, 0);
            }
            OPEN => {
                daemon.open.push(daemon.nodes[nodeid - 2]);
                out.extend((daemon.open.len() as u64 - 1).to_le_bytes());
                out.resize(16, 0);
            }
            READ | FLUSH => {
                let handle = u64::from_le_bytes(at(body, 0)) as usize;
                let file = &files[*daemon.open.get(handle).ok_or(*unknown)?].bytes;
                if opcode == READ {
                    failure.map_or(Ok(()), Err)?;
                    let from = u64::from_le_bytes(at(body, 8)) as usize;
                    let len = u32::from_le_bytes(at(body, 16)) as usize;
                    out.extend(&file[from..file.len().min(from + len)]);
                }
            }
            _ => {}
        }
        Ok(out)
    }
}

impl Transport for FakeShare {
    fn device_type(&self) -> DeviceType {
        DeviceType::Block
    }

    fn read_device_features(&mut self) -> u64 {
        1 << 32
    }

    fn write_driver_features(&mut self, _: u64) {}

    fn max_queue_size(&mut self, _: u16) -> u32 {
        ENTRIES
    }

    fn notify(&mut self, _: u16) {
        self.0.borrow_mut().work();
    }

    fn get_status(&self) -> DeviceStatus {
        let mut state = self.0.borrow_mut();
        state.work();
        state.status
    }

    fn set_status(&mut self, status: DeviceStatus) {
        let mut state = self.0.borrow_mut();
        if status.is_empty() {
            assert!(!state.is_stopped, "a reset waits for a daemon that is stopped");
            state.resets += 1;
            state.queues = [Queue::default(); 2];
            state.lose();
        }
        state.status = status;
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver: PhysAddr,
        device: PhysAddr,
    ) {
        assert_eq!(size, ENTRIES);
        let set = Queue { descriptors, driver, device, ..Queue::default() };
        self.0.borrow_mut().queues[usize::from(queue)] = set;
    }

    fn queue_unset(&mut self, _: u16) {}

    fn queue_used(&mut self, queue: u16) -> bool {
        self.0.borrow().queues[usize::from(queue)].driver != 0
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        0
    }

    fn read_config_space<V: FromBytes + IntoBytes>(&self, offset: usize) -> Result<V> {
        let mut config = [0; 40];
        config[..5].copy_from_slice(b"share");
        config[36] = 1;
        let value = V::read_from_prefix(&config[offset..]);
        value.map(|(value, _)| value).map_err(|_| virtio_drivers::Error::IoError)
    }

    fn write_config_space<V: IntoBytes + Immutable>(&mut self, _: usize, _: V) -> Result<()> {
        Ok(())
    }
}
