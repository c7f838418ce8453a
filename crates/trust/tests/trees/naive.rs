//! A maker of trees that does nothing clever: whole levels in memory, bottom up.

use sha2::Digest;

/// The parameters of a tree.
#[derive(Clone, Debug)]
pub struct Naive {
    pub sha512: bool,
    /// 0 and 1 are dm-verity's hash types, 2 is fs-verity.
    pub format: u8,
    pub salt: Vec<u8>,
    pub data_block: usize,
    pub hash_block: usize,
}

impl Naive {
    pub fn hash(&self, bytes: &[u8]) -> Vec<u8> {
        if self.sha512 {
            sha2::Sha512::digest(bytes).to_vec()
        } else {
            sha2::Sha256::digest(bytes).to_vec()
        }
    }

    fn block(&self, block: &[u8], size: usize) -> Vec<u8> {
        let (mut salt, mut block) = (self.salt.clone(), block.to_vec());
        block.resize(size, 0);
        if self.format == 2 {
            let unit = if self.sha512 { 128 } else { 64 };
            salt.resize(salt.len().next_multiple_of(unit), 0);
        }
        self.hash(&if self.format == 0 { [block, salt].concat() } else { [salt, block].concat() })
    }

    /// Returns the tree and the root hash.
    pub fn tree(&self, data: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut level: Vec<Vec<u8>> =
            data.chunks(self.data_block).map(|block| self.block(block, self.data_block)).collect();
        let digest = if self.sha512 { 64 } else { 32 };
        let mut levels = Vec::new();
        while level.len() > 1 {
            let mut nodes: Vec<Vec<u8>> =
                level.chunks(self.hash_block / digest).map(<[_]>::concat).collect();
            nodes.iter_mut().for_each(|node| node.resize(self.hash_block, 0));
            level = nodes.iter().map(|node| self.block(node, self.hash_block)).collect();
            levels.push(nodes.concat());
        }
        levels.reverse();
        (levels.concat(), level.pop().unwrap_or(vec![0; digest]))
    }

    /// Returns fs-verity's digest of a file of this length and root hash.
    pub fn file(&self, bytes: usize, root: &[u8]) -> Vec<u8> {
        let bits = self.data_block.ilog2() as u8;
        let mut descriptor = vec![1, 1 + u8::from(self.sha512), bits, self.salt.len() as u8];
        descriptor.extend([0; 4]);
        descriptor.extend((bytes as u64).to_le_bytes());
        descriptor.extend(root);
        descriptor.resize(80, 0);
        descriptor.extend(&self.salt);
        descriptor.resize(256, 0);
        self.hash(&descriptor)
    }

    /// Returns the text that pins data of this length.
    pub fn spec(&self, data: &[u8]) -> String {
        let (_, root) = self.tree(data);
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let hash = if self.sha512 { "sha512" } else { "sha256" };
        let salt = if self.salt.is_empty() { "-".into() } else { hex(&self.salt) };
        if self.format == 2 {
            let (bits, digest) = (self.data_block.ilog2(), self.file(data.len(), &root));
            return format!("{hash}-{bits}:{},salt={salt}", hex(&digest));
        }
        format!(
            "root_hash={},salt={salt},data_blocks={},data_block_size={},hash_block_size={},hash={hash},format={}",
            hex(&root),
            data.len().div_ceil(self.data_block),
            self.data_block,
            self.hash_block,
            self.format
        )
    }
}
