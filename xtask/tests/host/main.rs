//! Commands that only the host tool has: `extract` and `check`, over images made for each test.
//!
//! Always: what is compared is what the tool wrote, and how it ended.

mod check;
mod extract;
mod run;
#[path = "../../../tests/golden/set.rs"]
#[expect(dead_code, reason = "the tests of the library compare rows, too")]
mod set;
