//! A session with one daemon: handshake, open, close.
//!
//! Always: every lookup of a node is given back by exactly one FORGET, also when an opening fails
//! half-way; an [`OpenFile`] is a regular file, open for reading.

use zerocopy::IntoBytes;

use super::Transport;
use super::abi::{
    self, Attr, EntryOut, ForgetIn, InitIn, InitOut, Opcode, OpenIn, OpenOut, ReleaseIn,
};
use super::error::{Cause, Error, Operation, Want};
use super::message::{self, Call, HEADER_BYTES, length_of};
use super::question::Question;
use super::read::ReadRequest;
use rootlet_base::num::wide;
use rootlet_base::trace::{self, Shown};
use rootlet_storage::share::{self, LINKS_MAX, Way};
use rootlet_storage::{Errno, FileStamp, FileTime, FileType, IoErrorKind, LinkFault};

/// The longest read in bytes, whatever a daemon offers: not all daemons take more than 256 pages.
pub const READ_BYTES_MAX: u32 = 1 << 20;

/// The minor version that INIT offers.
const MINOR: u32 = 38;
/// The binary logarithm of a page of the protocol.
const PAGE_BITS: u32 = 12;
/// The pages of a message without an agreement on MAX_PAGES (`FUSE_DEFAULT_MAX_PAGES_PER_REQ`).
const PAGES_DEFAULT: u32 = 32;
/// Requests take even numbers: the next odd number names a request's interrupt
/// (`FUSE_INT_REQ_BIT`).
const UNIQUE_STEP: u64 = 2;
/// The longest target of a symbolic link in bytes (`PATH_MAX` of Linux). A daemon may not answer at
/// all if its target does not fit in the reply.
pub(super) const TARGET_BYTES_MAX: usize = 4096;
/// The body of a reply to INIT up to protocol 7.4.
const INIT_4_BYTES: u16 = abi::COMPAT_INIT_OUT_BYTES;
/// The body of a reply to INIT up to protocol 7.22.
const INIT_22_BYTES: u16 = abi::COMPAT_22_INIT_OUT_BYTES;
/// The body of a reply to LOOKUP up to protocol 7.8.
const ENTRY_8_BYTES: u16 = abi::COMPAT_ENTRY_OUT_BYTES;
/// The longest file: offsets are signed.
const SIZE_MAX: u64 = u64::MAX >> 1;

/// A session: the terms agreed with a daemon.
///
/// ```
/// use rootlet_fuse::{Error, REPLY_HEADER_BYTES, Session, Transport};
///
/// /// Reads the first bytes of a file of a share into `out`, which holds a reply's header too.
/// fn read<'o>(
///     transport: &mut impl Transport,
///     path: &[u8],
///     out: &'o mut [u8],
/// ) -> Result<&'o [u8], Box<dyn std::error::Error>> {
///     let mut session = Session::connect(transport)?;
///     let file = session.open(transport, path)?;
///     let room = out.len().saturating_sub(REPLY_HEADER_BYTES);
///     let size = session.read_bytes_max().min(u32::try_from(room)?);
///     let request = session.read_request(&file, 0, size);
///     let reported = transport.exchange(&[request.bytes()], out).map_err(|kind| kind.to_string())?;
///     let (header, data) = out.split_first_chunk().ok_or("no room for a reply")?;
///     let len = request.reply(header, u32::try_from(reported)?).map_err(|kind| kind.to_string())?;
///     session.close(transport, file)?;
///     Ok(&data[..usize::try_from(len)?])
/// }
/// ```
#[derive(Debug)]
pub struct Session {
    minor: u32,
    read_bytes_max: u32,
    unique: u64,
}

/// A regular file, open for reading until [`Session::close`].
#[derive(Debug, PartialEq, Eq)]
pub struct OpenFile {
    /// The daemon's number for the node.
    pub nodeid: u64,
    /// The daemon's number for the open file.
    pub fh: u64,
    /// The length in bytes, at most `i64::MAX`.
    pub size: u64,
    /// A number that changes when the content may have changed ([`FileStamp::version`]).
    pub version: u64,
}

impl OpenFile {
    /// Returns the question whether the daemon still knows the file.
    pub fn question(&self) -> Question {
        Question::new(self.nodeid, self.fh)
    }
}

