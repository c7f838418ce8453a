//! How the memory of a machine is divided.
//!
//! Always: a heap of at least 1 MiB has room for all parts together, and half of it remains for an
//! image without Zstandard or MicroLZMA.

use crate::config::Config;
use core::fmt;
use rootlet::read::Budget;

/// How much memory the parts of a mount may take, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Ranges on their way to the region.
    pub pool: usize,
    /// Descriptor pages of the region.
    pub pages: usize,
    /// Tables of the region.
    pub tables: usize,
    /// The xattrs of a row of `manifest`, as text.
    pub row: usize,
    /// Nodes of the trees that image and blobs are verified by.
    pub nodes: usize,
    /// Metadata, decoders and decoded bytes.
    pub mount: Budget,
}

impl Memory {
    /// More than a row can take: 255 shared xattrs of 64 KiB in digits, and a body of 256 KiB that
    /// is all names.
    pub const ROW_MAX: usize = 64 << 20;

    /// Returns a division of `heap` bytes, with what `config` asks for.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn of(heap: usize, config: &Config) -> Result<Self, TooLarge> {
        // A kernel and its initrd take most.
        let heap = if config.command.first().is_some_and(|command| command == BOOT) {
            heap >> 2
        } else {
            heap
        };
        let mut memory = Self::of_heap(heap);
        if let Some(asked) = config.ram_cache_bytes {
            let most = heap >> 2;
            if asked > most {
                return Err(TooLarge::Blocks { asked, most });
            }
            memory.mount.block_bytes = asked;
        }
        if let Some(asked) = config.verity_ram_bytes {
            let most = heap >> 2;
            if asked > most {
                return Err(TooLarge::Nodes { asked, most });
            }
            memory.nodes = asked;
        }
        let (events, most) = (config.timeline_events, heap >> 3);
        let asked = usize::try_from(events).ok().and_then(|events| events.checked_mul(EVENT_BYTES));
        if asked.is_none_or(|asked| asked > most) {
            return Err(TooLarge::Timeline { events, most: most.div_euclid(EVENT_BYTES) });
        }
        memory.mount.events = events;
        if let Some(cpus) = config.cpus {
            memory.mount.decoders = cpus;
        }
        Ok(memory)
    }

    /// Returns a division of `heap` bytes.
    #[expect(clippy::arithmetic_side_effects, reason = "three eighths of the heap")]
    pub fn of_heap(heap: usize) -> Self {
        let eighth = heap >> 3;
        Self {
            pool: eighth.clamp(512 << 10, 4 << 20),
            pages: (heap >> 4).clamp(64 << 10, 2 << 20),
            tables: eighth,
            row: (heap >> 6).clamp(64 << 10, Self::ROW_MAX),
            nodes: heap >> 6,
            mount: Budget::default()
                .with_metadata_bytes((heap >> 6).clamp(192 << 10, 8 << 20))
                .with_decoded_bytes((heap >> 5).clamp(128 << 10, 8 << 20))
                .with_decoder_bytes(3 * eighth)
                .with_block_bytes(heap >> 4)
                .with_stream_bytes(eighth.clamp(256 << 10, 2 << 20))
                .with_events(0),
        }
    }
}

/// The command that takes memory for a kernel.
const BOOT: &str = "boot";
/// The most bytes that an event takes in memory.
const EVENT_BYTES: usize = 64;

/// The configuration asks for more memory than it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooLarge {
    /// For blocks: more than a quarter of the heap.
    Blocks {
        /// Bytes that the configuration asks for.
        asked: usize,
        /// Bytes that it may ask for.
        most: usize,
    },
    /// For nodes of trees: more than a quarter of the heap.
    Nodes {
        /// Bytes that the configuration asks for.
        asked: usize,
        /// Bytes that it may ask for.
        most: usize,
    },
    /// For events: more than an eighth of the heap.
    Timeline {
        /// Events that the configuration asks for.
        events: u32,
        /// Events that it may ask for.
        most: usize,
    },
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocks { asked, most } => write!(
                f,
                "ram-cache={asked}: this machine has memory for at most {most} bytes of it"
            ),
            Self::Nodes { asked, most } => write!(
                f,
                "verity-ram={asked}: this machine has memory for at most {most} bytes of it"
            ),
            Self::Timeline { events, most } => {
                write!(f, "timeline={events}: this machine has memory for at most {most} events")
            }
        }
    }
}

impl core::error::Error for TooLarge {}
