//! An opening as messages: the requests, one at a time, and the meaning of each reply.
//!
//! Always: nothing waits here, and no byte is moved; every node that was looked up is given back by
//! exactly one FORGET, but for that of a file that is open in the end.

use super::abi::{self, Attr, EntryOut, Opcode, OpenIn, OpenOut};
use super::error::{Cause, Error, Operation, Want};
use super::message::{Call, Expected, Message, TARGET_BYTES_MAX, length_of};
use super::session::{OpenFile, Session};
use rootlet_storage::share::{self, LINKS_MAX, Way};
use rootlet_storage::{Errno, FileStamp, FileTime, FileType, IoErrorKind, LinkFault};

/// The body of a reply to LOOKUP up to protocol 7.8.
const ENTRY_8_BYTES: u16 = abi::COMPAT_ENTRY_OUT_BYTES;
/// The longest file: offsets are signed.
const SIZE_MAX: u64 = u64::MAX >> 1;

/// A regular file that is being opened, without a transport: [`Opening::next`] says what to send,
/// [`Opening::answer`] takes the reply, until there is nothing more to send. Several may be under
/// way in one session at once, beside reads.
///
/// ```
/// use rootlet_fuse::{Error, OpenFile, Opening, Session, Transport};
///
/// fn open(
///     session: &mut Session,
///     transport: &mut impl Transport,
///     path: &[u8],
/// ) -> Result<OpenFile, Error> {
///     let mut opening = Opening::new(path)?;
///     while let Some(message) = opening.next(session) {
///         let mut reply = vec![0; message.reply_bytes()];
///         if reply.is_empty() {
///             let _ = transport.send(message.bytes());
///         } else {
///             let used = transport.exchange(message.bytes(), &mut reply);
///             opening.answer(&reply, used);
///         }
///     }
///     opening.end()
/// }
/// ```
#[derive(Debug)]
pub struct Opening<P> {
    path: P,
    /// The path after links were replaced by their targets.
    way: Option<Way>,
    /// The links and `..` that may still be followed.
    turns_left: usize,
    /// The node that is held: looked up and not given back.
    node: Node,
    /// A node that is to be given back before anything else is sent.
    due: Option<u64>,
    /// The version that the file has to have.
    version: Option<u64>,
    stage: Stage,
}

/// The stage of an opening.
#[derive(Debug)]
enum Stage {
    /// The next request is to be made.
    Ready,
    /// A request is under way.
    Lookup(Expected),
    Readlink(Expected),
    Open(Expected),
    /// There is nothing more to do but to give nodes back.
    Over(Result<OpenFile, Error>),
}

impl<P: AsRef<[u8]>> Opening<P> {
    /// Returns the opening of the file at `path`: names separated by single slashes, from the share's
    /// root. Symbolic links that stay in the share are followed.
    ///
    /// # Errors
    /// [`Cause::Path`] if `path` is not such a list of names.
    pub fn new(path: P) -> Result<Self, Error> {
        share::check(path.as_ref()).map_err(|(component, fault)| Error {
            operation: Operation::Lookup(component),
            cause: Cause::Path(fault),
        })?;
        let (way, due, version) = (None, None, None);
        let (node, stage) = (Node::ROOT, Stage::Ready);
        Ok(Self { path, way, turns_left: LINKS_MAX, node, due, version, stage })
    }

    /// Returns the opening of a file that an earlier session had open with this
    /// [version](OpenFile::version): [`Cause::Changed`] if it has another one now.
    ///
    /// # Errors
    /// As [`Opening::new`].
    pub fn again(path: P, version: u64) -> Result<Self, Error> {
        Ok(Self { version: Some(version), ..Self::new(path)? })
    }

