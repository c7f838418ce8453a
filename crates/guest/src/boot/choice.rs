//! What is to be started: the words of `boot`, and what they mean in an image.
//!
//! Always: a choice names files of the image alone.

use alloc::string::String;
use alloc::vec::Vec;

use super::part::Part;

/// The words of `boot`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// The kernel.
    pub path: Option<String>,
    /// The initrds, in their order.
    pub initrds: Vec<String>,
    /// The name of a boot entry, in place of a kernel.
    pub entry: Option<String>,
    /// The words for the kernel.
    pub append: Vec<String>,
}

/// What is to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The kernel.
    pub kernel: Part,
    /// The initrds, in their order; the kernel is given them as one.
    pub initrds: Vec<Part>,
    /// The command line, without the words of the machine.
    pub line: String,
}

impl Choice {
    /// Adds words at the end of the command line.
    pub fn append(&mut self, words: &str) {
        if !words.is_empty() {
            if !self.line.is_empty() {
                self.line.push(' ');
            }
            self.line.push_str(words);
        }
    }
}
