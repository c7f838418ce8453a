//! README.md against the project: code, commands, options, keys, links.
//!
//! Always: what the README shows exists under that name today.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use rootlet_cli::app::Cli;
use rootlet_guest::config::{Config, ConfigError, passed_over};
use rootlet_guest::{Command, HELP};

/// The folder of the workspace.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(path: &str) -> String {
    let path = workspace().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn readme() -> String {
    text("README.md")
}

/// The fenced blocks of a language, each as its lines.
fn blocks(markdown: &str, language: &str) -> Vec<Vec<String>> {
    let (mut found, mut open): (Vec<Vec<String>>, Option<bool>) = (Vec::new(), None);
    for line in markdown.lines() {
        match (line.strip_prefix("```"), open) {
            (Some(_), Some(_)) => open = None,
            (Some(of), None) => {
                open = Some(of == language);
                found.extend((of == language).then(Vec::new));
            }
            (None, Some(true)) => found.last_mut().unwrap().push(line.into()),
            (None, _) => {}
        }
    }
    found
}

/// The lines of a section, from its heading to the next of the same depth or above.
fn section(markdown: &str, heading: &str) -> Vec<String> {
    let depth = heading.bytes().take_while(|byte| *byte == b'#').count();
    let mut lines = markdown.lines().skip_while(|line| *line != heading);
    assert!(lines.next().is_some(), "README.md has no section {heading:?}");
    let ends = |line: &&str| {
        let level = line.bytes().take_while(|byte| *byte == b'#').count();
        level == 0 || level > depth
    };
    lines.take_while(ends).map(Into::into).collect()
}

/// The code spans in the first column of a section's table.
fn first_column(markdown: &str, heading: &str) -> Vec<String> {
    let rows = section(markdown, heading);
    let cells = rows.iter().filter_map(|row| row.strip_prefix("| ")?.split(" | ").next());
    cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2).map(Into::into).collect::<Vec<_>>())
        .collect()
}

/// The lines between `[readme]` and `[/readme]`, without their indent.
fn marked(source: &str) -> Vec<String> {
    let lines = source.lines().map(str::trim);
    let lines = lines.skip_while(|line| *line != "// [readme]").skip(1);
    lines.take_while(|line| *line != "// [/readme]").map(Into::into).collect()
}

/// The lines that the crate's documentation shows of its example.
fn documented(source: &str) -> Vec<String> {
    let lines = source.lines().filter_map(|line| line.strip_prefix("//! "));
    let shown = |line: &&str| line.starts_with("let ");
    lines.filter(shown).map(Into::into).collect()
}

#[test]
fn rust_of_the_readme_is_the_example_that_compiles() {
    let example = marked(&text("examples/quickstart.rs"));
    assert_eq!(example.len(), 6, "README promises a short example: {example:#?}");
    assert_eq!(blocks(&readme(), "rust"), std::slice::from_ref(&example));
    assert_eq!(documented(&text("src/lib.rs")), example, "crate documents in src/lib.rs");
}

/// The options of the host tool by their definition, and whether help shows them; its tasks.
fn tool() -> (Vec<(String, bool)>, Vec<String>) {
    let own = ["cli", "boot/args", "measure/args", "prove/args", "dist/mod", "setup/mod"];
    let shared = ["source/args", "boot/args", "boot/monitor/args"];
    let own = own.map(|file| text(&format!("xtask/src/{file}.rs"))).concat();
    let source = own + &shared.map(|file| text(&format!("crates/cli/src/{file}.rs"))).concat();
    let (mut options, mut tasks) = (Vec::new(), Vec::new());
    let (mut attribute, mut in_attribute, mut in_tasks) = (String::new(), false, false);
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[arg(") {
            (in_attribute, attribute) = (true, String::new());
        }
        if in_attribute {
            attribute.push_str(line);
            in_attribute = !line.ends_with(")]");
            continue;
        }
        if let Some(field) = line.strip_prefix("pub ").and_then(|rest| rest.split_once(':')) {
            if attribute.contains("long") {
                let shown = !attribute.contains("hide = true");
                options.push((format!("--{}", field.0.replace('_', "-")), shown));
            }
            attribute.clear();
        }
        in_tasks = (in_tasks || line == "pub enum Task {") && line != "}";
        if let Some((name, _)) = line.split_once('(').filter(|_| in_tasks && !line.contains(' ')) {
            let mut task = String::new();
            for c in name.chars() {
                if c.is_uppercase() && !task.is_empty() {
                    task.push('-');
                }
                task.extend(c.to_lowercase());
            }
            tasks.push(task);
        }
    }
    assert!(options.len() > 10 && tasks.len() > 2, "cli.rs reads otherwise: {options:?} {tasks:?}");
    (options, tasks)
}

/// Returns the faults of the words after `cargo run --`.
fn fault_of_tool_line(words: &[String]) -> Option<String> {
    let (options, tasks) = tool();
    let (own, command) = match words.iter().position(|word| word == "--") {
        Some(at) => (&words[..at], &words[at.saturating_add(1)..]),
        None => (words, &[][..]),
    };
    if let Some(first) = own.first().filter(|word| !word.starts_with('-'))
        && !tasks.contains(first)
    {
        return Some(format!("{first} is no task: {tasks:?}"));
    }
    // `--option=value` is the option.
    let own_options = own.iter().filter(|word| word.starts_with("--"));
    let mut names = own_options.map(|word| word.split('=').next().unwrap_or_default());
    if let Some(word) = names.find(|word| !options.iter().any(|(option, _)| option == word)) {
        return Some(format!("{word} is no option"));
    }
    let command = Some(command).filter(|command| !command.is_empty());
    command.and_then(|command| Command::parse(command).err()).map(|error| error.to_string())
}

