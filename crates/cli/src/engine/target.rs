//! Where an object is, and what a request for it has besides: settings of curl's that nobody else sees.
//!
//! Always: what is secret goes to curl by its input or by a file of one user, never by a command line,
//! which every user of the machine sees.

use std::fmt::Write as _;

use crate::source::Web;

/// An object, as curl asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The URL, of which a part may be secret.
    pub url: String,
    /// Names and values of more settings.
    pub secrets: Vec<(&'static str, String)>,
    /// Whether plain HTTP is allowed.
    pub is_plain: bool,
}

impl Target {
    /// Returns the object of `web`, for which nothing is secret.
    pub fn open(web: &Web) -> Self {
        Self { url: web.url().into(), secrets: Vec::new(), is_plain: web.is_plain() }
    }

    /// Returns the object at another URL, with the same rights.
    pub fn at(&self, url: String) -> Self {
        Self { url, ..self.clone() }
    }

    /// Returns the lines of a file of settings (curl(1), --config).
    pub fn settings(&self) -> String {
        let mut text = String::new();
        let url = [("url", self.url.clone())];
        for (name, value) in url.iter().chain(&self.secrets) {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"");
            // A line ends a value; a header has none, and a URL neither.
            let value = value.replace(['\n', '\r'], "");
            writeln!(text, "{name} = \"{value}\"").expect("a string takes all");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_lines_that_no_value_can_leave() {
        let web = Web::parse("https://h/a?x=1").unwrap();
        let mut target = Target::open(&web);
        assert_eq!(target.settings(), "url = \"https://h/a?x=1\"\n");
        target.secrets.push(("user", "me:a\"b\\c\noutput = x".into()));
        let wanted = "url = \"https://h/b\"\nuser = \"me:a\\\"b\\\\coutput = x\"\n";
        assert_eq!(target.at("https://h/b".into()).settings(), wanted);
    }
}
