//! A daemon with a small tree, written from fuse.h and not from the session: it takes requests
//! apart by offset, counts what is looked up and open, and can be told to fail or to lie.

use std::collections::{BTreeMap, BTreeSet};

use rootlet::fuse::Transport;
use rootlet::storage::IoErrorKind;

pub const LOOKUP: u32 = 1;
pub const FORGET: u32 = 2;
pub const READLINK: u32 = 5;
pub const OPEN: u32 = 14;
pub const RELEASE: u32 = 18;
pub const FLUSH: u32 = 25;
pub const INIT: u32 = 26;
pub const DESTROY: u32 = 38;

/// A node; its number is its place in the tree, from 1.
#[derive(Clone, Debug)]
pub struct Node {
    pub parent: u64,
    pub name: Vec<u8>,
    pub mode: u32,
    pub size: u64,
    pub ino: u64,
    pub mtime: u64,
    pub mtime_nsec: u32,
    pub ctime: u64,
    pub ctime_nsec: u32,
    pub atime: u64,
    /// Where a link leads.
    pub target: Vec<u8>,
}

/// Changes a reply before it is sent: the opcode, and the bytes.
pub type Lie = Box<dyn FnMut(u32, &mut Vec<u8>)>;

pub struct Daemon {
    pub nodes: Vec<Node>,
    pub minor: u32,
    pub major: u32,
    pub flags: u32,
    pub max_pages: u16,
    /// Lookups that were not given back, by node.
    pub held: BTreeMap<u64, u64>,
    /// Handles that were not released.
    pub open: BTreeSet<u64>,
    /// How often it was started anew.
    pub starts: u64,
    /// Whether there was an INIT since it was started.
    pub in_session: bool,
    /// The requests so far.
    pub requests: Vec<Vec<u8>>,
    pub lie: Option<Lie>,
    /// The number of bytes to report, in place of those sent.
    pub claim: Option<usize>,
    /// The request (counted from 0, FORGET included) that does not reach the daemon.
    pub lost: Option<usize>,
}

impl Daemon {
    pub fn new() -> Self {
        let node = |parent, name: &[u8], mode, size| Node {
            parent,
            name: name.to_vec(),
            mode,
            size,
            ino: 1000 + size,
            mtime: 1_700_000_000,
            mtime_nsec: 5,
            ctime: 1_700_000_001,
            ctime_nsec: 6,
            atime: 0,
            target: Vec::new(),
        };
        let nodes = vec![
            node(0, b"", 0o040_755, 0),           // 1, the root
            node(1, b"dir", 0o040_755, 0),        // 2
            node(2, b"sub", 0o040_755, 0),        // 3
            node(3, b"file", 0o100_644, 123_456), // 4
            node(1, b"top", 0o100_644, 7),        // 5
            node(1, b"pipe", 0o010_644, 0),       // 6
            Node { target: b"top".to_vec(), ..node(1, b"link", 0o120_777, 3) }, // 7
        ];
        Self {
            nodes,
            minor: 38,
            major: 7,
            flags: 1 << 22,
            max_pages: 256,
            held: BTreeMap::new(),
            open: BTreeSet::new(),
            starts: 0,
            in_session: false,
            requests: Vec::new(),
            lie: None,
            claim: None,
            lost: None,
        }
    }

    /// Adds a link in the directory `parent`.
    pub fn link(&mut self, parent: u64, name: &str, target: &[u8]) {
        let (name, target) = (name.as_bytes().to_vec(), target.to_vec());
        self.nodes.push(Node { parent, name, target, ..self.nodes[6].clone() });
    }

    /// Ends the daemon, and starts it on the same tree: it knows of no session, node or handle.
    pub fn start_anew(&mut self) {
        self.starts += 1;
        self.in_session = false;
        self.held.clear();
        self.open.clear();
        self.requests.clear();
    }

    /// The reply to a question, as its header's bytes.
    pub fn reply_to(&self, question: &[u8]) -> [u8; 16] {
        assert_eq!((u32_at(question, 0), u32_at(question, 4)), (64, FLUSH));
        let known = self.in_session && self.open.contains(&u64_at(question, 40));
        let error = if known { 0_i32 } else { -5 };
        let parts = [&16_u32.to_le_bytes(), &error.to_le_bytes()[..], &question[8..16]];
        parts.concat().try_into().unwrap()
    }

    /// The opcodes of the requests so far.
    pub fn opcodes(&self) -> Vec<u32> {
        self.requests.iter().map(|request| u32_at(request, 4)).collect()
    }

    /// Takes a request, or loses it.
    fn take(&mut self, request: &[u8]) -> Result<Vec<u8>, IoErrorKind> {
        let request = request.to_vec();
        assert_eq!(u32_at(&request, 0) as usize, request.len(), "the header's length");
        let unique = u64_at(&request, 8);
        assert_eq!(unique, 2 * (self.requests.len() as u64 + 1), "fresh and even");
        assert_eq!(request[24..40], [0; 16], "uid, gid, pid, extension, padding");
        self.requests.push(request.clone());
        match self.lost {
            Some(number) if number + 1 == self.requests.len() => Err(IoErrorKind::Timeout),
            _ => Ok(request),
        }
    }