/// What is wrong with a line for a shell.
fn fault_of_line(line: &str) -> Option<String> {
    let words: Vec<String> = line.split_whitespace().map(Into::into).collect();
    let words_of: Vec<&str> = words.iter().map(String::as_str).collect();
    match words_of.as_slice() {
        ["cargo", "test"] | ["cargo", "run"] | ["truncate", "-s", _, _] => None,
        ["cargo", "install", "--path", path] if workspace().join(path).is_dir() => None,
        ["rootlet", ..] => {
            let parsed =
                Cli::command().try_get_matches_from(words_of.iter().filter(|word| **word != "\\"));
            parsed.err().map(|error| error.to_string())
        }
        ["cargo", "test", "--test", name, _, "--", ..] => {
            let test = format!("tests/{name}/main.rs");
            let there = workspace().join(test).is_file();
            (!there).then(|| format!("{name} is no test"))
        }
        ["cargo", "bench", "--bench", name] | ["cargo", "bench", "--bench", name, "--", ..] => {
            let bench = format!("benches/{name}/main.rs");
            let there = workspace().join(bench).is_file();
            (!there).then(|| format!("{name} is no benchmark"))
        }
        ["cargo", "run", "--example", name, "--features", features, "--", ..] => {
            let manifest = text("Cargo.toml");
            let missing = features.split(',').find(|f| !manifest.contains(&format!("\n{f} = [")));
            let example = workspace().join(format!("examples/{name}.rs"));
            match missing {
                Some(feature) => Some(format!("{feature} is no feature")),
                None if !example.is_file() => Some(format!("{name} is no example")),
                None => None,
            }
        }
        ["cargo", "run", "--", ..] => fault_of_tool_line(&words[3..]),
        [script] if workspace().join(script).is_file() => None,
        _ => Some("not known to this test".into()),
    }
}

#[test]
fn commands_of_the_program_and_their_options_are_in_the_usage() {
    let usage = text("docs/usage.md");
    for command in Cli::command().get_subcommands().filter(|command| command.get_name() != "help") {
        let name = command.get_name();
        assert!(usage.contains(&format!("`rootlet {name}")), "{name} is not in docs/usage.md");
        for option in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            let Some(long) = option.get_long() else { continue };
            assert!(
                usage.contains(&format!("--{long}")),
                "{name} --{long} is not in docs/usage.md"
            );
        }
    }
}

#[test]
fn every_command_line_of_the_readme_is_understood() {
    let (readme, contributing) = (readme(), text("CONTRIBUTING.md"));
    let (usage, timeline) = (text("docs/usage.md"), text("docs/timeline.md"));
    let all = [&readme, &contributing, &usage, &timeline].map(|text| blocks(text, "sh"));
    let lines = all.concat().concat();
    assert!(lines.len() > 5, "{lines:?}");
    for line in lines {
        assert_eq!(fault_of_line(&line), None, "{line}");
    }
}

#[test]
fn a_wrong_command_line_is_noticed() {
    for line in [
        "cargo run -- --imago x",
        "cargo run -- boil",
        "rootlet lsd i /",
        "rootlet ls --imago i",
        "cargo run -- --image i -- check",
        "cargo run --example nothing --features std -- x",
        "cargo run --example region --features magic -- x",
        "make",
    ] {
        assert!(fault_of_line(line).is_some(), "{line}");
    }
}

#[test]
fn options_of_the_readme_are_those_of_the_tool() {
    let spans = first_column(&readme(), "### Host");
    let in_table: BTreeSet<String> = spans
        .iter()
        .filter_map(|span| span.split_whitespace().next().filter(|word| word.starts_with("--")))
        .map(Into::into)
        .collect();
    let (options, tasks) = tool();
    let host = section(&readme(), "### Host").join("\n");
    for (option, shown) in &options {
        let named = in_table.contains(option) || host.contains(&format!("[{option}"));
        assert!(named || !shown, "{option} is not in the README");
    }
    for option in &in_table {
        assert!(options.iter().any(|(known, _)| known == option), "{option} is no option");
    }
    for task in tasks {
        assert!(host.contains(&format!("`{task}")), "the task {task} is not in the README");
    }
}

#[test]
fn commands_of_the_readme_are_those_of_the_guest() {
    let usages: Vec<&str> = HELP.iter().map(|(usage, _)| *usage).collect();
    assert_eq!(first_column(&readme(), "### Commands"), usages);
}

#[test]
fn keys_of_the_readme_are_those_of_the_guest() {
    let keys = first_column(&readme(), "### Guest");
    let keys: BTreeSet<String> = keys
        .iter()
        .filter_map(|span| span.split_once('='))
        .map(|(key, _)| key.replace("blobN", "blob1"))
        .collect();
    for key in &keys {
        let parsed = Config::parse(&format!("{key}=?"));
        assert!(!matches!(parsed, Err(ConfigError::Unknown { .. })), "{key}= is no key");
        assert_eq!(passed_over(&format!("{key}=?")).count(), 0, "{key}= is no key");
    }
    // The guest's own list, from its answer to a word that is like one of them.
    let error = Config::parse("imag=1").unwrap_err().to_string();
    let listed = error.split([' ', ',']).filter_map(|word| word.strip_suffix('='));
    for key in listed.map(|key| key.replace("blobN", "blob1")) {
        assert!(keys.contains(&key), "{key}= is not in the README");
    }
}

#[test]
fn links_to_files_lead_somewhere() {
    for path in ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/usage.md"] {
        let text = text(path);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.starts_with("http")) {
            let file = target.split('#').next().unwrap_or_default();
            let there = workspace().join(path).parent().is_some_and(|dir| dir.join(file).exists());
            assert!(there, "{path}: {target} is not there");
        }
    }
}
