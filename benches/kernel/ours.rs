//! rootlet over the image's file, through its public interface.

use std::path::Path;

use rootlet::blob::Image;
use rootlet::cache::NoRegion;
use rootlet::erofs::{FileKind, Inode};
use rootlet::read::{Budget, DirEntry, Root};
use rootlet::storage::file::FileStorage;

use crate::{Done, LONG, Reader, SHORT, SHORTS, THREADS, Work, place};

/// A mounted image.
pub struct Ours(Root<FileStorage, NoRegion>);

impl Ours {
    /// Mounts the image, with memory for all threads.
    pub fn mount(image: &Path) -> Self {
        let mut storage = FileStorage::new();
        let device = storage.add_disk("image", image, true).unwrap();
        let image = Image::read(&storage, device).unwrap();
        let sources = image.alone(&storage).unwrap();
        let budget = Budget::LARGE.with_decoders(THREADS as u8);
        Self(Root::with_budget(storage, NoRegion, &image, &sources, &budget).unwrap())
    }

    /// Calls `visit` with everything below a directory.
    fn each(&self, dir: Inode, visit: &mut dyn FnMut(&Inode)) {
        let (mut open, mut entry) =
            (vec![self.0.read_dir_inode(dir).unwrap()], DirEntry::default());
        while let Some(cursor) = open.last_mut() {
            let Some(inode) = cursor.next_inode(&self.0, &mut entry).unwrap() else {
                open.pop();
                continue;
            };
            visit(&inode);
            if inode.kind() == FileKind::Directory {
                open.push(self.0.read_dir_inode(inode).unwrap());
            }
        }
    }
}

impl Reader for Ours {
    fn work(&self, work: Work, thread: usize) -> Done {
        let (root, mut done) = (&self.0, Done::default());
        let large = || root.open(format!("/large{thread}").as_bytes()).unwrap();
        let half = || root.metadata(format!("/{thread}").as_bytes()).unwrap();
        match work {
            Work::Sequential => {
                let (file, mut out) = (large(), vec![0; LONG]);
                for at in (0..file.size()).step_by(LONG) {
                    let got = file.read_at(at, &mut out).unwrap();
                    done.bytes(&out[..got]);
                }
            }
            Work::Random => {
                let (file, mut out) = (large(), [0; SHORT]);
                for number in 0..SHORTS {
                    file.read_at(place(number), &mut out).unwrap();
                    done.bytes(&out);
                }
            }
            Work::Files => {
                let mut out = vec![0; LONG];
                self.each(half(), &mut |inode| {
                    if inode.kind() == FileKind::Regular {
                        let got = root.open_inode(*inode).unwrap().read_at(0, &mut out).unwrap();
                        done.bytes(&out[..got]);
                    }
                });
            }
            Work::Walk => self.each(half(), &mut |inode| {
                done.entry(u32::from(inode.mode()), inode.size());
            }),
        }
        done
    }
}