    /// Returns the next request to send; `None` at the end. One without a reply is sent, and then
    /// comes the next; whether it arrives only concerns the memory of the daemon.
    ///
    /// # Panics
    /// If the reply to the one before is not there.
    pub fn next(&mut self, session: &mut Session) -> Option<Message> {
        if let Some(nodeid) = self.due.take() {
            return Some(Message::forget(session.next_unique(), nodeid));
        }
        while let Stage::Ready = self.stage {
            match self.request(session) {
                Ok(Some(message)) => return Some(message),
                Ok(None) => {}
                Err(error) => {
                    self.stage = Stage::Over(Err(error));
                    self.give_back();
                    return self.next(session);
                }
            }
        }
        assert!(matches!(self.stage, Stage::Over(_)), "a request is answered before the next");
        None
    }

    /// Takes the reply to the request that was made last. `lent` was lent for the reply, and `used` is
    /// the length of the reply that the device reports, or why there is none.
    ///
    /// # Panics
    /// If no request is under way.
    pub fn answer(&mut self, lent: &[u8], used: Result<usize, IoErrorKind>) {
        let result = match core::mem::replace(&mut self.stage, Stage::Ready) {
            Stage::Lookup(expected) => self.looked_up(&expected, lent, used),
            Stage::Readlink(expected) => self.read_link(&expected, lent, used),
            Stage::Open(expected) => self.opened(&expected, lent, used),
            Stage::Ready | Stage::Over(_) => panic!("a reply belongs to a request"),
        };
        if let Err(error) = result {
            self.stage = Stage::Over(Err(error));
            self.give_back();
        }
    }

    /// Returns the open file.
    ///
    /// # Errors
    /// [`Cause::Link`] for a link that is not followed; [`Cause::Type`] if the path does not lead to a
    /// regular file; [`Cause::Changed`]; failures of the daemon or the transport. Nothing stays looked
    /// up or open.
    ///
    /// # Panics
    /// If there is something to send.
    pub fn end(self) -> Result<OpenFile, Error> {
        match (self.stage, self.due) {
            (Stage::Over(result), None) => result,
            _ => panic!("an opening ends when it has sent everything"),
        }
    }

    /// Makes the next request; `None` if there is a turn to take first.
    fn request(&mut self, session: &mut Session) -> Result<Option<Message>, Error> {
        let (node, path) = (&self.node, self.path());
        // An empty path leads to the root.
        let next = match path.is_empty() {
            true => None,
            false => share::components(path).nth(node.component),
        };
        let (call, stage): (_, fn(Expected) -> Stage) = match (FileType::of(node.mode), next) {
            (FileType::LINK, _) => {
                self.turns_left = turn(self.turns_left, node.component)?;
                (self.node.read_link(), Stage::Readlink)
            }
            (FileType::DIRECTORY, Some((component, b".."))) => {
                self.turns_left = turn(self.turns_left, component)?;
                self.follow(component, b"..")?;
                return Ok(None);
            }
            (FileType::DIRECTORY, Some((component, name))) => {
                (node.lookup(session.minor(), component, name), Stage::Lookup)
            }
            (FileType::REGULAR, None) => (self.openable()?.open(), Stage::Open),
            _ => return Err(node.error(Cause::Type(node.mode))),
        };
        let (message, expected) = call.message(session.next_unique());
        self.stage = stage(expected);
        Ok(Some(message))
    }

    /// Returns the path from the share's root, as far as its links are known.
    fn path(&self) -> &[u8] {
        self.way.as_ref().map_or(self.path.as_ref(), Way::path)
    }

    /// Returns the node at the end of the path if it may be opened.
    fn openable(&self) -> Result<&Node, Error> {
        let node = &self.node;
        if node.size > SIZE_MAX {
            let (what, want) = ("the file's size", Want::AtMost(SIZE_MAX));
            return Err(node.error(Cause::Malformed { what, got: node.size, want }));
        }
        match self.version {
            Some(version) if version != node.version => Err(node.error(Cause::Changed)),
            _ => Ok(node),
        }
    }

