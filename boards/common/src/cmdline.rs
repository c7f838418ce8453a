//! The kernel command line: words for the machine, then `--`, then the guest's command.
//!
//! Always: a word is what stands between ASCII blanks; there is no quoting, on any board.

/// A command line, split at its first lone `--`.
#[derive(Clone, Copy, Debug)]
pub struct Cmdline<'a> {
    options: &'a str,
    command: &'a str,
}

impl<'a> Cmdline<'a> {
    /// Splits `line`.
    ///
    /// microvm appends its `virtio_mmio.device=` words at the very end, behind the command;
    /// they count as options wherever they stand.
    pub fn new(line: &'a str) -> Self {
        let at = words(line).find(|word| *word == "--").map(|word| offset(line, word));
        match at {
            Some(at) => Self { options: &line[..at], command: &line[at + 2..] },
            None => Self { options: line, command: "" },
        }
    }

    /// The words before `--`, and the machine's own words behind it.
    pub fn options(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        words(self.options).chain(words(self.command).filter(|word| is_machine_word(word)))
    }

    /// The value of the first option `name=value`.
    pub fn value(&self, name: &str) -> Option<&'a str> {
        self.values(name).next()
    }

    /// The values of every option `name=value`, in order.
    pub fn values<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.options().filter_map(move |word| word.strip_prefix(name)?.strip_prefix('='))
    }

    /// The words of the guest's command.
    pub fn command(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        words(self.command).filter(|word| !is_machine_word(word))
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_ascii_whitespace()
}

fn is_machine_word(word: &str) -> bool {
    word.starts_with("virtio_mmio.device=")
}

fn offset(line: &str, word: &str) -> usize {
    word.as_ptr().addr() - line.as_ptr().addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_end_at_the_first_lone_dashes() {
        let line = Cmdline::new(" a=1  b--=2 -- cat -- a=3");
        assert_eq!(line.options().collect::<Vec<_>>(), ["a=1", "b--=2"]);
        assert_eq!(line.command().collect::<Vec<_>>(), ["cat", "--", "a=3"]);
        assert_eq!(line.value("a"), Some("1"));
        assert_eq!(line.value("b"), None);
    }

    #[test]
    fn machine_words_behind_the_command_are_options() {
        let line = Cmdline::new("x -- ls / virtio_mmio.device=512@0xfeb00e00:12");
        assert_eq!(line.value("virtio_mmio.device"), Some("512@0xfeb00e00:12"));
        assert_eq!(line.command().collect::<Vec<_>>(), ["ls", "/"]);
    }
}
