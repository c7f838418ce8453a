//! Directory blocks: 12-byte entries, then the names, sorted by the bytes of the name.
//!
//! Always: every block but the last is full length; names ascend within and across blocks.

const ENTRY: usize = 12;

/// One directory entry before it is laid out.
pub(super) struct Entry {
    pub name: Vec<u8>,
    pub node: usize,
    pub file_type: u8,
}

/// The entries of a directory, grouped into blocks.
pub(super) struct Dirents {
    entries: Vec<Entry>,
    /// Index of the first entry of each block.
    starts: Vec<usize>,
    block: usize,
}

impl Dirents {
    pub fn plan(mut entries: Vec<Entry>, block: usize) -> Self {
        entries.sort_by(|left, right| left.name.cmp(&right.name));
        let mut starts = Vec::new();
        let mut used = block;
        for (index, entry) in entries.iter().enumerate() {
            let need = ENTRY + entry.name.len();
            if used + need > block {
                starts.push(index);
                used = 0;
            }
            used += need;
        }
        Self { entries, starts, block }
    }

    /// Length of the directory in bytes.
    pub fn len(&self) -> usize {
        let Some(last) = self.starts.last() else { return 0 };
        let used: usize = self.entries[*last..].iter().map(|entry| ENTRY + entry.name.len()).sum();
        (self.starts.len() - 1) * self.block + used
    }

    /// The bytes of the directory.
    pub fn bytes(&self, nid_of: impl Fn(usize) -> u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        for (number, start) in self.starts.iter().enumerate() {
            let end = self.starts.get(number + 1).copied().unwrap_or(self.entries.len());
            let entries = &self.entries[*start..end];
            out.resize(number * self.block, 0);
            let mut name_at = entries.len() * ENTRY;
            for entry in entries {
                out.extend_from_slice(&nid_of(entry.node).to_le_bytes());
                out.extend_from_slice(&(name_at as u16).to_le_bytes());
                out.extend_from_slice(&[entry.file_type, 0]);
                name_at += entry.name.len();
            }
            for entry in entries {
                out.extend_from_slice(&entry.name);
            }
        }
        out
    }

    /// Each name with the byte offset of its entry in the directory.
    pub fn places(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.entries.iter().enumerate().map(|(index, entry)| {
            let number = self.starts.partition_point(|start| *start <= index) - 1;
            let at = number * self.block + (index - self.starts[number]) * ENTRY;
            (entry.name.as_slice(), at as u64)
        })
    }
}