impl Session {
    /// Begins a session: agrees with the daemon on a version and the size of messages (INIT).
    ///
    /// # Errors
    /// [`Cause::Version`] if the major version is not 7; failures of the daemon or the transport.
    pub fn connect(transport: &mut impl Transport) -> Result<Self, Error> {
        let mut session = Self { minor: MINOR, read_bytes_max: 0, unique: 0 };
        let body = InitIn {
            major: abi::KERNEL_VERSION,
            minor: MINOR,
            max_readahead: READ_BYTES_MAX,
            flags: abi::ASYNC_READ | abi::BIG_WRITES | abi::MAX_PAGES,
            flags2: 0,
            unused: [0; 11],
        };
        let call = Call {
            operation: Operation::Init,
            opcode: Opcode::INIT,
            nodeid: 0,
            parts: [body.as_bytes(), &[]],
            body_bytes_min: INIT_4_BYTES,
        };
        let (reply, body_bytes) = call.run::<InitOut>(session.next_unique(), transport)?;
        let (major, minor) = (reply.major, reply.minor);
        if major != abi::KERNEL_VERSION {
            return Err(Error {
                operation: Operation::Init,
                cause: Cause::Version { major, minor },
            });
        }
        // The minor version in the reply says how long the reply is (fuse.h, changes in 7.5 and
        // 7.23). A longer reply is fine: its further fields are ignored.
        let want = match minor {
            ..5 => INIT_4_BYTES,
            5..23 => INIT_22_BYTES,
            23.. => length_of::<InitOut>(),
        };
        if body_bytes < usize::from(want) {
            return Err(malformed(
                Operation::Init,
                "the length of the reply's body",
                wide(body_bytes),
                Want::AtLeast(u64::from(want)),
            ));
        }
        // MAX_PAGES came with 7.28. A daemon that agrees to 0 pages means 1 (Linux
        // `process_init_reply`).
        let pages = match reply.flags & abi::MAX_PAGES {
            0 => PAGES_DEFAULT,
            _ if minor < 28 => PAGES_DEFAULT,
            _ => u32::from(reply.max_pages).max(1),
        };
        session.minor = minor.min(MINOR);
        session.read_bytes_max = pages.min(READ_BYTES_MAX >> PAGE_BITS) << PAGE_BITS;
        Ok(session)
    }

    /// Returns the longest read that the daemon agreed to, in bytes: a multiple of 4096, at most
    /// [`READ_BYTES_MAX`].
    pub fn read_bytes_max(&self) -> u32 {
        self.read_bytes_max
    }

    /// Opens the regular file at `path`: names separated by single slashes, from the share's root.
    /// Follows symbolic links that stay in the share.
    ///
    /// # Errors
    /// [`Cause::Path`] if `path` is not such a list of names, before anything is sent;
    /// [`Cause::Link`] for a link that is not followed; [`Cause::Type`] if the path does not lead
    /// to a regular file; failures of the daemon or the transport. Nothing stays looked up or open.
    pub fn open(&mut self, transport: &mut impl Transport, path: &[u8]) -> Result<OpenFile, Error> {
        share::check(path).map_err(|(component, fault)| Error {
            operation: Operation::Lookup(component),
            cause: Cause::Path(fault),
        })?;
        let node = match self.walk(transport, path)? {
            Walked::Node(node) => node,
            turn => self.follow(transport, path, turn)?,
        };
        let opened = self.open_node(transport, &node);
        if opened.is_err() {
            self.forget_quietly(transport, &node);
        }
        opened
    }

    /// Reopens a file that an earlier session had open at `path`, and updates `file`. The numbers
    /// in `file` are void: the daemon of that session is gone.
    ///
    /// # Errors
    /// Those of [`Session::open`]; [`Cause::Changed`] if the file at `path` has another version.
    /// Then nothing stays looked up or open, and `file` is unchanged.
    pub fn reopen(
        &mut self,
        transport: &mut impl Transport,
        path: &[u8],
        file: &mut OpenFile,
    ) -> Result<(), Error> {
        let opened = self.open(transport, path)?;
        if opened.version == file.version {
            *file = opened;
            return Ok(());
        }
        self.close(transport, opened)?;
        Err(Error { operation: Operation::Open, cause: Cause::Changed })
    }

    /// Closes a file (RELEASE) and gives its node back (FORGET). Tries both in any case.
    ///
    /// # Errors
    /// The first of the two failures.
    pub fn close(&mut self, transport: &mut impl Transport, file: OpenFile) -> Result<(), Error> {
        let body = ReleaseIn { fh: file.fh, flags: 0, release_flags: 0, lock_owner: 0 };
        let call = Call {
            operation: Operation::Release,
            opcode: Opcode::RELEASE,
            nodeid: file.nodeid,
            parts: [body.as_bytes(), &[]],
            body_bytes_min: 0,
        };
        let released = call.run::<()>(self.next_unique(), transport);
        let forgotten = self.forget(transport, file.nodeid);
        released?;
        forgotten.map_err(|kind| Error { operation: Operation::Forget, cause: Cause::Io(kind) })
    }

