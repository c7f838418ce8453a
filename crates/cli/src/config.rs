//! `rootlet.toml`: what one would type every time.
//!
//! Always: what the command line says comes first; a path in the file is looked for from the folder
//! of the file; a key that nobody knows is an error.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Command;
use clap::error::ErrorKind;
use serde::Deserialize;

use crate::exit::usage;
use crate::source::{RegionPlace, is_file_name};

/// The name of the file in the current folder.
const NAME: &str = "rootlet.toml";
/// Commands whose options mean something else.
const APART: [&str; 1] = ["hil"];

/// What the file says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// The file.
    #[serde(skip)]
    file: PathBuf,
    image: Option<String>,
    /// By device slot: a file, or `share:NAME`.
    #[serde(default)]
    blob: BTreeMap<String, String>,
    #[serde(default)]
    share: Vec<String>,
    region: Option<String>,
    region_size: Option<String>,
    cache_key: Option<String>,
    domain: Option<String>,
    guest: Option<String>,
    board: Option<String>,
    bus: Option<String>,
    monitor: Option<String>,
    mem: Option<String>,
    accel: Option<String>,
    log: Option<String>,
    timeout: Option<u64>,
    color: Option<String>,
}

impl Settings {
    /// Reads `file`, or the file in the current folder if there is one.
    ///
    /// # Errors
    /// Status 2: the file cannot be read, or says what cannot be.
    pub fn read(file: Option<&Path>) -> Result<Self> {
        let (file, named) = match file {
            Some(file) => (file, true),
            None => (Path::new(NAME), false),
        };
        match fs::read_to_string(file) {
            Ok(text) => Self::parse(&text, file)
                .map_err(|error| usage(format!("{}: {error}", file.display()))),
            Err(error) if !named && error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(error) => Err(usage(format!("{}: {error}", file.display()))),
        }
    }

    fn parse(text: &str, file: &Path) -> Result<Self, toml::de::Error> {
        let settings: Self = toml::from_str(text)?;
        Ok(Self { file: file.into(), ..settings })
    }

    /// The image, where the command line names none.
    pub fn image(&self) -> Option<PathBuf> {
        self.image.as_ref().map(|image| self.join(image))
    }

    /// The region, where the command line names none.
    ///
    /// # Errors
    /// Status 2: the file names something else.
    pub fn region(&self) -> Result<Option<RegionPlace>> {
        let Some(region) = &self.region else { return Ok(None) };
        let place = self.here(region).parse::<RegionPlace>();
        Ok(Some(place.map_err(|error| self.wrong(&format!("region: {error}")))?))
    }

    /// The key of the region, as an option has it.
    pub fn cache_key(&self) -> Option<String> {
        let key = self.cache_key.as_ref()?;
        Some(if key.starts_with("share:") { key.clone() } else { self.here(key) })
    }

    /// Returns a path of the file as seen from the current folder, and a URL unchanged.
    fn join(&self, path: &str) -> PathBuf {
        match is_file_name(path) {
            true => self.file.parent().unwrap_or(Path::new("")).join(path),
            false => path.into(),
        }
    }

    fn here(&self, path: &str) -> String {
        self.join(path).display().to_string()
    }

    /// Returns the error for a value that cannot be.
    fn wrong(&self, why: &str) -> anyhow::Error {
        usage(format!("{}: {why}", self.file.display()))
    }

