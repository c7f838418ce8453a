//! Answers lines on the serial port out of a sorted table that is larger than memory.
//!
//! The argument is the table's path. Each line that comes in is a key; the answer is the line of the
//! table that begins with it. Ctrl-D ends the program.
#![no_std]
#![no_main]

mod table;

use core::fmt;

use rootlet_board::App;
use rootlet_board::app::InputError;
use rootlet_board::embedded_io::Write;
use rootlet_board::rootlet::Error;
use table::{Fault, Table};

rootlet_board::main!(answer);

fn answer(app: &mut App<'_>) -> Result<(), Failed> {
    let [path] = app.arguments else { return Err(Failed::Usage) };
    let file = app.root.open(path.as_bytes()).map_err(Failed::Open)?;
    let (bytes, memory) = (file.inode().size(), app.memory().total);
    writeln!(app.errors, "{path}: {bytes} bytes, in {memory} bytes of memory").ok();
    let mut table = Table::new(file);
    let (mut room, mut answers, since) = ([0; 256], 0, app.now());
    while let Some(key) = app.console.line(&mut room).map_err(Failed::Input)? {
        let line = table.find(key).map_err(Failed::Table)?;
        for part in [line.unwrap_or(key), if line.is_some() { b"\n" } else { b": not there\n" }] {
            app.console.write_all(part).map_err(Failed::Input)?;
        }
        answers += 1;
    }
    writeln!(app.errors, "answered {answers} lines in {:?}", app.now() - since).ok();
    Ok(())
}

/// Why the program ended early.
enum Failed {
    Usage,
    Open(Error),
    Table(Fault),
    Input(InputError),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage => f.write_str("give the path of one table"),
            Self::Open(error) => write!(f, "{error:#}"),
            Self::Table(fault) => fault.fmt(f),
            Self::Input(error) => error.fmt(f),
        }
    }
}