    fn answer(&mut self, opcode: u32, nodeid: u64, body: &[u8]) -> Result<Vec<u8>, i32> {
        self.in_session |= opcode == INIT;
        match opcode {
            // As libfuse does.
            _ if !self.in_session => Err(-5),
            INIT => Ok(self.init(body)),
            LOOKUP => self.lookup(nodeid, body),
            READLINK => {
                assert!(body.is_empty() && self.held.contains_key(&nodeid), "a node that is held");
                assert_eq!(self.node(nodeid).mode >> 12, 0o12, "only links have a target");
                Ok(self.node(nodeid).target.clone())
            }
            OPEN => {
                assert_eq!(body, [0; 8], "O_RDONLY");
                assert_eq!(self.node(nodeid).mode >> 12, 0o10, "only regular files are opened");
                let fh = 0xf000 + nodeid + (self.starts << 16);
                self.open.insert(fh);
                let mut out = fh.to_le_bytes().to_vec();
                out.extend([0; 8]);
                Ok(out)
            }
            RELEASE => {
                assert_eq!(body.len(), 24);
                assert!(self.open.remove(&u64_at(body, 0)), "an open handle");
                Ok(Vec::new())
            }
            DESTROY => Ok(Vec::new()),
            _ => Err(-38),
        }
    }

    fn init(&self, body: &[u8]) -> Vec<u8> {
        assert_eq!(body.len(), 64);
        assert_eq!((u32_at(body, 0), u32_at(body, 4)), (7, 38));
        assert_ne!(u32_at(body, 12) & 1 << 22, 0, "MAX_PAGES is asked for");
        let mut out = Vec::new();
        for field in [self.major, self.minor, 1 << 20, self.flags, 0, 1 << 20, 1] {
            out.extend(field.to_le_bytes());
        }
        out.extend(self.max_pages.to_le_bytes());
        out.resize(64, 0);
        out.truncate(match self.minor {
            ..5 => 8,
            5..23 => 24,
            _ => 64,
        });
        out
    }

    fn lookup(&mut self, parent: u64, body: &[u8]) -> Result<Vec<u8>, i32> {
        assert!(parent == 1 || self.held.contains_key(&parent), "a node that is held");
        let (zero, name) = body.split_last().unwrap();
        assert_eq!(*zero, 0, "the name ends in a zero byte");
        assert!(!name.contains(&0) && !name.contains(&b'/') && !name.is_empty());
        let found = self.nodes.iter().position(|node| node.parent == parent && node.name == name);
        let nodeid = found.ok_or(-2)? as u64 + 1;
        *self.held.entry(nodeid).or_default() += 1;
        let mut out = nodeid.to_le_bytes().to_vec();
        out.extend([0; 32]);
        out.extend(self.attr(nodeid));
        Ok(out)
    }

    fn node(&self, nodeid: u64) -> &Node {
        &self.nodes[nodeid as usize - 1]
    }

    /// `struct fuse_attr`, field by field; its last 8 bytes came with 7.9.
    fn attr(&self, nodeid: u64) -> Vec<u8> {
        let node = self.node(nodeid);
        let mut out = Vec::new();
        for field in [node.ino, node.size, 8, node.atime, node.mtime, node.ctime] {
            out.extend(field.to_le_bytes());
        }
        for field in [0, node.mtime_nsec, node.ctime_nsec, node.mode, 1, 0, 0, 0, 4096, 0] {
            out.extend(u32::to_le_bytes(field));
        }
        out.truncate(if self.minor < 9 { 80 } else { 88 });
        out
    }
}

impl Transport for Daemon {
    fn exchange(&mut self, request: &[u8], reply: &mut [u8]) -> Result<usize, IoErrorKind> {
        let request = self.take(request)?;
        let opcode = u32_at(&request, 4);
        assert_ne!(opcode, FORGET, "FORGET has no reply");
        let answer = self.answer(opcode, u64_at(&request, 16), &request[40..]);
        let (error, body) = answer.map_or_else(|error| (error, Vec::new()), |body| (0, body));
        let mut out = (16 + body.len() as u32).to_le_bytes().to_vec();
        out.extend(i32::to_le_bytes(error));
        out.extend(&request[8..16]);
        out.extend(body);
        if let Some(lie) = &mut self.lie {
            lie(opcode, &mut out);
        }
        // A device writes no further than its buffer reaches.
        let written = out.len().min(reply.len());
        reply[..written].copy_from_slice(&out[..written]);
        Ok(self.claim.unwrap_or(out.len()))
    }

    fn send(&mut self, request: &[u8]) -> Result<(), IoErrorKind> {
        let request = self.take(request)?;
        assert_eq!(u32_at(&request, 4), FORGET);
        assert_eq!(request.len(), 48);
        let (nodeid, count) = (u64_at(&request, 16), u64_at(&request, 40));
        let held = self.held.get_mut(&nodeid).expect("a node that is held");
        *held = held.checked_sub(count).expect("no more than was looked up");
        self.held.retain(|_, held| *held > 0);
        Ok(())
    }
}

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}