    /// Ends the session (DESTROY): the daemon drops its nodes and open files.
    ///
    /// # Errors
    /// Failures of the daemon or the transport.
    pub fn destroy(&mut self, transport: &mut impl Transport) -> Result<(), Error> {
        let call = Call {
            operation: Operation::Destroy,
            opcode: Opcode::DESTROY,
            nodeid: 0,
            parts: [&[], &[]],
            body_bytes_min: 0,
        };
        call.run::<()>(self.next_unique(), transport).map(|_| ())
    }

    /// Returns a request for `size` bytes at byte `offset` of an open file. The daemon may refuse a
    /// `size` over [`Session::read_bytes_max`], or send fewer bytes.
    pub fn read_request(&mut self, file: &OpenFile, offset: u64, size: u32) -> ReadRequest {
        ReadRequest::new(self.next_unique(), file.nodeid, file.fh, offset, size)
    }

    /// Looks `path` up to its end, or to the first link or `..`. Returns the last node, looked up
    /// once; gives all other nodes back.
    fn walk(&mut self, transport: &mut impl Transport, path: &[u8]) -> Result<Walked, Error> {
        let mut node = Node::ROOT;
        if path.is_empty() {
            return Ok(Walked::Node(node));
        }
        for (component, name) in share::components(path) {
            let found = match name {
                _ if !node.is(FileType::DIRECTORY) => Err(node.error(Cause::Type(node.mode))),
                b".." => Ok(None),
                _ => self.lookup(transport, component, &node, name).map(Some),
            };
            // A daemon keeps a node without its parent, so one node at a time is held.
            self.forget_quietly(transport, &node);
            node = match found? {
                Some(node) => node,
                None => return Ok(Walked::Up(component)),
            };
            if node.is(FileType::LINK) {
                return Ok(Walked::Link(node));
            }
        }
        Ok(Walked::Node(node))
    }

    /// Continues a walk from `turn`, the first link or `..` of `path`. Returns the node at the end,
    /// looked up once.
    // Not inlined: few paths have a link, and a link's target takes kilobytes of stack.
    #[inline(never)]
    fn follow(
        &mut self,
        transport: &mut impl Transport,
        path: &[u8],
        mut turn: Walked,
    ) -> Result<Node, Error> {
        let mut way: Option<Way> = None;
        for _ in 0..LINKS_MAX {
            let path = way.as_ref().map_or(path, Way::path);
            let next = match turn {
                Walked::Node(node) => return Ok(node),
                Walked::Link(link) => {
                    let next = self.read_link(transport, path, &link);
                    self.forget_quietly(transport, &link);
                    next?
                }
                Walked::Up(component) => Way::new(path, component, b"..")
                    .map_err(|fault| not_followed(component, fault))?,
            };
            turn = self.walk(transport, next.path())?;
            way = Some(next);
        }
        let component = match turn {
            Walked::Node(node) => return Ok(node),
            Walked::Link(link) => {
                self.forget_quietly(transport, &link);
                link.component
            }
            Walked::Up(component) => component,
        };
        Err(not_followed(component, LinkFault::Many))
    }

    /// Reads the target of `link`. Returns `path` with the target in the link's place.
    fn read_link(
        &mut self,
        transport: &mut impl Transport,
        path: &[u8],
        link: &Node,
    ) -> Result<Way, Error> {
        let component = link.component;
        let call = Call {
            operation: Operation::Readlink(component),
            opcode: Opcode::READLINK,
            nodeid: link.nodeid,
            parts: [&[], &[]],
            body_bytes_min: 1,
        };
        let mut reply = [0; HEADER_BYTES + TARGET_BYTES_MAX];
        let target = call.exchange(self.next_unique(), transport, &mut reply)?;
        if target.contains(&0) {
            let what = "a byte of the link's target";
            return Err(malformed(Operation::Readlink(component), what, 0, Want::AtLeast(1)));
        }
        Way::new(path, component, target).map_err(|fault| not_followed(component, fault))
    }

