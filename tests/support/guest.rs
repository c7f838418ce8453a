//! A guest without a machine: mounts as a command line says, and runs commands.
//!
//! Always: what a board does between its devices and its verdict, by the same public API.

use rootlet::cache::Cache;
use rootlet::storage::{Discover, Storage};
use rootlet_guest::config::Config;
use rootlet_guest::{
    self as guest, Command, Counters, GuestRoot, Memory, MountError, Mounted, Runner, Scratch,
};

/// Memory that a mount may take, in bytes, as on a board of 64 MiB.
const HEAP_BYTES: usize = 48 << 20;

/// A mounted image.
pub struct Guest<S: Storage> {
    /// Its root.
    pub root: GuestRoot<S>,
    /// What the mount told its user.
    pub notices: Vec<String>,
    files: u64,
}

impl<S: Discover> Guest<S> {
    /// Mounts over `storage` as `line` says; `boot` makes the entropy of this mount.
    ///
    /// # Errors
    /// The message that a user would see.
    pub fn mount(storage: S, line: &str, boot: u8) -> Result<Self, String> {
        Self::mount_by(guest::open, storage, line, boot)
    }

    /// Mounts as [`Guest::mount`] does, with `open` in place of [`guest::open`].
    ///
    /// # Errors
    /// The message that a user would see.
    pub fn mount_by(
        open: impl FnOnce(&mut S, &Config) -> Result<Mounted, MountError>,
        storage: S,
        line: &str,
        boot: u8,
    ) -> Result<Self, String> {
        let root = |mounted: &Mounted, storage, region, memory: &Memory| {
            mounted.root(storage, region, memory)
        };
        Self::mount_with(open, root, storage, line, boot)
    }

    /// Mounts as [`Guest::mount_by`] does, with `root` in place of [`Mounted::root`].
    ///
    /// # Errors
    /// The message that a user would see.
    pub fn mount_with(
        open: impl FnOnce(&mut S, &Config) -> Result<Mounted, MountError>,
        root: impl FnOnce(&Mounted, S, Option<Cache>, &Memory) -> Result<GuestRoot<S>, rootlet::Error>,
        mut storage: S,
        line: &str,
        boot: u8,
    ) -> Result<Self, String> {
        let config = Config::parse(line).map_err(|error| error.to_string())?;
        let mut notices = Vec::new();
        let mut notice = |text: std::fmt::Arguments<'_>| notices.push(text.to_string());
        let mounted = open(&mut storage, &config);
        let mounted = mounted.map_err(|error| error.to_string())?;
        mounted.describe(&config, &mut notice);
        let memory = Memory::of(HEAP_BYTES, &config).map_err(|error| error.to_string())?;
        let entropy = [boot; 16];
        let region =
            guest::open_region(&mut storage, &config, &mounted, entropy, &memory, &mut notice);
        let root = root(&mounted, storage, region, &memory);
        let root = root.map_err(|error| format!("{error:#}"))?;
        Ok(Self { root, notices, files: 0 })
    }

    /// Runs a command and returns its output.
    ///
    /// # Errors
    /// The message that a user would see.
    pub fn run(&mut self, words: &[&str]) -> Result<Vec<u8>, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let command = Command::parse(&words).map_err(|error| error.to_string())?;
        let mut output: Vec<u8> = Vec::new();
        let mut scratch = Scratch::new(&command, &Memory::of_heap(HEAP_BYTES));
        let mut runner = Runner::new(&self.root, &mut output, &mut scratch);
        let result = runner.run(&command);
        self.files += runner.done.files;
        result.map_err(|error| error.to_string()).map(|()| output)
    }

    /// The counters so far.
    pub fn counters(&self) -> Counters {
        Counters { files: self.files, ..Counters::of(&self.root) }
    }
}
