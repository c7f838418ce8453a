//! The guest's command line.
//!
//! Always: the guest's parser gives back the same words; the quoting is the library's own.

use rootlet_guest::config::quote;

/// Options, then `--`, then the words of the command.
pub fn line(options: &[String], words: &[String]) -> String {
    let dashes = [String::from("--")];
    let all = options.iter().chain(&dashes).chain(words);
    all.map(|word| quote(word).to_string()).collect::<Vec<_>>().join(" ")
}
