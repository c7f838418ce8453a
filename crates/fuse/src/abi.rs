//! The messages of FUSE as they lie in memory: those that a reader sends and receives.
//!
//! Always: field by field as in Linux `include/uapi/linux/fuse.h` (protocol 7.38), in the byte
//! order of this machine; no struct has padding, on machines of 32 bits neither.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The major version of the protocol (`FUSE_KERNEL_VERSION`).
pub const KERNEL_VERSION: u32 = 7;
/// The node of a share's root (`FUSE_ROOT_ID`).
pub const ROOT_ID: u64 = 1;

/// Reads may be answered in any order (`FUSE_ASYNC_READ`).
pub const ASYNC_READ: u32 = 1 << 0;
/// Writes may be longer than 4 KiB (`FUSE_BIG_WRITES`).
pub const BIG_WRITES: u32 = 1 << 5;
/// INIT agrees on the pages of a message (`FUSE_MAX_PAGES`).
pub const MAX_PAGES: u32 = 1 << 22;

/// Length in bytes of an INIT reply up to 7.4 (`FUSE_COMPAT_INIT_OUT_SIZE`).
pub const COMPAT_INIT_OUT_BYTES: u16 = 8;
/// Length in bytes of an INIT reply up to 7.22 (`FUSE_COMPAT_22_INIT_OUT_SIZE`).
pub const COMPAT_22_INIT_OUT_BYTES: u16 = 24;
/// Length in bytes of a LOOKUP reply up to 7.8 (`FUSE_COMPAT_ENTRY_OUT_SIZE`).
pub const COMPAT_ENTRY_OUT_BYTES: u16 = 120;

/// The number of an operation (`fuse_opcode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opcode(pub u32);

impl Opcode {
    pub const LOOKUP: Self = Self(1);
    pub const FORGET: Self = Self(2);
    pub const READLINK: Self = Self(5);
    pub const OPEN: Self = Self(14);
    pub const READ: Self = Self(15);
    pub const RELEASE: Self = Self(18);
    pub const FLUSH: Self = Self(25);
    pub const INIT: Self = Self(26);
    pub const DESTROY: Self = Self(38);
}

/// The header of a request (`fuse_in_header`).
#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub struct InHeader {
    pub len: u32,
    pub opcode: u32,
    pub unique: u64,
    pub nodeid: u64,
    pub uid: u32,
    pub gid: u32,
    pub pid: u32,
    pub total_extlen: u16,
    pub padding: u16,
}

/// The header of a reply (`fuse_out_header`).
#[derive(Clone, Copy, Debug, FromBytes, Immutable)]
#[repr(C)]
pub struct OutHeader {
    pub len: u32,
    pub error: i32,
    pub unique: u64,
}

/// What INIT offers (`fuse_init_in`).
#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub struct InitIn {
    pub major: u32,
    pub minor: u32,
    pub max_readahead: u32,
    pub flags: u32,
    pub flags2: u32,
    pub unused: [u32; 11],
}

/// What a daemon agrees to (`fuse_init_out`).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct InitOut {
    pub major: u32,
    pub minor: u32,
    pub max_readahead: u32,
    pub flags: u32,
    pub max_background: u16,
    pub congestion_threshold: u16,
    pub max_write: u32,
    pub time_gran: u32,
    pub max_pages: u16,
    pub map_alignment: u16,
    pub flags2: u32,
    pub unused: [u32; 7],
}

/// What a daemon says of a node (`fuse_attr`).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Attr {
    pub ino: u64,
    pub size: u64,
    pub blocks: u64,
    pub atime: u64,
    pub mtime: u64,
    pub ctime: u64,
    pub atimensec: u32,
    pub mtimensec: u32,
    pub ctimensec: u32,
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u32,
    pub blksize: u32,
    pub flags: u32,
}

/// The reply to a LOOKUP (`fuse_entry_out`).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct EntryOut {
    pub nodeid: u64,
    pub generation: u64,
    pub entry_valid: u64,
    pub attr_valid: u64,
    pub entry_valid_nsec: u32,
    pub attr_valid_nsec: u32,
    pub attr: Attr,
}

/// How often a node is forgotten (`fuse_forget_in`).
#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub struct ForgetIn {
    pub nlookup: u64,
}

/// How a file is opened (`fuse_open_in`).
#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub struct OpenIn {
    pub flags: u32,
    pub open_flags: u32,
}

/// An open file (`fuse_open_out`).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct OpenOut {
    pub fh: u64,
    pub open_flags: u32,
    pub backing_id: i32,
}

/// The open file that a RELEASE ends (`fuse_release_in`).
#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub struct ReleaseIn {
    pub fh: u64,
    pub flags: u32,
    pub release_flags: u32,
    pub lock_owner: u64,
}

/// The open file that a FLUSH is about (`fuse_flush_in`).
#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub struct FlushIn {
    pub fh: u64,
    pub unused: u32,
    pub padding: u32,
    pub lock_owner: u64,
}

/// What a READ wants (`fuse_read_in`).
#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub struct ReadIn {
    pub fh: u64,
    pub offset: u64,
    pub size: u32,
    pub read_flags: u32,
    pub lock_owner: u64,
    pub flags: u32,
    pub padding: u32,
}

/// A whole READ request.
#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub struct ReadCall {
    pub header: InHeader,
    pub body: ReadIn,
}

/// A whole FLUSH request.
#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub struct FlushCall {
    pub header: InHeader,
    pub body: FlushIn,
}

const _: () = assert!(size_of::<InHeader>() == 40 && size_of::<OutHeader>() == 16);
const _: () = assert!(size_of::<InitIn>() == 64 && size_of::<InitOut>() == 64);
const _: () = assert!(size_of::<Attr>() == 88 && size_of::<EntryOut>() == 128);
const _: () = assert!(size_of::<OpenIn>() == 8 && size_of::<OpenOut>() == 16);
const _: () = assert!(size_of::<ReleaseIn>() == 24 && size_of::<FlushIn>() == 24);
const _: () = assert!(size_of::<ReadIn>() == 40 && size_of::<ForgetIn>() == 8);
