//! README.md and docs/ against what they speak of: code, commands, options, keys, links, output.
//!
//! Always: every name on a page exists today; the output that a page shows for a command over
//! tests/data is the output of that command.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use clap::CommandFactory;
use rootlet_cli::app::Cli;
use rootlet_guest::config::{Config, ConfigError, passed_over};
use rootlet_guest::{Command, HELP};

/// The longest README: what somebody reads in a few minutes.
const README_LINES_MAX: usize = 210;

/// Returns the folder of the workspace.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(path: &str) -> String {
    let path = workspace().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the pages whose commands and links are checked, as paths in the workspace.
fn pages() -> Vec<String> {
    let mut pages = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(String::from).to_vec();
    let mut docs: Vec<_> = fs::read_dir(workspace().join("docs"))
        .unwrap()
        .map(|entry| format!("docs/{}", entry.unwrap().file_name().to_str().unwrap()))
        .filter(|name| name.ends_with(".md"))
        .collect();
    docs.sort();
    assert!(docs.len() > 5, "{docs:?}");
    pages.append(&mut docs);
    pages
}

/// Returns the fenced blocks of a language, each as its lines.
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

/// Returns the lines of a section, from its heading to the next of the same depth or above.
fn section(markdown: &str, heading: &str) -> Vec<String> {
    let depth = heading.bytes().take_while(|byte| *byte == b'#').count();
    let mut lines = markdown.lines().skip_while(|line| *line != heading);
    assert!(lines.next().is_some(), "no section {heading:?}");
    let ends = |line: &&str| {
        let level = line.bytes().take_while(|byte| *byte == b'#').count();
        level == 0 || level > depth
    };
    lines.take_while(ends).map(Into::into).collect()
}

/// Returns the code spans in the first column of the tables in these lines.
fn first_column(rows: &[String]) -> Vec<String> {
    let cells = rows.iter().filter_map(|row| row.strip_prefix("| ")?.split(" | ").next());
    cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2).map(Into::into).collect::<Vec<_>>())
        .collect()
}

/// Returns the lines between `[readme]` and `[/readme]`, without their indent.
fn marked(source: &str) -> Vec<String> {
    let lines = source.lines().map(str::trim);
    let lines = lines.skip_while(|line| *line != "// [readme]").skip(1);
    lines.take_while(|line| *line != "// [/readme]").map(Into::into).collect()
}

/// Returns the lines that the crate's documentation shows of its example.
fn documented(source: &str) -> Vec<String> {
    let lines = source.lines().filter_map(|line| line.strip_prefix("//! "));
    let shown = |line: &&str| line.starts_with("let ");
    lines.filter(shown).map(Into::into).collect()
}

#[test]
fn rust_of_the_readme_is_the_example_that_compiles() {
    let example = marked(&text("examples/quickstart.rs"));
    assert_eq!(example.len(), 6, "README promises a short example: {example:#?}");
    assert_eq!(blocks(&text("README.md"), "rust"), std::slice::from_ref(&example));
    assert_eq!(documented(&text("src/lib.rs")), example, "crate documents in src/lib.rs");
}

#[test]
fn readme_is_short() {
    let lines = text("README.md").lines().count();
    assert!(lines <= README_LINES_MAX, "{lines} lines: move some of them to docs/");
}

