//! The words of a guest command.
//!
//! Always: a command that parses can be run; a path begins at the root, with or without a slash.

use crate::boot::Words;
use crate::race::{Step, StepError};
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// A command of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// List a directory, or one file.
    Ls(String),
    /// Show everything known of one file.
    Stat(String),
    /// Write the bytes of a file.
    Cat(String),
    /// Print the SHA-256 of a file, or of every file below a directory.
    Sum(String),
    /// Print one JSON object for every entry below a path.
    Manifest(String),
    /// Show the state of the region.
    Cache,
    /// Start a kernel.
    Boot(Words),
    /// Time reads.
    Bench(BenchPaths),
    /// Time steps that another guest runs, too.
    Race(Vec<Step>),
}

/// The files that a bench reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BenchPaths {
    /// A large file whose chunks lie on disks.
    pub disk: Cow<'static, str>,
    /// A large file whose chunks lie on a share.
    pub share: Cow<'static, str>,
    /// A directory with many files.
    pub tree: Cow<'static, str>,
}

impl Default for BenchPaths {
    fn default() -> Self {
        Self {
            disk: Cow::Borrowed("/disk.bin"),
            share: Cow::Borrowed("/share.bin"),
            tree: Cow::Borrowed("/tree"),
        }
    }
}

/// Why words are not a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsageError {
    /// There are no words.
    Nothing,
    /// The first word is not the name of a command.
    Unknown(String),
    /// The command needs a path.
    MissingPath(&'static str),
    /// An option of `boot` needs a word after it.
    MissingWord(&'static str),
    /// `boot` has no such option.
    Option(String),
    /// `boot` takes a kernel or an entry.
    PathAndEntry,
    /// `bench` takes three paths or none.
    BenchPaths,
    /// `race` needs steps.
    MissingStep,
    /// A word is not a step of `race`.
    Step(StepError),
    /// There are more words than the command takes.
    TooMany(&'static str),
}

/// The commands with their arguments, and what each does, for help texts.
pub const HELP: [(&str, &str); 9] = [
    ("ls PATH", "list a directory, one line an entry"),
    ("stat PATH", "show everything known of a file"),
    ("cat PATH", "write a file's bytes to stdout"),
    ("sum PATH", "SHA-256 of a file, or of every file below a directory"),
    ("manifest PATH", "one JSON object for every entry below PATH, with SHA-256"),
    ("cache", "show the region: layout, blobs, slots, counters"),
    ("boot [PATH [--initrd PATH]] [--append WORDS] [--entry ID]", "start Linux out of the image"),
    ("bench [DISKFILE SHAREFILE TREE]", "timed reads: raw, EROFS, cold and warm region"),
    ("race NAME=WHAT:PATH ...", "timed steps that another guest runs, too, with sums"),
];

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("no command given")?,
            Self::Unknown(word) => write!(f, "unknown command \"{word}\"")?,
            Self::MissingPath(command) => write!(f, "{command} needs a path")?,
            Self::MissingWord(option) => write!(f, "boot: {option} needs a word after it")?,
            Self::Option(word) => {
                write!(f, "boot has no option \"{word}\", only --initrd, --append and --entry")?
            }
            Self::PathAndEntry => f.write_str("boot takes a path or --entry, not both")?,
            Self::BenchPaths => f.write_str("bench takes three paths, or none")?,
            Self::MissingStep => f.write_str("race needs steps")?,
            Self::Step(error) => return error.fmt(f),
            Self::TooMany(command) => write!(f, "too many words for {command}")?,
        }
        f.write_str("; the commands are")?;
        for (at, (usage, _)) in HELP.iter().enumerate() {
            write!(f, "{} {usage}", if at == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}

impl core::error::Error for UsageError {}

impl Command {
    /// Returns whether the command makes a digest of each of many files.
    pub fn is_list(&self) -> bool {
        matches!(self, Self::Sum(_) | Self::Manifest(_))
    }

    /// Parses the words of a command.
    ///
    /// # Errors
    /// [`UsageError`].
    pub fn parse(words: &[String]) -> Result<Self, UsageError> {
        let (name, arguments) = words.split_first().ok_or(UsageError::Nothing)?;
        let path = |name: &'static str| match arguments {
            [] => Err(UsageError::MissingPath(name)),
            [path] => Ok(path.clone()),
            _ => Err(UsageError::TooMany(name)),
        };
        match name.as_str() {
            "ls" => path("ls").map(Self::Ls),
            "stat" => path("stat").map(Self::Stat),
            "cat" => path("cat").map(Self::Cat),
            "sum" => path("sum").map(Self::Sum),
            "manifest" => path("manifest").map(Self::Manifest),
            "cache" if arguments.is_empty() => Ok(Self::Cache),
            "cache" => Err(UsageError::TooMany("cache")),
            "boot" => boot(arguments).map(Self::Boot),
            "bench" => match arguments {
                [] => Ok(Self::Bench(BenchPaths::default())),
                [disk, share, tree] => Ok(Self::Bench(BenchPaths {
                    disk: Cow::Owned(disk.clone()),
                    share: Cow::Owned(share.clone()),
                    tree: Cow::Owned(tree.clone()),
                })),
                [_] | [_, _] => Err(UsageError::BenchPaths),
                _ => Err(UsageError::TooMany("bench")),
            },
            "race" if arguments.is_empty() => Err(UsageError::MissingStep),
            "race" => {
                let steps = arguments.iter().map(|word| Step::parse(word));
                steps.collect::<Result<_, _>>().map(Self::Race).map_err(UsageError::Step)
            }
            _ => Err(UsageError::Unknown(name.clone())),
        }
    }
}

/// Parses the words of `boot`.
fn boot(arguments: &[String]) -> Result<Words, UsageError> {
    let (mut words, mut arguments) = (Words::default(), arguments.iter());
    while let Some(word) = arguments.next() {
        let mut value = |option| arguments.next().ok_or(UsageError::MissingWord(option));
        match word.as_str() {
            "--initrd" => words.initrds.push(value("--initrd")?.clone()),
            "--append" => words.append.push(value("--append")?.clone()),
            "--entry" => words.entry = Some(value("--entry")?.clone()),
            option if option.starts_with('-') => return Err(UsageError::Option(option.into())),
            _ if words.path.is_some() => return Err(UsageError::TooMany("boot")),
            path => words.path = Some(path.into()),
        }
    }
    match &words {
        Words { path: Some(_), entry: Some(_), .. } => Err(UsageError::PathAndEntry),
        Words { path: None, initrds, .. } if !initrds.is_empty() => {
            Err(UsageError::MissingPath("boot --initrd"))
        }
        _ => Ok(words),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;
    use std::string::ToString;

    fn parsed(line: &str) -> Result<Command, UsageError> {
        let words: Vec<String> = line.split(' ').map(Into::into).collect();
        Command::parse(&words)
    }

    #[test]
    fn boot_takes_a_kernel_with_initrds_and_words_or_an_entry() {
        let Command::Boot(words) =
            parsed("boot --append a /k --initrd /i --append b --initrd /j").unwrap()
        else {
            panic!("another command")
        };
        assert_eq!(words.path.as_deref(), Some("/k"));
        assert_eq!(
            (words.initrds.join(","), words.append.join(",")),
            ("/i,/j".into(), "a,b".into())
        );
        assert_eq!(parsed("boot"), Ok(Command::Boot(Words::default())));
        let entry = Words { entry: Some("x".into()), ..Words::default() };
        assert_eq!(parsed("boot --entry x"), Ok(Command::Boot(entry)));
    }

    #[test]
    fn words_that_are_no_boot_are_refused_by_what_is_wrong() {
        for (line, said) in [
            ("boot /k --initrd", "boot: --initrd needs a word after it; the commands are: ls PATH"),
            (
                "boot /k --quiet",
                "boot has no option \"--quiet\", only --initrd, --append and --entry",
            ),
            ("boot /k /l", "too many words for boot"),
            ("boot --initrd /i", "boot --initrd needs a path"),
            ("boot /k --entry x", "boot takes a path or --entry, not both"),
        ] {
            let error = parsed(line).unwrap_err().to_string();
            assert!(error.starts_with(said), "{line}: {error}");
        }
    }
}