    /// Values of options by their names.
    fn values(&self) -> BTreeMap<&'static str, Vec<String>> {
        let blob = |(slot, place): (&String, &String)| match place.strip_prefix("share:") {
            Some(_) => format!("{slot}={place}"),
            None => format!("{slot}={}", self.here(place)),
        };
        let one = |value: &Option<String>| value.iter().cloned().collect();
        let mut values = BTreeMap::from([
            ("blob", self.blob.iter().map(blob).collect()),
            ("share", self.share.iter().map(|share| self.here(share)).collect()),
            ("region", self.region.iter().map(|region| self.here(region)).collect()),
            ("region_size", one(&self.region_size)),
            ("cache_key", self.cache_key().into_iter().collect()),
            ("domain", one(&self.domain)),
            ("guest", self.guest.iter().map(|guest| self.here(guest)).collect()),
            ("board", one(&self.board)),
            ("bus", one(&self.bus)),
            ("monitor", one(&self.monitor)),
            ("mem", one(&self.mem)),
            ("accel", one(&self.accel)),
            ("log", one(&self.log)),
            ("timeout", self.timeout.iter().map(u64::to_string).collect()),
            ("color", one(&self.color)),
        ]);
        values.retain(|_, values: &mut Vec<String>| !values.is_empty());
        values
    }

    /// Checks the values of the file that the command `name` of `program` uses.
    ///
    /// # Errors
    /// Status 2: the command would refuse a value.
    pub fn check(&self, program: Command, name: &str) -> Result<()> {
        let command = program.find_subcommand(name).filter(|_| !APART.contains(&name));
        let of_command = command.into_iter().flat_map(Command::get_arguments);
        let values = self.values();
        let mut words = vec![String::from(program.get_name()), name.into()];
        for arg in program.get_arguments().chain(of_command) {
            let Some(long) = arg.get_long() else { continue };
            let given = values.get(arg.get_id().as_str()).into_iter().flatten();
            words.extend(given.map(|value| format!("--{long}={value}")));
        }
        // What else such a line lacks is for the real one to say.
        match program.clone().try_get_matches_from(words) {
            Err(error)
                if matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation) =>
            {
                let text = error.to_string();
                let first = text.lines().take_while(|line| !line.is_empty());
                let first = first.map(str::trim).collect::<Vec<_>>().join(" ");
                Err(self.wrong(first.strip_prefix("error: ").unwrap_or(&first)))
            }
            _ => Ok(()),
        }
    }

    /// Makes what the file says the default of every option of that name.
    pub fn defaults(&self, command: Command) -> Command {
        let values = self.values();
        let set = |command: Command| {
            command.mut_args(|arg| match values.get(arg.get_id().as_str()) {
                Some(values) if arg.get_long().is_some() => arg.default_values(values.clone()),
                _ => arg,
            })
        };
        set(command).mut_subcommands(|command| match APART.contains(&command.get_name()) {
            true => command,
            false => set(command),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{Cli, Command as Task};
    use clap::{CommandFactory, FromArgMatches};

    const TEXT: &str = r#"
        image = "root.erofs"
        region = "region.img@8+64"
        region-size = "8M"
        board = "q35"
        mem = "128M"
        [blob]
        1 = "a.blob"
        2 = "share:b.blob"
    "#;

    fn parsed(line: &str) -> Cli {
        let settings = Settings::parse(TEXT, Path::new("dir/rootlet.toml")).unwrap();
        let words = std::iter::once("rootlet").chain(line.split(' '));
        let matches = settings.defaults(Cli::command()).try_get_matches_from(words).unwrap();
        Cli::from_arg_matches(&matches).unwrap()
    }

    #[test]
    fn file_says_what_the_command_line_does_not() {
        let settings = Settings::parse(TEXT, Path::new("dir/rootlet.toml")).unwrap();
        assert_eq!(settings.image(), Some("dir/root.erofs".into()));
        let Task::Sum(args) = parsed("sum --region-size 4M i").command else { panic!() };
        let source = &args.files.read.source;
        let blobs: Vec<_> = source.blob.iter().map(|blob| blob.slot).collect();
        assert_eq!(blobs, [1, 2]);
        assert_eq!(source.blob[0], "1=dir/a.blob".parse().unwrap());
        assert_eq!(source.region, Some("dir/region.img@8+64".parse().unwrap()));
        assert_eq!(source.region_size.map(|size| size.0), Some(4 << 20));
        let Task::Boot(args) = parsed("boot i --board microvm").command else { panic!() };
        assert_eq!(args.machine.board().package(), "microvm");
        assert_eq!(args.machine.mem.0, 128 << 20);
        let Task::Hil(args) = parsed("hil --runner true").command else { panic!() };
        assert_eq!(args.board, None);
    }

    #[test]
    fn key_that_nobody_knows_is_an_error_with_its_line() {
        let error = Settings::parse("imago = 1", Path::new("")).unwrap_err().to_string();
        assert!(error.contains("imago") && error.contains("line 1"), "{error}");
        assert!(Settings::parse("[blob]\n1 = 5", Path::new("")).is_err());
    }

    #[test]
    fn value_that_a_command_refuses_is_an_error_that_names_the_file() {
        for (text, name, words) in [
            ("board = \"pc\"", "boot", "'pc' for '--board <BOARD>' [possible values: microvm"),
            ("timeout = 0", "boot", "'0' for '--timeout <SECONDS>'"),
            ("region-size = \"8X\"", "ls", "'8X' for '--region-size <SIZE>'"),
            ("[blob]\none = \"a\"", "ls", "`one` is not a device slot"),
            ("color = \"red\"", "timeline", "'red' for '--color <WHEN>'"),
        ] {
            let settings = Settings::parse(text, Path::new("there/rootlet.toml")).unwrap();
            let error = settings.check(Cli::command(), name).unwrap_err().to_string();
            assert!(error.starts_with("there/rootlet.toml: invalid value"), "{error}");
            assert!(error.contains(words), "{error}");
            // A command that has no such option does not look at the value.
            if name == "boot" {
                settings.check(Cli::command(), "ls").unwrap();
            }
        }
        let settings = Settings::parse("region = \"@1+2\"", Path::new("r.toml")).unwrap();
        let error = settings.region().unwrap_err().to_string();
        assert_eq!(error, "r.toml: region: no file given");
    }
}
