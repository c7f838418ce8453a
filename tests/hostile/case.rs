//! One case: an image, a call on it, the result that the call must give, and its greatest cost.
//!
//! Always: mounted over simulated disks by the public API, without a region.

use rootlet::Error;
use rootlet::blob::{Image, SourceName};
use rootlet::cache::NoRegion;
use rootlet::erofs::Corrupt;
use rootlet::read::Tree;
use rootlet::read::{PATH_BYTES_MAX, Root, XATTR_BYTES_MAX};
use rootlet::storage::{DeviceId, Discover};
use rootlet_sim::disk::{SimStorage, World};
use rootlet_sim::image::Built;

/// A mounted image.
pub type Mounted = Root<SimStorage, NoRegion>;

/// What is done with the image once it is mounted.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// Nothing.
    Mount,
    /// A path is looked up, to its inode.
    Find(&'static str),
    /// A file is read: from this byte on, this number of bytes.
    Read(&'static str, u64, usize),
    /// A directory is listed; gives a name a line.
    List(&'static str),
    /// A symlink's target.
    Link(&'static str),
    /// All xattrs; gives `name=value` a line.
    Xattrs(&'static str),
    /// The value of one xattr, or nothing.
    Xattr(&'static str, &'static str),
    /// Everything below the root is walked, as `manifest` and `sum` do; gives a path a line.
    Walk,
}

/// One case.
pub struct Case {
    pub name: &'static str,
    pub built: Built,
    pub act: Act,
    /// The result of the call.
    pub want: Result<Vec<u8>, Error>,
    /// The most reads of all devices together, mounting included.
    pub reads: u64,
    /// The most bytes of them.
    pub bytes: u64,
}

impl Case {
    /// A case that ends with an error.
    pub fn corrupt(name: &'static str, built: Built, act: Act, fault: Corrupt) -> Self {
        Self::new(name, built, act, Err(fault.into()))
    }

    /// A case that may cost no more than the metadata of a small image.
    pub fn new(name: &'static str, built: Built, act: Act, want: Result<Vec<u8>, Error>) -> Self {
        Self { name, built, act, want, reads: 16, bytes: 64 << 10 }
    }

    /// The same with another bound of the cost.
    pub fn costs(self, reads: u64, bytes: u64) -> Self {
        Self { reads, bytes, ..self }
    }

    /// Runs it; what is wrong.
    pub fn check(&self, name: &str) -> Option<String> {
        let (world, devices) = plug(&self.built);
        let mounted = mount(world.attach(), self.built.blobs.len());
        let got = mounted.as_ref().map_err(Clone::clone).and_then(|root| self.act.run(root));
        let (reads, bytes) = cost(&world, &devices);
        if got != self.want {
            return Some(format!("{name}\n  got  {}\n  want {}", shown(&got), shown(&self.want)));
        }
        if reads > self.reads || bytes > self.bytes {
            let most = (self.reads, self.bytes);
            return Some(format!("{name}: reads and bytes ({reads}, {bytes}), at most {most:?}"));
        }
        // What has nothing to do with the fault still reads, again and again.
        let root = mounted.ok()?;
        for _ in 0..2 {
            let again = self.act.run(&root);
            if again != self.want {
                return Some(format!("{name}: again: {}", shown(&again)));
            }
            let good = Act::Read("/good", 0, 100).run(&root);
            if good.as_deref() != Ok(b"good") {
                return Some(format!("{name}: /good: {}", shown(&good)));
            }
        }
        None
    }
}

impl Act {
    /// Does it.
    pub fn run(self, root: &Mounted) -> Result<Vec<u8>, Error> {
        match self {
            Self::Mount => Ok(Vec::new()),
            Self::Find(path) => root.symlink_metadata(path.as_bytes()).map(|_| Vec::new()),
            Self::Read(path, at, len) => {
                let mut out = vec![0xee; len];
                let got = root.open(path.as_bytes())?.read_at(at, &mut out)?;
                out.truncate(got);
                Ok(out)
            }
            Self::List(path) => {
                let (mut out, mut cursor) = (Vec::new(), root.read_dir(path.as_bytes())?);
                while let Some(entry) = cursor.next(root)? {
                    out.extend_from_slice(&entry.name);
                    out.push(b'\n');
                }
                Ok(out)
            }
            Self::Link(path) => {
                let mut out = [0; PATH_BYTES_MAX];
                Ok(root.read_link(path.as_bytes(), &mut out)?.to_vec())
            }
            Self::Xattrs(path) => {
                let inode = root.symlink_metadata(path.as_bytes())?;
                let (mut out, mut buffer) = (Vec::new(), vec![0; XATTR_BYTES_MAX]);
                root.xattrs(&inode, &mut buffer, |name, value| {
                    out.extend_from_slice(&name.parts().concat());
                    out.push(b'=');
                    out.extend_from_slice(value);
                    out.push(b'\n');
                    Ok(())
                })?;
                Ok(out)
            }
            Self::Xattr(path, name) => {
                let inode = root.symlink_metadata(path.as_bytes())?;
                let mut buffer = vec![0; XATTR_BYTES_MAX];
                let value = root.xattr(&inode, name.as_bytes(), &mut buffer)?;
                Ok(value.unwrap_or_default().to_vec())
            }
            Self::Walk => walk(root),
        }
    }
}

/// Everything below the root, a path a line.
fn walk(root: &Mounted) -> Result<Vec<u8>, Error> {
    let (mut out, mut tree) = (Vec::new(), Tree::new());
    tree.begin(root, b"/")?;
    while tree.next(root)?.is_some() {
        out.extend_from_slice(tree.path());
        out.push(b'\n');
    }
    Ok(out)
}

/// A world with the image and its blobs.
pub fn plug(built: &Built) -> (World, Vec<DeviceId>) {
    let world = World::new(7);
    let mut devices = vec![world.blob("image", &built.image)];
    for (number, blob) in (1..).zip(&built.blobs) {
        devices.push(world.blob(&format!("blob{number}"), blob));
    }
    (world, devices)
}

/// Mounts it.
///
/// # Errors
/// Those of mounting.
pub fn mount(mut storage: SimStorage, blobs: usize) -> Result<Mounted, Error> {
    let device = storage.disk("image").unwrap();
    let image = Image::read(&storage, device)?;
    let names: Vec<String> = (1..=blobs).map(|number| format!("blob{number}")).collect();
    let given: Vec<_> =
        (1..).zip(names.iter().map(|name| SourceName::Disk(name.as_str()))).collect();
    let sources = image.bind(&mut storage, &given)?;
    Ok(Root::new(storage, NoRegion, &image, &sources)?)
}

/// Reads of all devices, and their bytes.
pub fn cost(world: &World, devices: &[DeviceId]) -> (u64, u64) {
    let counters = devices.iter().map(|device| world.counters(*device));
    counters.fold((0, 0), |sum, one| (sum.0 + one.reads, sum.1 + one.read_bytes))
}

fn shown(result: &Result<Vec<u8>, Error>) -> String {
    match result {
        Ok(bytes) if bytes.len() > 200 => {
            format!("{} bytes, {}..", bytes.len(), bytes[..64].escape_ascii())
        }
        Ok(bytes) => format!("{} bytes, {}", bytes.len(), bytes.escape_ascii()),
        Err(error) => format!("{error} ({error:?})"),
    }
}
