//! The kernel over the image's file, through its system calls.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rootlet_rows::linux::Mounted;

use crate::{Done, LONG, Reader, SHORT, SHORTS, Work, place};

/// A mounted image.
pub struct Linux(Mounted);

impl Linux {
    /// Mounts the image anew: nothing of its files is in the page cache.
    pub fn mount(image: &Path) -> Self {
        Self(Mounted::new(image, &[]).unwrap())
    }

    /// Calls `visit` with everything below a directory.
    fn each(&self, dir: PathBuf, visit: &mut dyn FnMut(&Path, &fs::Metadata)) {
        let mut ahead = vec![dir];
        while let Some(dir) = ahead.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let entry = entry.unwrap();
                // Relative to the open directory, as the entry holds it.
                let stat = entry.metadata().unwrap();
                let path = entry.path();
                visit(&path, &stat);
                if stat.is_dir() {
                    ahead.push(path);
                }
            }
        }
    }
}

impl Reader for Linux {
    fn work(&self, work: Work, thread: usize) -> Done {
        let (root, mut done) = (self.0.root(), Done::default());
        let large = || File::open(root.join(format!("large{thread}"))).unwrap();
        let half = || root.join(format!("{thread}"));
        match work {
            Work::Sequential => {
                let (mut file, mut out) = (large(), vec![0; LONG]);
                loop {
                    match file.read(&mut out).unwrap() {
                        0 => break,
                        got => done.bytes(&out[..got]),
                    }
                }
            }
            Work::Random => {
                let (file, mut out) = (large(), [0; SHORT]);
                for number in 0..SHORTS {
                    file.read_exact_at(&mut out, place(number)).unwrap();
                    done.bytes(&out);
                }
            }
            Work::Files => {
                let mut out = vec![0; LONG];
                self.each(half(), &mut |path, stat| {
                    if stat.is_file() {
                        let got = File::open(path).unwrap().read(&mut out).unwrap();
                        done.bytes(&out[..got]);
                    }
                });
            }
            Work::Walk => self.each(half(), &mut |_, stat| done.entry(stat.mode(), stat.size())),
        }
        done
    }
}