    /// Takes the reply to a LOOKUP.
    fn looked_up(
        &mut self,
        expected: &Expected,
        lent: &[u8],
        used: Result<usize, IoErrorKind>,
    ) -> Result<(), Error> {
        let (entry, _) = expected.fixed::<EntryOut>(lent, used)?;
        let operation = expected.operation;
        let nodeid = match entry.nodeid {
            // A negative entry (since 7.4): the daemon caches that there is no such node.
            0 => return Err(Error { operation, cause: Cause::Errno(Errno::ENOENT.0) }),
            // The root is not a child of any directory, and is never forgotten.
            abi::ROOT_ID => {
                let (what, want) = ("the node's number", Want::AtLeast(2));
                return Err(Error::malformed(operation, what, abi::ROOT_ID, want));
            }
            nodeid => nodeid,
        };
        let (attr, version) = (&entry.attr, version(&entry.attr));
        let Operation::Lookup(component) = operation else { panic!("a LOOKUP has a component") };
        // A daemon keeps a node without its parent, so one node at a time is held.
        self.give_back();
        self.node = Node { nodeid, component, mode: attr.mode, size: attr.size, version };
        Ok(())
    }

    /// Takes the reply to a READLINK, and continues from the share's root.
    fn read_link(
        &mut self,
        expected: &Expected,
        lent: &[u8],
        used: Result<usize, IoErrorKind>,
    ) -> Result<(), Error> {
        let target = expected.body(lent, used)?;
        if target.contains(&0) {
            let what = "a byte of the link's target";
            return Err(Error::malformed(expected.operation, what, 0, Want::AtLeast(1)));
        }
        self.follow(self.node.component, target)
    }

    /// Puts `target` in the place of a component of the path, and continues from the share's root.
    fn follow(&mut self, component: usize, target: &[u8]) -> Result<(), Error> {
        let way = Way::new(self.path(), component, target);
        self.way = Some(way.map_err(|fault| not_followed(component, fault))?);
        self.give_back();
        Ok(())
    }

    /// Takes the reply to an OPEN.
    fn opened(
        &mut self,
        expected: &Expected,
        lent: &[u8],
        used: Result<usize, IoErrorKind>,
    ) -> Result<(), Error> {
        let (OpenOut { fh, .. }, _) = expected.fixed(lent, used)?;
        let Node { nodeid, size, version, .. } = self.node;
        self.stage = Stage::Over(Ok(OpenFile { nodeid, fh, size, version }));
        Ok(())
    }

    /// Has the node that is held given back, unless it is the root, which was not looked up.
    fn give_back(&mut self) {
        let node = core::mem::replace(&mut self.node, Node::ROOT);
        if node.nodeid != abi::ROOT_ID {
            self.due = Some(node.nodeid);
        }
    }
}

/// A node on the path: a directory, a link or the file.
#[derive(Debug)]
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

    /// Looks a name up in this directory.
    fn lookup<'n>(&self, minor: u32, component: usize, name: &'n [u8]) -> Call<'n> {
        let least = match minor {
            ..9 => ENTRY_8_BYTES,
            9.. => length_of::<EntryOut>(),
        };
        Call {
            operation: Operation::Lookup(component),
            opcode: Opcode::LOOKUP,
            nodeid: self.nodeid,
            parts: [name, b"\0"],
            body_bytes: least..=length_of::<EntryOut>(),
        }
    }

    /// Reads the target of this link.
    fn read_link(&self) -> Call<'static> {
        Call {
            operation: Operation::Readlink(self.component),
            opcode: Opcode::READLINK,
            nodeid: self.nodeid,
            parts: [&[], &[]],
            body_bytes: 1..=TARGET_BYTES_MAX,
        }
    }

    /// Opens this file for reading: `O_RDONLY` is 0.
    fn open(&self) -> Call<'static> {
        Call {
            operation: Operation::Open,
            opcode: Opcode::OPEN,
            nodeid: self.nodeid,
            parts: [const { &[0; size_of::<OpenIn>()] }, &[]],
            body_bytes: length_of::<OpenOut>()..=length_of::<OpenOut>(),
        }
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

/// Returns the turns that are left after one, at a link or `..`.
fn turn(left: usize, component: usize) -> Result<usize, Error> {
    left.checked_sub(1).ok_or_else(|| not_followed(component, LinkFault::Many))
}

fn not_followed(component: usize, fault: LinkFault) -> Error {
    Error { operation: Operation::Readlink(component), cause: Cause::Link(fault) }
}
