//! Commands over files of the host, those that only the host tool has (`extract` and `check`)
//! above all, over images made for each test.
//!
//! Always: what is compared is what the tool wrote, and how it ended.

mod boot;
mod check;
mod commands;
mod composefs;
mod ends;
mod extract;
#[path = "../support/gpt.rs"]
mod gpt;
mod jobs;
mod layers;
mod list;
mod nydus;
#[path = "../support/oci.rs"]
mod oci;
mod output;
mod region;
mod run;
mod unpack;
mod verity;
