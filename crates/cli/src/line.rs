//! The command line: parsed as it was typed, and once more with the values of rootlet.toml.
//!
//! Always: clap alone decides which words are options and which are a guest's command; help, version,
//! completions and man pages need no rootlet.toml.

use std::ffi::OsString;

use anyhow::Result;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches};

use crate::app::{self, Cli};
use crate::color::{Paint, When};
use crate::config::Settings;
use crate::exit;
use crate::output;

/// Parses `words`, the first of which is the program's name. Returns `None` if they ask for help or
/// the version, which is printed then.
///
/// # Errors
/// Status 2: the words make no sense, which is printed then, or rootlet.toml is wrong.
pub fn parse(words: &[OsString]) -> Result<Option<(Cli, Settings)>> {
    let typed = match Cli::command().try_get_matches_from(words) {
        Ok(typed) => typed,
        Err(error) => return tell(&error, words).map(|()| None),
    };
    let cli = Cli::from_arg_matches(&typed)?;
    if matches!(cli.command, app::Command::Completions(_) | app::Command::Man(_)) {
        return Ok(Some((cli, Settings::default())));
    }
    let settings = Settings::read(cli.config.as_deref())?;
    let matches = with_settings(words, &settings, typed.subcommand_name())?;
    Ok(Some((Cli::from_arg_matches(&matches)?, settings)))
}

/// Parses `words` with what the settings say as the values of options that are not given. `name` is
/// the command that the words name.
fn with_settings(
    words: &[OsString],
    settings: &Settings,
    name: Option<&str>,
) -> Result<ArgMatches> {
    if let Some(name) = name {
        settings.check(Cli::command(), name)?;
    }
    Ok(settings.defaults(Cli::command()).try_get_matches_from(words)?)
}

/// Prints help, the version, or what is wrong with the command line.
///
/// # Errors
/// Status 2 if the command line is wrong; standard output cannot be written.
fn tell(error: &clap::Error, words: &[OsString]) -> Result<()> {
    if let Some(when) = color(words) {
        when.choose();
    }
    let text = error.render();
    let is_fault = error.use_stderr();
    let paint = if is_fault { Paint::of_stderr() } else { Paint::of_stdout() };
    let text = if paint.is_colored() { text.ansi().to_string() } else { text.to_string() };
    if is_fault {
        output::told(text.as_bytes());
        return Err(exit::usage(""));
    }
    output::bytes(text.as_bytes())
}

/// Returns the value of `--color` among words that ask for help or make no sense as a whole.
fn color(words: &[OsString]) -> Option<When> {
    let flag = |name: &'static str, short| {
        Arg::new(name).long(name).short(short).global(true).action(ArgAction::SetTrue)
    };
    let lenient: Command = Cli::command()
        .ignore_errors(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .arg(flag("help", 'h'))
        .arg(flag("version", 'V'));
    lenient.try_get_matches_from(words).ok()?.get_one("color").copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn color_is_found_in_lines_that_make_no_sense_and_not_in_a_guests_command() {
        let found = |line: &str| color(&words(line));
        assert_eq!(found("rootlet --color never"), Some(When::Never));
        assert_eq!(found("rootlet ls --help --color=always"), Some(When::Always));
        assert_eq!(found("rootlet --color never ls --imago x"), Some(When::Never));
        assert_eq!(found("rootlet boot i -- cat --color never"), Some(When::Auto));
        assert_eq!(found("rootlet boot i cat --color never"), Some(When::Auto));
        assert_eq!(found("rootlet"), Some(When::Auto));
    }

    #[test]
    fn options_of_a_guests_command_are_its_own() {
        let absent = "/no/such/folder/rootlet.toml";
        for line in ["rootlet boot i cat --config ABSENT", "rootlet boot i -- cat --config ABSENT"]
        {
            let line = line.replace("ABSENT", absent);
            let (cli, _) = parse(&words(&line)).unwrap().unwrap();
            let app::Command::Boot(args) = cli.command else { panic!("{line}") };
            assert_eq!((cli.config, args.words.len()), (None, 3), "{line}");
        }
        let error = parse(&words(&format!("rootlet ls --config {absent} i"))).unwrap_err();
        assert!(error.to_string().contains(absent), "{error}");
    }
}