    /// Looks up the name `name` in the directory `parent`; `component` is its number in the path,
    /// from 1.
    fn lookup(
        &mut self,
        transport: &mut impl Transport,
        component: usize,
        parent: &Node,
        name: &[u8],
    ) -> Result<Node, Error> {
        let operation = Operation::Lookup(component);
        let want = match self.minor {
            ..9 => ENTRY_8_BYTES,
            9.. => length_of::<EntryOut>(),
        };
        let parts = [name, b"\0".as_slice()];
        let call = Call {
            operation,
            opcode: Opcode::LOOKUP,
            nodeid: parent.nodeid,
            parts,
            body_bytes_min: want,
        };
        let (entry, _) = call.run::<EntryOut>(self.next_unique(), transport)?;
        match entry.nodeid {
            // A negative entry (since 7.4): the daemon caches that there is no such node.
            0 => Err(Error { operation, cause: Cause::Errno(Errno::ENOENT.0) }),
            // The root is not a child of any directory, and is never forgotten.
            abi::ROOT_ID => {
                Err(malformed(operation, "the node's number", abi::ROOT_ID, Want::AtLeast(2)))
            }
            nodeid => {
                let (attr, version) = (&entry.attr, version(&entry.attr));
                Ok(Node { nodeid, component, mode: attr.mode, size: attr.size, version })
            }
        }
    }

    /// Opens a node that was looked up once.
    fn open_node(
        &mut self,
        transport: &mut impl Transport,
        node: &Node,
    ) -> Result<OpenFile, Error> {
        let Node { nodeid, mode, size, version, .. } = *node;
        // Checked before OPEN, which may block forever on a pipe.
        if !node.is(FileType::REGULAR) {
            return Err(node.error(Cause::Type(mode)));
        }
        if size > SIZE_MAX {
            let (what, want) = ("the file's size", Want::AtMost(SIZE_MAX));
            return Err(node.error(Cause::Malformed { what, got: size, want }));
        }
        let body = OpenIn { flags: 0, open_flags: 0 }; // O_RDONLY is 0
        let call = Call {
            operation: Operation::Open,
            opcode: Opcode::OPEN,
            nodeid,
            parts: [body.as_bytes(), &[]],
            body_bytes_min: length_of::<OpenOut>(),
        };
        let (open, _) = call.run::<OpenOut>(self.next_unique(), transport)?;
        Ok(OpenFile { nodeid, fh: open.fh, size, version })
    }

    /// Gives the one lookup of a node back (FORGET, which has no reply).
    fn forget(&mut self, transport: &mut impl Transport, nodeid: u64) -> Result<(), IoErrorKind> {
        let body = ForgetIn { nlookup: 1 };
        let unique = self.next_unique();
        let bytes = length_of::<ForgetIn>();
        let header = message::header(Opcode::FORGET, unique, nodeid, bytes);
        transport.send(&[header.as_bytes(), body.as_bytes()])
    }

    /// Gives one lookup of `node` back; a failure is logged, as it only costs the daemon memory.
    /// Does nothing for the root, which was not looked up.
    fn forget_quietly(&mut self, transport: &mut impl Transport, node: &Node) {
        if node.nodeid != abi::ROOT_ID
            && let Err(kind) = self.forget(transport, node.nodeid)
        {
            trace::warn!("FUSE FORGET of node {}: {}", node.nodeid, Shown(&kind));
        }
    }

    /// Returns the number of the next request. Numbers repeat after 2^63 requests.
    fn next_unique(&mut self) -> u64 {
        self.unique = self.unique.wrapping_add(UNIQUE_STEP);
        self.unique
    }
}

/// The end of a walk.
enum Walked {
    /// The node at the end of the path.
    Node(Node),
    /// A link, which is held: looked up and not given back.
    Link(Node),
    /// The number of a `..` component.
    Up(usize),
}

/// A node on the path: a directory, a link or the file.
struct Node {
    nodeid: u64,
    /// The number of its component in the path, from 1; 0 for the root.
    component: usize,
    mode: u32,
    size: u64,
    version: u64,
}

impl Node {
    const ROOT: Self =
        Self { nodeid: abi::ROOT_ID, component: 0, mode: 0o040_755, size: 0, version: 0 };

    fn is(&self, file_type: FileType) -> bool {
        FileType::of(self.mode) == file_type
    }

    /// Returns `cause` as an error of the lookup of this node.
    fn error(&self, cause: Cause) -> Error {
        Error { operation: Operation::Lookup(self.component), cause }
    }
}

fn version(attr: &Attr) -> u64 {
    let time = |seconds, nanoseconds| FileTime { seconds, nanoseconds: u64::from(nanoseconds) };
    let (mtime, ctime) = (time(attr.mtime, attr.mtimensec), time(attr.ctime, attr.ctimensec));
    FileStamp { inode: attr.ino, bytes: attr.size, mtime, ctime }.version()
}

fn not_followed(component: usize, fault: LinkFault) -> Error {
    Error { operation: Operation::Readlink(component), cause: Cause::Link(fault) }
}

fn malformed(operation: Operation, what: &'static str, got: u64, want: Want) -> Error {
    Error { operation, cause: Cause::Malformed { what, got, want } }
}
