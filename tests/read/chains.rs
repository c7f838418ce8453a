//! Errors and their causes: each says its own part, and all together the whole.

use core::error::Error as _;
use rootlet::blob::{BindError, Image};
use rootlet::cache::{NoRegion, Refused};
use rootlet::erofs::codec::{Algorithm, Fault};
use rootlet::erofs::{Corrupt, FormatError, MapFault, Nid, Unsupported};
use rootlet::fuse::{self, Operation};
use rootlet::read::Root;
use rootlet::storage::memory::MemoryStorage;
use rootlet::storage::{DeviceId, DiscoverError, IoError, IoErrorKind, PathFault, Unfit};
use rootlet::{Error, PathError};

/// Returns the message of each error of a chain, and checks that none has the words of its cause.
fn chain(error: &dyn core::error::Error) -> Vec<String> {
    let mut says = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        says.push(error.to_string());
        cause = error.source();
    }
    for pair in says.windows(2) {
        assert!(!pair[0].contains(&pair[1]), "{pair:?}");
    }
    says
}

/// Checks the messages of an error's chain, and that `{:#}` writes all of them.
fn has(error: &(impl core::error::Error + 'static), wanted: &[&str]) {
    assert_eq!(chain(error), wanted);
    assert_eq!(format!("{error:#}"), wanted.join(": "));
}

const IO: IoError = IoError::new(DeviceId(3), 0x1000, 512, IoErrorKind::Timeout);
const IO_SAYS: [&str; 2] = ["device 3: 512 bytes at byte 0x1000", "no answer before the deadline"];

#[test]
fn each_error_says_its_part_and_all_together_the_whole() {
    has(&IO, &IO_SAYS);
    has(&Error::Io(IO), &["I/O error", IO_SAYS[0], IO_SAYS[1]]);
    let nid = Nid(7);
    let map = Corrupt::Map { nid, fault: MapFault::NotCompressed };
    let map_says = ["corrupt image", "compressed map of nid 7", "the inode is not compressed"];
    has(&Error::Corrupt(map), &map_says);
    has(&FormatError::Corrupt(map), &map_says);
    let fault = Fault::Properties(9);
    let encoded = Corrupt::Encoded { nid, offset: 16, algorithm: Algorithm::MicroLzma, fault };
    assert_eq!(chain(&Error::Corrupt(encoded)).last(), Some(&fault.to_string()));
    let layout = Unsupported::Layout { nid, layout: 5 };
    has(&Error::Unsupported(layout), &["unsupported image", "data layout 5 of nid 7"]);
    has(&Error::Path(PathError::NotFound), &["no such file or directory"]);
    let unfit = BindError::Unfit { slot: 2, device: DeviceId(4), unfit: Unfit::Memory(3) };
    has(&Error::Bind(unfit), &["blob of slot 2 (device 4)", &Unfit::Memory(3).to_string()]);
    let cause = DiscoverError::Daemon(IoErrorKind::Gone);
    let source = BindError::Source { slot: 0, name: "disk x".chars().collect(), cause };
    let says = ["the image (disk x)", "the share's daemon failed", "the device is gone"];
    has(&Error::Bind(source), &says);
    has(&DiscoverError::Path(PathFault::Dots), &["its path is refused", "the name is '.' or '..'"]);
    has(&Refused::Io(IoErrorKind::Gone), &["its disk failed", "the device is gone"]);
    let refused = fuse::Error::new(Operation::Open, fuse::Cause::Errno(13));
    has(&refused, &["FUSE OPEN", "permission denied (errno 13)"]);
}

#[test]
fn cause_of_a_failed_mount_is_found_by_its_type() {
    let mut storage = MemoryStorage::new();
    let device = storage.add_disk("image", &[0; 4096]).unwrap();
    assert!(matches!(Image::read(&storage, device), Err(Error::Corrupt(_))));
    let failed = Root::open_image(storage, NoRegion, device).unwrap_err();
    let cause = failed.source().and_then(|cause| cause.downcast_ref());
    assert_eq!(cause, Some(&Corrupt::Magic(0)));
    assert_eq!(failed.to_string(), "corrupt image");
    assert_eq!(format!("{failed:#}"), format!("corrupt image: {}", Corrupt::Magic(0)));
}