/// Returns the options of `cargo run --` by their definition, and whether help shows them; and the
/// tasks.
fn tool() -> (Vec<(String, bool)>, Vec<String>) {
    let own =
        ["cli", "boot/args", "measure/args", "prove/args", "dist/mod", "fleet/args", "setup/mod"];
    let shared = ["source/args", "boot/args", "boot/monitor/args", "engine/args"];
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

/// Returns what is wrong with the words after `cargo run --`.
fn fault_of_tool_line(words: &[&str]) -> Option<String> {
    let (options, tasks) = tool();
    let (own, command) = match words.iter().position(|word| *word == "--") {
        Some(at) => (&words[..at], &words[at + 1..]),
        None => (words, &[][..]),
    };
    if let Some(first) = own.first().filter(|word| !word.starts_with('-'))
        && !tasks.iter().any(|task| task == first)
    {
        return Some(format!("{first} is no task: {tasks:?}"));
    }
    // `--option=value` is the option.
    let own_options = own.iter().filter(|word| word.starts_with("--"));
    let mut names = own_options.map(|word| word.split('=').next().unwrap_or_default());
    if let Some(word) = names.find(|word| !options.iter().any(|(option, _)| option == word)) {
        return Some(format!("{word} is no option"));
    }
    let command: Vec<String> = command.iter().map(ToString::to_string).collect();
    let parsed = (!command.is_empty()).then(|| Command::parse(&command))?;
    parsed.err().map(|error| error.to_string())
}

/// Returns the folder of a package of this workspace.
fn folder_of(package: &str) -> Option<PathBuf> {
    let folders = ["", "xtask", "boards/common"].map(PathBuf::from).into_iter();
    let crates = fs::read_dir(workspace().join("crates")).unwrap();
    let crates = crates.map(|entry| Path::new("crates").join(entry.unwrap().file_name()));
    let mut folders = folders.chain(crates).map(|folder| workspace().join(folder));
    let name = format!("\nname = \"{package}\"\n");
    folders.find(|folder| {
        fs::read_to_string(folder.join("Cargo.toml")).is_ok_and(|manifest| manifest.contains(&name))
    })
}

/// Returns what is wrong with the words after `cargo test`: packages and test sets exist.
fn fault_of_test_line(words: &[&str]) -> Option<String> {
    let own = words.split(|word| *word == "--").next().unwrap_or_default();
    let mut folder = workspace();
    let mut words = own.iter();
    while let Some(word) = words.next() {
        match *word {
            "-p" => {
                let package = words.next()?;
                match folder_of(package) {
                    Some(found) => folder = found,
                    None => return Some(format!("{package} is no package")),
                }
            }
            "--test" => {
                let name = words.next()?;
                let files = [format!("tests/{name}.rs"), format!("tests/{name}/main.rs")];
                if !files.iter().any(|file| folder.join(file).is_file()) {
                    return Some(format!("{name} is no test"));
                }
            }
            word if word.starts_with('-') => return Some(format!("{word} is not known here")),
            // A part of a test's name.
            _ => {}
        }
    }
    None
}

/// Returns what is wrong with a line for a shell.
fn fault_of_line(line: &str) -> Option<String> {
    let line = line.split(" | ").next().unwrap_or_default();
    let line = line.split(" # ").next().unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().collect();
    let is_folder = |path: &str| workspace().join(path).is_dir();
    match words.as_slice() {
        ["cargo", "run"] | ["truncate", "-s", _, _] | ["git", "clone", _, _] | ["cd", _] => None,
        ["cargo", "install", "--path", path] if is_folder(path) => None,
        ["cargo", "install", "--path", path, "--profile", profile]
            if is_folder(path)
                && include_str!("../../../Cargo.toml")
                    .contains(&format!("\n[profile.{profile}]\n")) =>
        {
            None
        }
        ["rootlet", ..] => {
            Cli::command().try_get_matches_from(words).err().map(|error| error.to_string())
        }
        ["cargo", "test", words @ ..] => fault_of_test_line(words),
        // A variable before the command.
        [variable, "cargo", "test", words @ ..]
        | [variable, "cargo", "+nightly", "test", "-Zbuild-std", "--target", _, words @ ..]
            if variable.contains('=') =>
        {
            fault_of_test_line(words)
        }
        ["cargo", "bench", "--bench", name] | ["cargo", "bench", "--bench", name, "--", ..] => {
            let bench = format!("benches/{name}/main.rs");
            let there = workspace().join(bench).is_file();
            (!there).then(|| format!("{name} is no benchmark"))
        }
        ["cargo", "bench", "-p", package, "--bench", name] => {
            let bench = folder_of(package).map(|folder| folder.join(format!("benches/{name}.rs")));
            let there = bench.is_some_and(|bench| bench.is_file());
            (!there).then(|| format!("{package} has no benchmark {name}"))
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
        ["cargo", "run", "--", words @ ..] => fault_of_tool_line(words),
        [variable]
            if variable.split_once('=').is_some_and(|(_, path)| path.starts_with("target/")) =>
        {
            None
        }
        [script] if workspace().join(script).is_file() => None,
        ["head", "-c", _, "/dev/urandom", ">", _] | ["cp", _, _] => None,
        _ => Some("not known to this test".into()),
    }
}

/// Returns the command lines of a page, without what a shell continues: of blocks for a shell, and
/// of sessions the lines after a prompt.
fn command_lines(page: &str) -> Vec<String> {
    let sessions = blocks(page, "console").concat();
    let typed = sessions.iter().filter_map(|line| line.strip_prefix("$ ").map(String::from));
    let lines = blocks(page, "sh").concat().into_iter().chain(typed);
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    joined.lines().map(String::from).collect()
}

#[test]
fn every_command_line_of_the_pages_is_understood() {
    let mut count = 0;
    for page in pages() {
        for line in command_lines(&text(&page)) {
            assert_eq!(fault_of_line(&line), None, "{page}: {line}");
            count += 1;
        }
    }
    assert!(count > 40, "{count}");
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
        "cargo test --test nothing",
        "cargo test -p nothing",
        "cargo test -p xtask --test read",
        "cargo install --path nowhere",
        "cargo install --path crates/cli --profile fast",
        "make",
    ] {
        assert!(fault_of_line(line).is_some(), "{line}");
    }
}

/// Runs a line `rootlet ...` in `folder`; returns its standard output and then its messages, as
/// lines.
fn run(line: &str, folder: &Path) -> Vec<String> {
    let words = line.split_whitespace().skip(1);
    let mut process = Process::new(env!("CARGO_BIN_EXE_rootlet"));
    let output = process.args(words).current_dir(folder).output().unwrap();
    let both = [output.stdout, output.stderr].concat();
    String::from_utf8(both).unwrap().lines().map(String::from).collect()
}

/// Makes a folder in which commands over tests/data run as they do in the checkout.
fn checkout() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("tests/data");
    fs::create_dir_all(&data).unwrap();
    fs::create_dir(dir.path().join("target")).unwrap();
    fs::copy(workspace().join("tests/data/tiny.erofs"), data.join("tiny.erofs")).unwrap();
    dir
}

