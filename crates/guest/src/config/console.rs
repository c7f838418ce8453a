//! The form of a guest's output.
//!
//! Always: text for a person, unless the command line asks for another form.

/// How output leaves the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Console {
    /// Text for a person.
    #[default]
    Plain,
    /// Frames for a host tool ([`crate::frame`]).
    Framed,
    /// Lines for a host tool at the other end of a real serial line ([`crate::wire`]).
    Wire {
        /// How often each line is sent, from 1 to 9.
        copies: u8,
    },
}

impl Console {
    /// Returns the form that `console=` asks for with this value.
    pub fn parse(value: &str) -> Option<Self> {
        match value {
            "plain" => Some(Self::Plain),
            "framed" => Some(Self::Framed),
            "wire" => Some(Self::Wire { copies: 1 }),
            _ => match value.strip_prefix("wire:")?.as_bytes() {
                [digit @ b'1'..=b'9'] => Some(Self::Wire { copies: digit.wrapping_sub(b'0') }),
                _ => None,
            },
        }
    }
}
