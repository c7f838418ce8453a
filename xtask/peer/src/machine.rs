//! The guest's machine: modules, disks, mounts, and its end.
//!
//! Always: a disk is found by its serial; every wait has an end.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::system::{RebootCommand, finit_module, reboot};
use rustix::time::{ClockId, clock_gettime};

use crate::{ROOT, SHARE};

/// How long a disk may take to appear.
const PATIENCE: Duration = Duration::from_secs(60);

/// The machine with everything mounted.
pub struct Machine {
    /// Device of each serial.
    disks: BTreeMap<String, String>,
    /// The serials of the image and its device slots, in order.
    image: Vec<String>,
}

/// Nanoseconds since the kernel started.
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let (seconds, ns) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    seconds * 1_000_000_000 + ns
}

/// Ends the machine.
pub fn end() -> ! {
    // With -no-reboot that ends QEMU. Nothing was written that would have to be flushed.
    let failed = reboot(RebootCommand::Restart);
    println!("the machine does not end: {failed:?}");
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

impl Machine {
    /// Brings everything up.
    pub fn start(modules: &[String], disks: &[String], share: &[String]) -> Result<Self> {
        for (kind, at) in [("devtmpfs", "/dev"), ("sysfs", "/sys"), ("proc", "/proc")] {
            // The kernel may have mounted it, built without a choice.
            fs::create_dir_all(at)?;
            let _ = mount(kind, at, kind, MountFlags::empty(), None);
        }
        for module in modules {
            let file = File::open(module).with_context(|| module.clone())?;
            finit_module(&file, c"", 0).with_context(|| format!("module {module}"))?;
        }
        let mut machine = Self { disks: BTreeMap::new(), image: disks.to_vec() };
        machine.find_disks()?;
        fs::create_dir_all(ROOT)?;
        machine.mount_image()?;
        if let [tag, ..] = share {
            fs::create_dir_all(SHARE)?;
            mount(tag, SHARE, "virtiofs", MountFlags::RDONLY, None).context("the share")?;
        }
        Ok(machine)
    }

    /// Returns the device of the disk with this serial.
    pub fn disk(&self, serial: &str) -> Result<&str> {
        let device = self.disks.get(serial).map(String::as_str);
        device.with_context(|| format!("there is no disk {serial}"))
    }

    /// Writes `FILE=VALUE`, where FILE may hold `{SERIAL}` for the disk's name. What names a disk
    /// that this machine does not have is passed over: the parts of a comparison have not the same.
    pub fn set(&self, settings: &[String]) -> Result<()> {
        for setting in settings {
            let (file, value) = setting.split_once('=').context("a setting is FILE=VALUE")?;
            let mut file = file.to_string();
            for (serial, device) in &self.disks {
                file = file.replace(&format!("{{{serial}}}"), device.trim_start_matches("/dev/"));
            }
            if file.contains('{') {
                continue;
            }
            fs::write(&file, value).with_context(|| setting.clone())?;
        }
        Ok(())
    }

    /// Forgets what is in memory.
    pub fn forget(&mut self) -> Result<()> {
        unmount(ROOT, UnmountFlags::empty()).context("unmounting")?;
        fs::write("/proc/sys/vm/drop_caches", "3").context("drop_caches")?;
        self.mount_image()
    }

    fn find_disks(&mut self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            for entry in fs::read_dir("/sys/block")?.flatten() {
                let serial = fs::read_to_string(entry.path().join("serial")).unwrap_or_default();
                let device = format!("/dev/{}", entry.file_name().to_string_lossy());
                if !serial.trim().is_empty() && fs::exists(&device)? {
                    self.disks.insert(serial.trim().into(), device);
                }
            }
            if self.image.iter().all(|serial| self.disks.contains_key(serial)) {
                return Ok(());
            }
            if Instant::now() > until {
                bail!("disks {:?} were expected, {:?} are there", self.image, self.disks);
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn mount_image(&self) -> Result<()> {
        let Some((image, slots)) = self.image.split_first() else { bail!("no disk was named") };
        let slots: Vec<String> = slots
            .iter()
            .map(|serial| Ok(format!("device={}", self.disk(serial)?)))
            .collect::<Result<_>>()?;
        let options = CString::new(slots.join(","))?;
        mount(self.disk(image)?, ROOT, "erofs", MountFlags::RDONLY, &*options)
            .with_context(|| format!("mounting {image} with {options:?}"))
    }
}