/// Returns whether a command needs nothing but tests/data.
fn is_alone(line: &str) -> bool {
    line.starts_with("rootlet ")
        && line.contains(" tests/data/")
        && !line.starts_with("rootlet boot")
        && !line.starts_with("rootlet mount")
}

#[test]
fn commands_of_the_readme_print_what_it_shows() {
    let readme = section(&text("README.md"), "## On the host").join("\n");
    let dir = checkout();
    let commands = command_lines(&readme);
    let printed =
        commands.iter().filter(|line| is_alone(line)).flat_map(|line| run(line, dir.path()));
    assert_eq!(printed.collect::<Vec<_>>(), blocks(&readme, "text").concat());
}

#[test]
fn sessions_of_the_pages_show_what_is_printed() {
    let mut count = 0;
    for page in pages() {
        let dir = checkout();
        for session in blocks(&text(&page), "console") {
            for part in session.join("\n").split("$ ").filter(|part| is_alone(part)) {
                let (line, shown) = part.split_once('\n').unwrap_or((part, ""));
                assert_eq!(run(line, dir.path()).join("\n"), shown.trim_end(), "{page}: {line}");
                count += 1;
            }
        }
    }
    assert!(count > 3, "{count}");
}

#[test]
fn commands_of_the_program_and_their_options_are_in_the_pages() {
    let usage: String = pages().iter().map(|page| text(page)).collect();
    for command in Cli::command().get_subcommands().filter(|command| command.get_name() != "help") {
        let name = command.get_name();
        assert!(usage.contains(&format!("`rootlet {name}")), "{name} is in no page");
        for option in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            let Some(long) = option.get_long() else { continue };
            assert!(usage.contains(&format!("--{long}")), "{name} --{long} is in no page");
        }
    }
}

