//! The guest's command line.
//!
//! Always: the guest's parser gives back the same words.

/// Options, then `--`, then the words of the command.
pub fn line(options: &[String], words: &[String]) -> String {
    let dashes = [String::from("--")];
    let all = options.iter().chain(&dashes).chain(words);
    all.map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

/// A word as the guest's parser reads it back: in double quotes where it must be.
fn quote(word: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && c != '"' && c != '\\';
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}
