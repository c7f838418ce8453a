//! The options of `serve`.

use std::path::PathBuf;

use clap::Args;

use crate::engine::WebArgs;

const HELP: &str = "\
Ends with Ctrl-C or a request to terminate, with status 0.

Examples:
  rootlet serve https://host/a.blob --socket /run/a.sock
  rootlet boot root.erofs --blob '1=nbd+unix:///?socket=/run/a.sock'
  rootlet serve https://host/a.blob --socket /run/a.sock --vhost-user 2
  rootlet boot root.erofs --blob 1=vhost-user:/run/a.sock.0";

/// What to serve, and where.
#[derive(Args, Clone, Debug)]
#[command(after_help = HELP)]
pub struct ServeArgs {
    /// The object: https://HOST/PATH, oci://REGISTRY/NAME:TAG#FILE, s3://BUCKET/KEY, gs:// or az://
    pub source: PathBuf,
    /// The socket for guests that read by NBD; a socket that nobody serves is replaced
    #[arg(long, value_name = "SOCKET")]
    pub socket: PathBuf,
    /// As many more sockets, SOCKET.0 and on, each for one guest that reads by vhost-user
    #[arg(long, value_name = "N", default_value = "0",
          value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub vhost_user: u16,
    /// Write the id of this process into this file while it serves
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Write into this file, at the end, how much was read from the origin
    #[arg(long, value_name = "FILE")]
    pub statistics: Option<PathBuf>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a comment here would become help")]
    pub web: WebArgs,
}