#[test]
fn options_and_tasks_of_the_usage_are_those_of_the_programs() {
    let usage = text("docs/usage.md");
    let (options, tasks) = tool();
    for (option, _) in options.iter().filter(|(_, shown)| *shown) {
        assert!(usage.contains(option), "{option} is not in docs/usage.md");
    }
    let rows: Vec<String> = usage.lines().map(String::from).collect();
    let spans = first_column(&rows);
    let of_program: BTreeSet<String> = Cli::command()
        .get_subcommands()
        .flat_map(|command| command.get_arguments().filter_map(|arg| arg.get_long()))
        .chain(Cli::command().get_arguments().filter_map(|arg| arg.get_long()))
        .map(|long| format!("--{long}"))
        .collect();
    let words = spans.iter().flat_map(|span| span.split([' ', '[', ']']));
    for option in words.filter(|word| word.starts_with("--") && word.len() > 2) {
        let mut of_guest = HELP.iter().flat_map(|(usage, _)| usage.split([' ', '[', ']']));
        let known = of_program.contains(option)
            || options.iter().any(|(known, _)| known == option)
            || of_guest.any(|known| known == option);
        assert!(known, "{option} is no option");
    }
    for task in tasks {
        let named = spans.iter().any(|span| span.split(' ').next() == Some(&task));
        assert!(named, "the task {task} is not in docs/usage.md");
    }
}

#[test]
fn commands_of_the_usage_are_those_of_the_guest() {
    let usages: Vec<&str> = HELP.iter().map(|(usage, _)| *usage).collect();
    assert_eq!(first_column(&section(&text("docs/usage.md"), "## Guest commands")), usages);
}

/// Returns the keys in the first column of a section's table.
fn keys(page: &str, heading: &str) -> BTreeSet<String> {
    let spans = first_column(&section(&text(page), heading));
    let keys = spans.iter().filter_map(|span| span.split_once('='));
    keys.map(|(key, _)| numbered(key)).collect()
}

/// Returns a key with numbers in the place of the letters that stand for them.
fn numbered(key: &str) -> String {
    let letters =
        [("blobN", "blob1"), ("layerN", "layer1"), ("blobM", "blob1"), ("verityM", "verity1")];
    letters.iter().fold(key.to_owned(), |key, (letter, number)| key.replace(letter, number))
}

#[test]
fn keys_of_the_pages_are_those_of_the_guest() {
    let (all, some) =
        (keys("docs/usage.md", "## Guest configuration"), keys("README.md", "## As a guest"));
    assert!(some.is_subset(&all) && some.len() > 4, "{some:?}");
    for key in &all {
        let parsed = Config::parse(&format!("{key}=?"));
        assert!(!matches!(parsed, Err(ConfigError::Unknown { .. })), "{key}= is no key");
        assert_eq!(passed_over(&format!("{key}=?")).count(), 0, "{key}= is no key");
    }
    // The guest's own list of keys, from its error for a misspelt key.
    let error = Config::parse("imag=1").unwrap_err().to_string();
    let listed = error.split([' ', ',']).filter_map(|word| word.strip_suffix('='));
    for key in listed.map(numbered) {
        assert!(all.contains(&key), "{key}= is not in docs/usage.md");
    }
}

/// Returns the anchors of a page's headings, as hosts of Markdown make them.
fn anchors(markdown: &str) -> Vec<String> {
    let headings = markdown.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn links_to_files_and_sections_lead_somewhere() {
    let more = ["CHANGELOG.md", "boards/README.md"].map(String::from);
    for page in pages().into_iter().chain(more) {
        let text = text(&page);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.starts_with("http")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = workspace().join(&page);
            let path = if file.is_empty() { path } else { path.parent().unwrap().join(file) };
            assert!(path.exists(), "{page}: {target} is not there");
            if !anchor.is_empty() {
                let there = anchors(&fs::read_to_string(path).unwrap());
                assert!(there.iter().any(|known| known == anchor), "{page}: no section {target}");
            }
        }
    }
}

#[test]
fn every_page_is_named_by_another() {
    let all = pages();
    for page in all.iter().filter(|page| page.starts_with("docs/")) {
        let name = page.rsplit('/').next().unwrap();
        let named = all.iter().filter(|other| *other != page);
        let count = named.filter(|other| text(other).contains(&format!("{name})"))).count();
        assert!(count > 0, "nobody links to {page}");
    }
}
